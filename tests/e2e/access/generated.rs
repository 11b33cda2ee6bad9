//! What is allowed on one resource, for one person, until one second. Against `aws-sim`, whose
//! evaluator judges what somebody may do.

use apono_connector_proto::v1::{
    AccessUnit, ExtendRequest, GrantRequest, GrantState, IntegrationSettings, StepOutcome,
    ValidateGrantRequest, validate_grant_request::End,
};
use aws_sim::{Context, Effect, Fault, evaluator::Question};
use prost_types::Timestamp;

use super::{ACCOUNT, House, OTHER_ACCOUNT, a_request, ann, cloud, fast, settings, user};
use crate::harness::{Cloud, Daemon, Database, bucket, wait_for};

/// A bucket of [`ACCOUNT`].
pub(crate) const BUCKET: &str = "arn:aws:s3:::logs";
/// Another one there.
pub(crate) const OTHER_BUCKET: &str = "arn:aws:s3:::invoices";

/// A house that knows its buckets and instances.
pub(crate) async fn house() -> House {
    house_with(&[]).await
}

/// The same with other options.
pub(super) async fn house_with(options: &[(&'static str, &str)]) -> House {
    house_of(options, knowing_buckets).await
}

/// The same with other settings of its integration.
pub(crate) async fn house_of(
    options: &[(&'static str, &str)],
    meant: fn(IntegrationSettings) -> IntegrationSettings,
) -> House {
    let database = Database::create().await;
    let cloud = cloud().await;
    with_buckets(&cloud);
    let options = options.iter().fold(fast(&database), |all, (name, value)| all.set(name, value));
    let daemon = Daemon::start_with(&cloud, options);
    let api = daemon.api().await;
    api.create_and_sync(meant(settings(&cloud))).await;
    House { cloud, database, daemon, api }
}

pub(crate) fn with_buckets(cloud: &Cloud) {
    let mut world = cloud.sim.world();
    for name in ["logs", "invoices"] {
        world.account(ACCOUNT).buckets.push(bucket(name, "eu-west-1", &[]));
    }
    world.account(OTHER_ACCOUNT).buckets.push(bucket("elsewhere", "eu-west-1", &[]));
}

/// The same settings, with buckets and instances.
pub(crate) fn knowing_buckets(settings: IntegrationSettings) -> IntegrationSettings {
    let known = ["aws-ec2-instance", "aws-identity-center-permission-set", "aws-s3-bucket"];
    IntegrationSettings { resource_types: known.map(str::to_owned).to_vec(), ..settings }
}

/// A request for an hour of a permission on a resource, for a user.
pub(crate) fn on(id: &str, number: usize, permission: &str, resource: &str) -> GrantRequest {
    GrantRequest {
        recipient: Some(user(&format!("ann{number}@example.com"))),
        units: vec![AccessUnit {
            resource: resource.to_owned(),
            permission: permission.to_owned(),
            ..Default::default()
        }],
        ..a_request(id)
    }
}

/// Whether a user may do something.
pub(crate) fn may(cloud: &Cloud, number: usize, action: &str, resource: &str) -> bool {
    cloud.sim.world().may(&Question {
        organization: &cloud.organization,
        user: &ann(number),
        account: ACCOUNT,
        action,
        resource,
        context: Context::default(),
    })
}

/// What of ours is in AWS: permission sets, policies and session documents.
pub(crate) fn made(cloud: &Cloud) -> Vec<String> {
    let world = cloud.sim.world();
    let sets = world.organizations[&cloud.organization].directory.permission_sets.iter();
    let sets = sets.map(|set| set.name.clone()).filter(|name| name.starts_with("apono-"));
    let policies = [ACCOUNT, OTHER_ACCOUNT].map(|account| {
        let policies = world.accounts[account].managed_policies.keys();
        let ours = policies.filter(|policy| policy.path == "/apono/");
        ours.map(|policy| format!("{account} {}", policy.name)).collect::<Vec<_>>()
    });
    let documents = world.accounts[ACCOUNT].session_documents.keys();
    let documents =
        documents.map(|(_, name)| name.clone()).filter(|name| name.starts_with("apono-"));
    sets.chain(policies.concat()).chain(documents).collect()
}

/// What trying a grant says is in its way.
pub(super) async fn failed_step(house: &House, request: &GrantRequest) -> String {
    let request = ValidateGrantRequest {
        integration: request.integration.clone(),
        recipient: request.recipient.clone(),
        units: request.units.clone(),
        reason: request.reason.clone(),
        end: Some(End::Duration(prost_types::Duration { seconds: 3600, nanos: 0 })),
        ..Default::default()
    };
    let answer = house.api.access().validate_grant(request).await.expect("an answer");
    let steps = answer.into_inner().steps.into_iter();
    let failed = steps.filter(|step| step.outcome() == StepOutcome::Failed);
    let told: Vec<String> = failed.map(|step| format!("{} {}", step.code, step.finding)).collect();
    told.join(", ")
}

#[tokio::test]
async fn it_allows_what_was_asked_for_and_nothing_else_until_its_second() {
    let house = house().await;
    let (cloud, object) = (&house.cloud, format!("{BUCKET}/2026/a.log"));
    assert!(!may(cloud, 1, "s3:GetObject", &object));
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(may(cloud, 1, "s3:GetObject", &object));
    assert!(may(cloud, 1, "s3:ListBucket", BUCKET));
    assert!(!may(cloud, 1, "s3:PutObject", &object), "it only reads");
    assert!(!may(cloud, 1, "s3:GetObject", &format!("{OTHER_BUCKET}/a")), "another bucket");
    assert!(!may(cloud, 1, "s3:PutBucketPolicy", BUCKET));
    assert!(!may(cloud, 1, "iam:CreatePolicyVersion", "arn:aws:iam::222222222222:policy/apono/x"));
    assert!(!may(cloud, 2, "s3:GetObject", &object), "somebody else");

    let unit = &active.units[0];
    assert_eq!(unit.mechanism, "aws-generated-access");
    assert!(unit.is_self_ending && !unit.was_there_before);
    assert_eq!(unit.session_tail_until_time, active.expire_time, "sessions end with it");
    let set = made(cloud)[0].clone();
    assert_eq!(set.len(), 32);
    let details = unit.details.as_ref().expect("details");
    let page = "https%3A%2F%2Fconsole.aws.amazon.com%2Fs3%2Fbuckets%2Flogs";
    let link = format!("account_id={ACCOUNT}&role_name={set}&destination={page}");
    assert!(details.sign_in_url.ends_with(&link), "{}", details.sign_in_url);
    let list = format!("\naws s3 ls s3://logs --profile {ACCOUNT}-{set}");
    assert!(details.cli_command.ends_with(&list), "{}", details.cli_command);

    house.cloud.sim.world().clock.advance(chrono::TimeDelta::seconds(3601));
    assert!(!may(cloud, 1, "s3:GetObject", &object), "before anybody has removed it");
    house.database.move_time("3601 s").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(made(cloud), [""; 0]);
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}

#[tokio::test]
async fn a_further_grant_in_the_account_changes_a_policy_alone() {
    let house = house_with(&[("APONO__ACCESS__AUDIT_INTERVAL", "1h")]).await;
    let cloud = &house.cloud;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let sso_calls = || {
        let world = cloud.sim.world();
        world.journal.iter().filter(|entry| entry.action.starts_with("sso:")).count()
    };
    let before = sso_calls();
    house.api.grant(on("g2", 1, "READ_WRITE", OTHER_BUCKET)).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
    assert_eq!(sso_calls(), before, "Identity Center is not asked");
    assert!(may(cloud, 1, "s3:GetObject", &format!("{BUCKET}/a")));
    assert!(may(cloud, 1, "s3:PutObject", &format!("{OTHER_BUCKET}/a")));
    assert!(!may(cloud, 1, "s3:PutObject", &format!("{BUCKET}/a")), "each its own");
    for (action, times) in [
        ("sso:CreatePermissionSet", 1),
        ("sso:CreateAccountAssignment", 1),
        ("iam:CreatePolicy", 1),
        ("iam:CreatePolicyVersion", 1),
    ] {
        assert_eq!(house.calls(action), times, "{action}");
    }
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert!(!may(cloud, 1, "s3:GetObject", &format!("{BUCKET}/a")), "taken back before its end");
    assert!(may(cloud, 1, "s3:PutObject", &format!("{OTHER_BUCKET}/a")));
    assert_eq!(house.calls("sso:DeleteAccountAssignment"), 0);
    house.api.revoke("g2").await;
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    assert_eq!(made(cloud), [""; 0]);
}

#[tokio::test]
async fn a_policy_is_changed_more_often_than_it_has_versions() {
    let house = house().await;
    let object = format!("{OTHER_BUCKET}/a");
    house.api.grant(on("g0", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g0", GrantState::Active).await;
    for number in 1..=4 {
        let id = format!("g{number}");
        house.api.grant(on(&id, 1, "READ_ONLY", OTHER_BUCKET)).await;
        house.api.wait_for_grant(&id, GrantState::Active).await;
        assert!(may(&house.cloud, 1, "s3:GetObject", &object), "{id}");
        house.api.revoke(&id).await;
        house.api.wait_for_grant(&id, GrantState::Ended).await;
        assert!(!may(&house.cloud, 1, "s3:GetObject", &object), "{id}");
    }
    house.api.revoke("g0").await;
    house.api.wait_for_grant("g0", GrantState::Ended).await;
    assert_eq!(made(&house.cloud), [""; 0]);
    let world = house.cloud.sim.world();
    let refused = world.journal.iter().filter(|one| one.action.starts_with("iam:"));
    let refused: Vec<_> = refused.filter(|one| !one.code.is_empty()).collect();
    let of_looks = ["NoSuchEntity", "NoSuchEntityException"];
    assert!(refused.iter().all(|one| of_looks.contains(&one.code.as_str())), "{refused:?}");
}

#[tokio::test]
async fn one_set_serves_a_person_in_all_accounts() {
    let house = house().await;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.grant(on("g2", 1, "READ_ONLY", "arn:aws:s3:::elsewhere")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
    assert_eq!(made(&house.cloud).len(), 3, "a set, and a policy in each account");
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(made(&house.cloud).len(), 2, "the other account still needs the set");
    house.api.revoke("g2").await;
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    assert_eq!(made(&house.cloud), [""; 0]);
}

#[tokio::test]
async fn without_a_daemon_it_ends_all_the_same_and_a_later_one_tidies_up() {
    let mut house = house().await;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.daemon.kill();
    house.pass(3601).await;
    assert!(!may(&house.cloud, 1, "s3:GetObject", &format!("{BUCKET}/a")));
    house.start_again().await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(made(&house.cloud), [""; 0]);
}

#[tokio::test]
async fn a_longer_grant_has_a_later_end_in_the_policy() {
    let house = house().await;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    let seconds = active.expire_time.expect("an end").seconds + 3600;
    let expire_time = Some(Timestamp { seconds, nanos: 0 });
    let request = ExtendRequest { grant_id: "g1".to_owned(), expire_time, ..Default::default() };
    house.api.access().extend(request).await.expect("a longer grant");
    wait_for("another version", || async {
        (house.calls("iam:CreatePolicyVersion") == 1).then_some(())
    })
    .await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.pass(3601).await;
    assert!(may(&house.cloud, 1, "s3:GetObject", &format!("{BUCKET}/a")));
    house.pass(3600).await;
    assert!(!may(&house.cloud, 1, "s3:GetObject", &format!("{BUCKET}/a")));
}

#[tokio::test]
async fn lost_answers_leave_nothing_behind() {
    for action in [
        "iam:CreatePolicy",
        "iam:DeletePolicy",
        "sso:CreatePermissionSet",
        "sso:DeletePermissionSet",
        "sso:AttachCustomerManagedPolicyReferenceToPermissionSet",
    ] {
        let house = house().await;
        house.cloud.sim.world().faults.push(Fault::new(Effect::Cut).on(action).times(1));
        house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
        house.api.wait_for_grant("g1", GrantState::Active).await;
        assert!(may(&house.cloud, 1, "s3:GetObject", &format!("{BUCKET}/a")), "{action}");
        house.api.revoke("g1").await;
        house.api.wait_for_grant("g1", GrantState::Ended).await;
        assert_eq!(made(&house.cloud), [""; 0], "{action}");
    }
}

#[tokio::test]
async fn what_somebody_does_to_the_policy_is_undone() {
    let house = house().await;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let object = format!("{BUCKET}/a");
    let name = {
        let world = house.cloud.sim.world();
        let mut policies = world.accounts[ACCOUNT].managed_policies.keys();
        policies.find(|policy| policy.path == "/apono/").expect("a policy").name.clone()
    };
    let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    house.cloud.sim.world().put_policy(ACCOUNT, "/apono/", &name, all);
    assert!(may(&house.cloud, 1, "s3:PutObject", &object));
    wait_for("the policy as it was", || async {
        let (reads, writes) = ("s3:GetObject", "s3:PutObject");
        (may(&house.cloud, 1, reads, &object) && !may(&house.cloud, 1, writes, &object))
            .then_some(())
    })
    .await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(made(&house.cloud), [""; 0]);
}

#[tokio::test]
async fn a_policy_that_would_be_too_long_refuses_the_grant_before_anything_is_done() {
    let house = house().await;
    {
        let mut world = house.cloud.sim.world();
        for number in 0..90 {
            let name = format!("a-bucket-with-quite-a-long-name-{number:03}");
            world.account(ACCOUNT).buckets.push(bucket(&name, "eu-west-1", &[]));
        }
    }
    house.api.sync("prod").await;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let units = (0..90).map(|number| AccessUnit {
        resource: format!("arn:aws:s3:::a-bucket-with-quite-a-long-name-{number:03}"),
        permission: "READ_ONLY".to_owned(),
        ..Default::default()
    });
    let many = GrantRequest { units: units.collect(), ..on("g2", 1, "READ_ONLY", BUCKET) };
    assert!(failed_step(&house, &many).await.starts_with("ROOM POLICY_FULL: "));
    house.api.grant(many).await;
    let failed = house.api.wait_for_grant("g2", GrantState::Failed).await;
    let refusal = failed.units[0].refusal.as_ref().expect("a refusal");
    assert_eq!(refusal.reason, "POLICY_FULL");
    assert_eq!(house.calls("iam:CreatePolicyVersion"), 0);
    house.api.wait_for_grant("g1", GrantState::Active).await;
}

#[tokio::test]
async fn what_aws_gives_no_more_of_is_refused_before_anything_is_done() {
    for (quota, most, says) in [
        ("APONO__ACCESS__PERMISSION_SETS_MAX", "5", "has 5 permission sets, and AWS gives 5"),
        (
            "APONO__ACCESS__PERMISSION_SETS_IN_ACCOUNT_MAX",
            "1",
            "222222222222 has 1 permission sets, and AWS gives 1",
        ),
        ("APONO__ACCESS__ROLES_IN_ACCOUNT_MAX", "1", "222222222222 has 1 roles, and AWS gives 1"),
    ] {
        // Four permission sets were discovered, none of them in the account.
        let house = house_with(&[(quota, most)]).await;
        house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
        house.api.wait_for_grant("g1", GrantState::Active).await;
        let another = on("g2", 2, "READ_ONLY", BUCKET);
        let step = failed_step(&house, &another).await;
        assert!(step.starts_with("ROOM QUOTA_EXCEEDED: ") && step.contains(says), "{step}");
        house.api.grant(another).await;
        let failed = house.api.wait_for_grant("g2", GrantState::Failed).await;
        let refusal = failed.units[0].refusal.as_ref().expect("a refusal");
        assert_eq!(refusal.reason, "QUOTA_EXCEEDED");
        assert!(refusal.finding.contains(says), "{}", refusal.finding);
        house.api.grant(on("g3", 1, "READ_WRITE", OTHER_BUCKET)).await;
        house.api.wait_for_grant("g3", GrantState::Active).await;
        for id in ["g1", "g3"] {
            house.api.revoke(id).await;
            house.api.wait_for_grant(id, GrantState::Ended).await;
        }
        house.api.grant(on("g4", 2, "READ_ONLY", BUCKET)).await;
        house.api.wait_for_grant("g4", GrantState::Active).await;
    }
}
