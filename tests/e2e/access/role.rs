//! Roles of IAM that people assume. Against `aws-sim`, whose evaluator asks both sides: the person's
//! policies, and the role's trust policy.

use apono_connector_proto::v1::{ExtendRequest, GrantState, IntegrationSettings};
use aws_sim::{Effect, Fault, evaluator::Question, template::Role, text::Text};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{
    ACCOUNT, House, ann, cloud, fast,
    generated::{made, on},
    settings,
};
use crate::harness::{Cloud, Daemon, Database, wait_for};

/// A role of [`ACCOUNT`] that lets in a service alone.
pub(crate) const ROLE: &str = "arn:aws:iam::222222222222:role/deploy";
/// One that leaves it to the account.
const OPEN: &str = "arn:aws:iam::222222222222:role/open";

fn trusting(principal: &Value) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" }],
    })
}

/// The trust policy of [`ROLE`] before anything is granted.
pub(crate) fn before() -> Value {
    trusting(&json!({ "Service": "ec2.amazonaws.com" }))
}

fn put(cloud: &Cloud, name: &str, trust: Value, is_tagged: bool) {
    let tags = is_tagged.then(|| (Text::from("apono:grantable"), Text::from("true")));
    let tags = tags.into_iter().collect();
    let role = Role { name: name.to_owned(), trust, tags, ..Role::default() };
    cloud.sim.world().account(ACCOUNT).roles.insert(name.to_owned(), role);
}

pub(crate) fn with_roles(cloud: &Cloud) {
    put(cloud, "deploy", before(), true);
    put(cloud, "open", trusting(&json!({ "AWS": "arn:aws:iam::222222222222:root" })), true);
}

/// The same settings, with roles.
pub(crate) fn knowing_roles(mut settings: IntegrationSettings) -> IntegrationSettings {
    settings.resource_types.push("aws-iam-role".to_owned());
    settings
}

async fn house() -> House {
    let database = Database::create().await;
    let cloud = cloud().await;
    with_roles(&cloud);
    let daemon = Daemon::start_with(&cloud, fast(&database));
    let api = daemon.api().await;
    api.create_and_sync(knowing_roles(settings(&cloud))).await;
    House { cloud, database, daemon, api }
}

/// Whether a user may assume a role under a name.
fn may_as(cloud: &Cloud, number: usize, role: &str, session: &str) -> bool {
    let user = ann(number);
    let question = Question {
        organization: &cloud.organization,
        user: &user,
        account: ACCOUNT,
        ..Question::default()
    };
    let name = role.rsplit('/').next().unwrap_or_default();
    cloud.sim.world().may_assume(&question, name, session)
}

/// Whether a user may assume a role under the name that the connector gives.
pub(crate) fn may(cloud: &Cloud, number: usize, role: &str) -> bool {
    may_as(cloud, number, role, &ann(number))
}

/// The trust policy of a role.
pub(crate) fn trust(cloud: &Cloud, role: &str) -> Value {
    let name = role.rsplit('/').next().unwrap_or_default();
    cloud.sim.world().accounts[ACCOUNT].roles[name].trust.clone()
}

#[tokio::test]
async fn a_role_is_assumed_by_one_person_under_one_name_until_its_second() {
    let house = house().await;
    let cloud = &house.cloud;
    assert!(!may(cloud, 1, ROLE));
    house.api.grant(on("g1", 1, "ASSUME", ROLE)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(may(cloud, 1, ROLE));
    assert!(!may_as(cloud, 1, ROLE, "somebody"), "sessions are named by the person's id");
    assert!(!may(cloud, 2, ROLE), "another person");
    assert!(!may(cloud, 1, OPEN), "another role");
    assert_eq!(trust(cloud, ROLE)["Statement"][0], before()["Statement"][0]);
    let unit = &active.units[0];
    assert_eq!(unit.mechanism, "aws-iam-role-assumption");
    assert!(!unit.is_self_ending && !unit.was_there_before);
    let (end, tail) = (active.expire_time.expect("an end"), unit.session_tail_until_time);
    assert_eq!(tail.expect("a tail").seconds, end.seconds + 3600);
    let command = &unit.details.as_ref().expect("details").cli_command;
    let assume = format!("aws sts assume-role --role-arn {ROLE} --role-session-name {}", ann(1));
    assert!(command.contains(&assume), "{command}");

    house.cloud.sim.world().clock.advance(chrono::TimeDelta::seconds(3601));
    assert!(!may(cloud, 1, ROLE), "before anybody has removed it");
    house.database.move_time("3601 s").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(trust(cloud, ROLE), before());
    assert_eq!(made(cloud), [""; 0]);
}

#[tokio::test]
async fn where_the_account_is_let_in_the_trust_policy_stays() {
    let house = house().await;
    house.api.grant(on("g1", 1, "ASSUME", OPEN)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(may(&house.cloud, 1, OPEN));
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert!(!may(&house.cloud, 1, OPEN));
    assert_eq!(house.calls("iam:UpdateAssumeRolePolicy"), 0);
}

#[tokio::test]
async fn two_people_in_one_role_and_what_somebody_writes_beside_them() {
    let house = house().await;
    let cloud = &house.cloud;
    for (id, number) in [("g1", 1), ("g2", 2)] {
        house.api.grant(on(id, number, "ASSUME", ROLE)).await;
    }
    for id in ["g1", "g2"] {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    assert!(may(cloud, 1, ROLE) && may(cloud, 2, ROLE));
    let theirs = json!({
        "Sid": "theirs",
        "Effect": "Allow",
        "Principal": { "Service": "lambda.amazonaws.com" },
        "Action": "sts:AssumeRole",
    });
    let mut written = trust(cloud, ROLE);
    written["Statement"].as_array_mut().expect("statements").push(theirs.clone());
    put(cloud, "deploy", written, true);
    let end = house.api.get_grant("g1").await.expire_time.expect("an end");
    let expire_time = Some(Timestamp { seconds: end.seconds + 3600, nanos: 0 });
    let request = ExtendRequest { grant_id: "g1".to_owned(), expire_time, ..Default::default() };
    house.api.access().extend(request).await.expect("a longer grant");
    wait_for("a later end on both sides", || async {
        let written = ["iam:UpdateAssumeRolePolicy", "iam:CreatePolicyVersion"];
        (written.map(|action| house.calls(action)) == [3, 1]).then_some(())
    })
    .await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.pass(3601).await;
    assert!(may(cloud, 1, ROLE) && !may(cloud, 2, ROLE));
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    let mut left = before();
    left["Statement"].as_array_mut().expect("statements").push(theirs);
    assert_eq!(trust(cloud, ROLE), left);
}

#[tokio::test]
async fn what_somebody_takes_out_is_put_in_again() {
    let house = house().await;
    house.api.grant(on("g1", 1, "ASSUME", ROLE)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    put(&house.cloud, "deploy", before(), true);
    wait_for("the statement", || async { may(&house.cloud, 1, ROLE).then_some(()) }).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
}

#[tokio::test]
async fn where_somebody_lets_the_account_in_meanwhile_the_end_takes_ours_alone() {
    let house = house().await;
    let cloud = &house.cloud;
    house.api.grant(on("g1", 1, "ASSUME", ROLE)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let opened = trusting(&json!({ "AWS": "arn:aws:iam::222222222222:root" }));
    let mut both = trust(cloud, ROLE);
    let statements = both["Statement"].as_array_mut().expect("statements");
    statements[0] = opened["Statement"][0].clone();
    put(cloud, "deploy", both, true);
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(trust(cloud, ROLE), opened);
    assert_eq!(house.calls("iam:UpdateAssumeRolePolicy"), 2);
}

#[tokio::test]
async fn a_statement_that_cannot_be_taken_out_has_ended_by_itself() {
    let house = house().await;
    let cloud = &house.cloud;
    house.api.grant(on("g1", 1, "ASSUME", ROLE)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let granted = trust(cloud, ROLE);
    // Nobody is to be let in any more, the connector's changes with them.
    put(cloud, "deploy", granted.clone(), false);
    house.api.revoke("g1").await;
    wait_for("what is in the way", || async {
        let unit = house.api.get_grant("g1").await.units.remove(0);
        unit.stuck_reason.contains("iam:UpdateAssumeRolePolicy").then_some(())
    })
    .await;
    assert!(!may(cloud, 1, ROLE), "the person's own policy lets nobody in");
    house.pass(3601).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(trust(cloud, ROLE), granted);
    assert!(!may(cloud, 1, ROLE));
}

#[tokio::test]
async fn roles_that_nobody_gave_free_are_refused() {
    let house = house().await;
    put(&house.cloud, "untagged", before(), false);
    put(&house.cloud, "apono-own", before(), true);
    house.api.sync("prod").await;
    for (name, reason, says) in [
        ("untagged", "NOT_GRANTABLE", "apono:grantable=true"),
        ("apono-own", "RESOURCE_UNFIT", "the connector's own"),
        ("nobody", "RESOURCE_UNKNOWN", "nobody"),
    ] {
        let role = format!("arn:aws:iam::222222222222:role/{name}");
        let refused = house.api.access().grant(on("g1", 1, "ASSUME", &role)).await;
        let refused = refused.expect_err(name);
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let details = refused.get_error_details();
        assert_eq!(details.error_info().expect("a reason").reason, reason);
        assert!(refused.message().contains(says), "{refused}");
    }
}

#[tokio::test]
async fn a_trust_policy_that_iam_would_not_take_is_told_and_left_alone() {
    let house = house().await;
    let dead = trusting(&json!({ "AWS": "AROAEXAMPLE" }));
    put(&house.cloud, "dead", dead.clone(), true);
    let long = trusting(&json!({ "AWS": "x".repeat(1900) }));
    put(&house.cloud, "long", long.clone(), true);
    let mut denied = before();
    let deny = json!({ "Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole" });
    denied["Statement"].as_array_mut().expect("statements").push(deny);
    put(&house.cloud, "denied", denied.clone(), true);
    house.api.sync("prod").await;
    for (name, before, reason, says) in [
        ("denied", denied, "INVALID", "denies sts:AssumeRole to everybody"),
        ("dead", dead, "INVALID", "AROAEXAMPLE, who are not there any more; take them out"),
        ("long", long, "QUOTA_EXCEEDED", "characters, and IAM takes 2048"),
    ] {
        let role = format!("arn:aws:iam::222222222222:role/{name}");
        house.api.grant(on(name, 1, "ASSUME", &role)).await;
        let failed = house.api.wait_for_grant(name, GrantState::Failed).await;
        let refusal = failed.units[0].refusal.as_ref().expect("a refusal");
        assert_eq!(refusal.reason, reason);
        assert!(refusal.finding.contains(says), "{}", refusal.finding);
        assert_eq!(trust(&house.cloud, &role), before);
    }
    assert_eq!(house.calls("iam:UpdateAssumeRolePolicy"), 0);
    wait_for("nothing left", || async { made(&house.cloud).is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn while_a_lost_call_may_arrive_nothing_else_is_written() {
    let house = house().await;
    let lost = Fault::new(Effect::Cut).on("iam:UpdateAssumeRolePolicy").times(1);
    house.cloud.sim.world().faults.push(lost);
    for (id, number) in [("g1", 1), ("g2", 2)] {
        house.api.grant(on(id, number, "ASSUME", ROLE)).await;
    }
    for id in ["g1", "g2"] {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    let world = house.cloud.sim.world();
    let written = world.journal.iter().filter(|one| one.action == "iam:UpdateAssumeRolePolicy");
    let times: Vec<_> = written.map(|one| one.at).collect();
    // As long as a call may take to settle here.
    let settled = times[0] + chrono::TimeDelta::milliseconds(1900);
    assert!(times.len() >= 2 && times[1..].iter().all(|at| *at > settled), "{times:?}");
}

#[tokio::test]
async fn a_lost_answer_leaves_nothing_behind() {
    let house = house().await;
    let lost = Fault::new(Effect::Cut).on("iam:UpdateAssumeRolePolicy").times(1);
    house.cloud.sim.world().faults.push(lost.clone());
    house.api.grant(on("g1", 1, "ASSUME", ROLE)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(may(&house.cloud, 1, ROLE));
    house.cloud.sim.world().faults.push(lost);
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(trust(&house.cloud, ROLE), before());
}
