//! Memberships in groups of Identity Center, for a time. Against `aws-sim`.

use apono_connector_proto::v1::{
    AccessUnit, EndRecoveryRequest, ExtendRequest, GetRecoveryRequest, GrantRequest, GrantState,
    IntegrationSettings, Recipient, RevokeAllRequest, UnitState, ValidateGrantRequest,
    recipient::Who, validate_grant_request,
};
use aws_sim::{
    Effect, Fault,
    assignment::{Assignment, Principal},
};
use prost_types::Timestamp;
use tonic::Code;

use super::{ACCOUNT, House, a_request, ann, cloud, end_in, fast, reason, settings, user};
use crate::harness::{Cloud, Daemon, Database, wait_for};

/// A group of the simulator, in which the second user and those before are.
pub(crate) const GROUP: &str = "g-00000001";
/// Somebody who is not in it.
pub(crate) const OTHER: usize = 3;

/// A house that knows its groups; [`GROUP`] opens a permission set in an account.
async fn house() -> House {
    let database = Database::create().await;
    let cloud = cloud().await;
    opens(&cloud, ACCOUNT);
    let daemon = Daemon::start_with(&cloud, fast(&database));
    let api = daemon.api().await;
    api.create_and_sync(with_groups(settings(&cloud))).await;
    House { cloud, database, daemon, api }
}

/// The same settings, with groups.
pub(crate) fn with_groups(settings: IntegrationSettings) -> IntegrationSettings {
    let known = ["aws-identity-center-permission-set", "aws-identity-center-group"];
    IntegrationSettings { resource_types: known.map(str::to_owned).to_vec(), ..settings }
}

/// [`GROUP`] opens a permission set in an account.
pub(crate) fn opens(cloud: &Cloud, account: &str) {
    assign(cloud, account, true);
}

fn assign(cloud: &Cloud, account: &str, is_there: bool) {
    let opened = Assignment {
        account: account.to_owned(),
        permission_set: format!("ps-{:016x}", 1),
        principal: Principal::Group(GROUP.to_owned()),
    };
    let mut world = cloud.sim.world();
    if is_there {
        world.assign(&cloud.organization, opened);
    } else {
        world.unassign(&cloud.organization, &opened);
    }
}

/// A request for an hour in [`GROUP`].
pub(crate) fn join(id: &str, number: usize) -> GrantRequest {
    GrantRequest {
        recipient: Some(user(&format!("ann{number}@example.com"))),
        units: vec![member_of(GROUP)],
        ..a_request(id)
    }
}

fn member_of(group: &str) -> AccessUnit {
    AccessUnit {
        resource: format!("arn:aws:identitystore:::group/{group}"),
        permission: "MEMBER".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_user_is_in_a_group_for_as_long_as_a_grant_lasts() {
    let house = house().await;
    assert_eq!(house.access_of(&ann(OTHER)), [""; 0]);
    house.api.grant(join("g1", OTHER)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert_eq!(house.access_of(&ann(OTHER)), [format!("{ACCOUNT} Team1")]);
    let unit = &active.units[0];
    assert_eq!(unit.mechanism, "aws-identity-center-group-membership");
    assert_eq!((unit.resource_name.as_str(), unit.permission.as_str()), ("team-1", "MEMBER"));
    assert_eq!((unit.permission_set.as_str(), unit.permission_set_arn.as_str()), ("", ""));
    let details = unit.details.as_ref().expect("details");
    assert_eq!(details.sign_in_url, "https://d-test.awsapps.com/start");
    assert_eq!(details.aws_config, "", "whichever of its permission sets is wanted");
    // Sessions of up to 12 hours, and an hour until AWS looks again.
    let (end, tail) = (active.expire_time.expect("an end"), unit.session_tail_until_time);
    assert_eq!(tail.expect("a tail").seconds, end.seconds + 13 * 3600);

    house.pass(3600).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(OTHER)), [""; 0]);
    assert_eq!(house.calls("identitystore:CreateGroupMembership"), 1);
    assert_eq!(house.calls("identitystore:DeleteGroupMembership"), 1);
    let accepted = "SELECT count(DISTINCT detail) FROM connector.acts WHERE verb = 'ACCEPTED'
        AND detail ~ '^(create|delete) [0-9a-f-]{36}$'";
    assert_eq!(house.database.count(accepted).await, 2, "by the ids of AWS's answers");
}

#[tokio::test]
async fn who_was_in_the_group_before_stays_in_it() {
    let house = house().await;
    house.api.grant(join("g1", 1)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(active.units[0].was_there_before);
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [format!("{ACCOUNT} Team1")]);
    assert_eq!(house.calls("identitystore:DeleteGroupMembership"), 0);
}

#[tokio::test]
async fn a_membership_that_somebody_ends_is_made_again_and_goes_at_the_end() {
    let house = house().await;
    house.api.grant(join("g1", OTHER)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.cloud.sim.world().leave(&house.cloud.organization, GROUP, &ann(OTHER));
    // What our last call has done shows by then.
    wait_for("the membership", || async {
        (house.calls("identitystore:CreateGroupMembership") == 2).then_some(())
    })
    .await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(OTHER)), [""; 0]);
}

#[tokio::test]
async fn lost_answers_leave_nothing_behind() {
    let house = house().await;
    for action in ["identitystore:CreateGroupMembership", "identitystore:DeleteGroupMembership"] {
        house.cloud.sim.world().faults.push(Fault::new(Effect::Cut).on(action).times(1));
    }
    house.api.grant(join("g1", OTHER)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(!active.units[0].was_there_before, "it was ours");
    house.api.revoke("g1").await;
    house.api.wait_for_unit("g1", UnitState::Settling).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(OTHER)), [""; 0]);
}

#[tokio::test]
async fn all_that_a_group_opens_is_told_before() {
    let house = house().await;
    let GrantRequest { integration, recipient, units, reason, .. } = join("g1", OTHER);
    let end = Some(validate_grant_request::End::Duration(prost_types::Duration {
        seconds: 3600,
        nanos: 0,
    }));
    let tried =
        ValidateGrantRequest { integration, recipient, units, reason, end, ..Default::default() };
    let answer = house.api.access().validate_grant(tried).await.expect("an answer").into_inner();
    assert!(answer.is_valid, "{answer:#?}");
    let opens = answer.steps.iter().find(|step| step.code == "OPENS").expect("a step");
    assert_eq!(opens.finding, format!("it also opens Team1 in {ACCOUNT}"));
    assert_eq!(answer.session_tail.expect("a tail").seconds, 13 * 3600);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_changed() {
    let house = house().await;
    let refused = async |request: GrantRequest| {
        let refused = house.api.access().grant(request).await.expect_err("it is refused");
        assert!(refused.message().ends_with('.'), "it ends with a remedy: {refused}");
        reason(&refused)
    };
    let failed = |code: &str| (Code::FailedPrecondition, code.to_owned());
    let unknown = GrantRequest { units: vec![member_of("g-none")], ..join("g1", OTHER) };
    assert_eq!(refused(unknown).await, failed("RESOURCE_UNKNOWN"));
    let unit = AccessUnit { permission: "OWNER".to_owned(), ..member_of(GROUP) };
    let unknown = GrantRequest { units: vec![unit], ..join("g1", OTHER) };
    assert_eq!(refused(unknown).await, failed("PERMISSION_UNKNOWN"));
    let group = Recipient { who: Some(Who::GroupName("team-2".to_owned())) };
    let of_group = GrantRequest { recipient: Some(group), ..join("g1", OTHER) };
    assert_eq!(refused(of_group).await, failed("RECIPIENT_UNFIT"));
    let unit = AccessUnit { account_id: ACCOUNT.to_owned(), ..member_of(GROUP) };
    let two = GrantRequest { units: vec![unit], ..join("g1", OTHER) };
    let two = house.api.access().grant(two).await.expect_err("it is two things");
    assert_eq!(two.code(), Code::InvalidArgument);

    // What AWS alone knows ends the unit.
    let ended = async |id: &str| {
        house.api.grant(join(id, OTHER)).await;
        let failed = house.api.wait_for_grant(id, GrantState::Failed).await;
        failed.units[0].refusal.clone().expect("a refusal").reason
    };
    assign(&house.cloud, &house.cloud.management, true);
    assert_eq!(ended("management").await, "MANAGEMENT_ACCOUNT");
    assign(&house.cloud, &house.cloud.management, false);
    house.cloud.account("555555555555", &house.cloud.root, "new");
    assign(&house.cloud, "555555555555", true);
    assert_eq!(ended("unknown").await, "ACCOUNT_EXCLUDED");
    assign(&house.cloud, "555555555555", false);
    {
        let mut world = house.cloud.sim.world();
        let of = world.organizations.get_mut(&house.cloud.organization).expect("one");
        let group = of.directory.groups.iter_mut().find(|one| one.id == GROUP).expect("one");
        "00g1".clone_into(&mut group.external_id);
    }
    assert_eq!(ended("external").await, "GROUP_EXTERNAL");
    house.api.sync("prod").await;
    assert_eq!(refused(join("g1", OTHER)).await, failed("GROUP_EXTERNAL"));
    assert_eq!(house.calls("identitystore:CreateGroupMembership"), 0);
}

#[tokio::test]
async fn an_extension_holds_a_membership_and_two_grants_share_it() {
    let house = house().await;
    house.api.grant(join("short", OTHER)).await;
    let long = GrantRequest { end: Some(end_in(7200)), ..join("long", OTHER) };
    house.api.grant(long).await;
    for id in ["short", "long"] {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    house.pass(3700).await;
    house.api.wait_for_grant("short", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(OTHER)).len(), 1, "the second holds it");
    house.api.revoke("long").await;
    house.api.wait_for_grant("long", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(OTHER)), [""; 0]);
    assert_eq!(house.calls("identitystore:CreateGroupMembership"), 1);
}

#[tokio::test]
async fn the_guardrails_hold_for_what_a_group_opens() {
    let house = house().await;
    {
        let mut world = house.cloud.sim.world();
        let of = world.organizations.get_mut(&house.cloud.organization).expect("one");
        let mut sets = of.directory.permission_sets.iter_mut();
        let set = sets.find(|set| set.name == "Team1").expect("a set");
        "AdministratorAccess".clone_into(&mut set.name);
    }
    house.api.sync("prod").await;
    // Administrators are so for four hours at most, by the guardrails that are shipped.
    let long = GrantRequest { end: Some(end_in(5 * 3600)), ..join("long", OTHER) };
    house.api.grant(long).await;
    let failed = house.api.wait_for_grant("long", GrantState::Failed).await;
    let refusal = failed.units[0].refusal.clone().expect("a refusal");
    assert_eq!(refusal.reason, "GUARDRAIL");
    let words = format!(
        "it would open AdministratorAccess in {ACCOUNT}: the rule \"longest-administrator\""
    );
    assert!(refusal.finding.starts_with(&words), "{}", refusal.finding);
    // And no extension leads there.
    house.api.grant(join("short", OTHER)).await;
    let active = house.api.wait_for_grant("short", GrantState::Active).await;
    let start = active.create_time.expect("a time").seconds;
    let extended = house
        .api
        .access()
        .extend(ExtendRequest {
            grant_id: "short".to_owned(),
            expire_time: Some(Timestamp { seconds: start + 5 * 3600, nanos: 0 }),
            ..Default::default()
        })
        .await
        .expect_err("it is too long");
    assert_eq!(reason(&extended).1, "GUARDRAIL");
    // Whoever ends all in the account ends it, too.
    let all = RevokeAllRequest { account_id: ACCOUNT.to_owned(), ..Default::default() };
    let ended = house.api.access().revoke_all(all).await.expect("an answer").into_inner();
    assert_eq!(ended.grant_ids, ["short"]);
    house.api.wait_for_grant("short", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(OTHER)), [""; 0]);
}

#[tokio::test]
async fn a_group_that_has_another_name_by_now_is_not_the_one_that_was_judged() {
    let house = house().await;
    {
        let mut world = house.cloud.sim.world();
        let of = world.organizations.get_mut(&house.cloud.organization).expect("one");
        let group = of.directory.groups.iter_mut().find(|one| one.id == GROUP).expect("one");
        "administrators".clone_into(&mut group.name);
    }
    house.api.grant(join("g1", OTHER)).await;
    let failed = house.api.wait_for_grant("g1", GrantState::Failed).await;
    assert_eq!(failed.units[0].refusal.clone().expect("a refusal").reason, "RESOURCE_UNKNOWN");
}

#[tokio::test]
async fn memberships_end_with_a_recovery() {
    let mut house = house().await;
    house.api.grant(join("g1", OTHER)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.daemon.stop().await;
    let sql = "UPDATE connector.connectors SET recovering_since = connector.now(),
        remembered_until = connector.now(), recovery_cause = 'a test'";
    house.database.execute(sql).await;
    house.start_again().await;
    let found = house.api.access().get_recovery(GetRecoveryRequest::default()).await;
    let found = found.expect("an answer").into_inner().recovery.expect("a recovery");
    let untold = [
        "aws-identity-center-group-membership",
        "aws-generated-access",
        "aws-generated-inline-access",
        "aws-iam-role-assumption",
        "aws-iam-group-membership",
        "aws-iam-policy-attachment",
        "aws-iam-user-policy",
    ];
    assert_eq!(found.untold_mechanisms, untold);
    let end = EndRecoveryRequest {
        reason: "looked".to_owned(),
        accept_unread: true,
        ..Default::default()
    };
    let ended = house.api.access().end_recovery(end).await.expect("an end").into_inner();
    assert_eq!(ended.revoked_grant_ids, ["g1"]);
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(OTHER)), [""; 0]);
}
