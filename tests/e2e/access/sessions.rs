//! Sessions on instances: no policy ends one that is open, so the connector does. Against `aws-sim`,
//! where people open them.

use std::time::Duration;

use apono_connector_proto::v1::{GrantRequest, GrantState, UnitState, grant_request::End};
use aws_sim::{Effect, Fault, shell::Opening};
use chrono::TimeDelta;
use connector::base::clock;

use super::{
    ACCOUNT, House, ann,
    generated::{self, made, on},
    session_document,
};
use crate::harness::{Cloud, instance, wait_for};

/// An instance of [`ACCOUNT`].
pub(crate) const INSTANCE: &str = "arn:aws:ec2:eu-west-1:222222222222:instance/i-0a1";
/// Another one there.
const OTHER: &str = "arn:aws:ec2:eu-west-1:222222222222:instance/i-0b2";
const FORWARDING: &str = "AWS-StartPortForwardingSession";

pub(crate) fn with_instance(cloud: &Cloud) {
    let mut world = cloud.sim.world();
    let instances = world.account(ACCOUNT).instances.entry("eu-west-1".to_owned()).or_default();
    instances.push(instance("i-0a1", &[]));
}

/// A house with an instance.
pub(super) async fn house() -> House {
    let house = generated::house().await;
    with_instance(&house.cloud);
    house.api.sync("prod").await;
    house
}

/// A shell under `g1`, and `g2` that holds on to the account, so that at the end of the first the policy alone
/// changes.
async fn connected_beside_a_bucket(house: &House) -> String {
    house.api.grant(on("g1", 1, "CONNECT", INSTANCE)).await;
    house.api.grant(on("g2", 1, "READ_ONLY", generated::BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
    shell(&house.cloud, 1).expect("a shell")
}

fn opening<'a>(cloud: &'a Cloud, user: &'a str, document: &'a str) -> Opening<'a> {
    let (organization, region, instance) = (&cloud.organization, "eu-west-1", "i-0a1");
    Opening { organization, user, account: ACCOUNT, region, instance, document }
}

/// A user opens a session with a document; its id, if that is allowed.
fn opens(cloud: &Cloud, number: usize, document: &str) -> Option<String> {
    cloud.sim.world().open_shell(opening(cloud, &ann(number), document))
}

/// A user opens a shell; its id, if that is allowed.
pub(crate) fn shell(cloud: &Cloud, number: usize) -> Option<String> {
    cloud.sim.world().open_any_shell(opening(cloud, &ann(number), ""))
}

/// What is open.
pub(crate) fn open(cloud: &Cloud) -> Vec<String> {
    cloud.sim.world().open_shells(ACCOUNT)
}

#[tokio::test]
async fn a_shell_that_is_open_at_the_end_is_terminated_and_nobody_elses() {
    let house = house().await;
    let cloud = &house.cloud;
    assert_eq!(shell(cloud, 1), None);
    for (id, number) in [("g1", 1), ("g2", 2)] {
        house.api.grant(on(id, number, "CONNECT", INSTANCE)).await;
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    let (first, second) = (shell(cloud, 1), shell(cloud, 1));
    assert!(first.is_some() && second.is_some());
    assert_eq!(opens(cloud, 1, FORWARDING), None, "a shell is what was asked for");
    let other = shell(cloud, 2).expect("a shell of another person");
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(cloud), [other]);
    assert_eq!(shell(cloud, 1), None);
    house.api.revoke("g2").await;
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    assert_eq!(open(cloud), [""; 0]);
    assert_eq!(made(cloud), [""; 0]);
}

#[tokio::test]
async fn whoever_opens_another_before_the_policy_counts_loses_it_too() {
    let house = house().await;
    let first = connected_beside_a_bucket(&house).await;
    let cloud = &house.cloud;
    cloud.sim.world().account(ACCOUNT).iam_lag = TimeDelta::milliseconds(400);
    house.api.revoke("g1").await;
    wait_for("the end of the first", || async { (!open(cloud).contains(&first)).then_some(()) })
        .await;
    let mut opened = 0;
    while shell(cloud, 1).is_some() {
        opened += 1;
        clock::sleep(Duration::from_millis(20)).await;
    }
    assert!(opened > 0, "it is still allowed for a while");
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(cloud), [""; 0]);
    house.api.wait_for_grant("g2", GrantState::Active).await;
}

#[tokio::test]
async fn what_another_grant_allows_stays_open() {
    let house = house().await;
    let cloud = &house.cloud;
    for (id, permission) in [("g1", "CONNECT"), ("g2", "PORT_FORWARD"), ("g3", "CONNECT")] {
        house.api.grant(on(id, 1, permission, INSTANCE)).await;
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    let shell = shell(cloud, 1).expect("a shell");
    let port = opens(cloud, 1, FORWARDING).expect("a port");
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(cloud), [shell, port.clone()]);
    house.api.revoke("g3").await;
    house.api.wait_for_grant("g3", GrantState::Ended).await;
    assert_eq!(open(cloud), [port]);
    house.api.revoke("g2").await;
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    assert_eq!(open(cloud), [""; 0]);
}

#[tokio::test]
async fn what_was_opened_with_the_document_of_another_instance_ends_all_the_same() {
    let house = house().await;
    let cloud = &house.cloud;
    let instance = instance("i-0b2", &[]);
    let region = "eu-west-1".to_owned();
    cloud.sim.world().account(ACCOUNT).instances.entry(region).or_default().push(instance);
    house.api.sync("prod").await;
    let for_hours = |request: GrantRequest, hours: i64| {
        let length = prost_types::Duration { seconds: hours * 3600, nanos: 0 };
        GrantRequest { end: Some(End::Duration(length)), ..request }
    };
    house.api.grant(on("g1", 1, "CONNECT", INSTANCE)).await;
    house.api.grant(for_hours(on("g2", 1, "CONNECT", OTHER), 12)).await;
    house.api.grant(on("g3", 1, "PORT_FORWARD", OTHER)).await;
    for id in ["g1", "g2", "g3"] {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    let longest = {
        let world = cloud.sim.world();
        let mut documents = world.accounts[ACCOUNT].session_documents.keys();
        let longest = documents.find(|(_, name)| name.starts_with("apono-session-720-"));
        longest.expect("a document for twelve hours").1.clone()
    };
    for document in [longest.as_str(), FORWARDING] {
        opens(cloud, 1, document).expect("IAM judges instance and document apart");
    }
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(cloud), [""; 0]);
}

#[tokio::test]
async fn without_a_daemon_no_shell_is_opened_and_a_later_one_terminates_what_is_open() {
    let mut house = house().await;
    house.api.grant(on("g1", 1, "CONNECT", INSTANCE)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    let unit = &active.units[0];
    assert!(!unit.is_self_ending, "a shell is not ended by a policy");
    let end = active.expire_time.expect("an end").seconds;
    let tail = unit.session_tail_until_time.expect("an end of what is open");
    assert_eq!(tail.seconds, end + 3600, "a document for an hour ends it");
    house.daemon.kill();
    house.cloud.sim.world().clock.advance(TimeDelta::seconds(3500));
    shell(&house.cloud, 1).expect("a shell");
    house.cloud.sim.world().clock.advance(TimeDelta::seconds(101));
    assert_eq!(shell(&house.cloud, 1), None);
    assert_eq!(open(&house.cloud).len(), 1);
    house.database.move_time("3601 s").await;
    house.start_again().await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(&house.cloud), [""; 0]);
}

#[tokio::test]
async fn an_end_that_cannot_be_made_is_told_and_tried_again() {
    let house = house().await;
    house.api.grant(on("g1", 1, "CONNECT", INSTANCE)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    shell(&house.cloud, 1).expect("a shell");
    let denied = Fault::new(Effect::DenyByScp).on("ssm:TerminateSession");
    house.cloud.sim.world().faults.push(denied);
    house.api.revoke("g1").await;
    let stuck = wait_for("what is in the way", || async {
        let unit = house.api.get_grant("g1").await.units.remove(0);
        (!unit.stuck_reason.is_empty()).then_some(unit)
    })
    .await;
    assert!(stuck.stuck_reason.contains("ssm:TerminateSession"), "{}", stuck.stuck_reason);
    assert_eq!(stuck.state(), UnitState::Revoking);
    assert_eq!(open(&house.cloud).len(), 1);
    house.cloud.sim.world().faults.clear();
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(&house.cloud), [""; 0]);
}

#[tokio::test]
async fn what_is_closed_by_its_owner_was_not_removed_by_others() {
    let house = house().await;
    let cloud = &house.cloud;
    house.api.grant(on("g1", 1, "CONNECT", INSTANCE)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.api.revoke("g1").await;
    let accepted = "SELECT count(*) FROM connector.acts
        WHERE grant_id = 'g1' AND verb = 'ACCEPTED' AND detail LIKE 'delete terminated: %'";
    wait_for("an end under way", || async {
        (house.database.count(accepted).await == 1).then_some(())
    })
    .await;
    house.api.grant(on("g2", 1, "CONNECT", INSTANCE)).await;
    let opened = wait_for("a shell", || async { shell(cloud, 1) }).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
    assert_eq!(open(cloud), [opened]);
    let now = cloud.sim.world().clock.now();
    for shell in &mut cloud.sim.world().account(ACCOUNT).shells {
        shell.ended = Some(now);
    }
    let looks = house.calls("ssm:DescribeSessions");
    wait_for("some looks", || async {
        (house.calls("ssm:DescribeSessions") >= looks + 4).then_some(())
    })
    .await;
    let drift = "SELECT count(*) FROM connector.acts WHERE verb = 'DRIFT'";
    assert_eq!(house.database.count(drift).await, 0);
    house.api.wait_for_grant("g2", GrantState::Active).await;
}

#[tokio::test]
async fn as_long_as_the_policy_lets_anybody_in_the_end_is_not_over() {
    let house = house().await;
    // One of ours would be gone with the grant.
    session_document::with_the_accounts_own(&house).await;
    let first = connected_beside_a_bucket(&house).await;
    let cloud = &house.cloud;
    let denied = Fault::new(Effect::DenyByScp).on("iam:CreatePolicyVersion");
    cloud.sim.world().faults.push(denied);
    house.api.revoke("g1").await;
    wait_for("the end of the first", || async { (!open(cloud).contains(&first)).then_some(()) })
        .await;
    // Longer than the settling of calls and the propagation.
    house.pass(60).await;
    wait_for("what is in the way", || async {
        let unit = house.api.get_grant("g1").await.units.remove(0);
        unit.stuck_reason.contains("iam:CreatePolicyVersion").then_some(())
    })
    .await;
    shell(cloud, 1).expect("another shell");
    cloud.sim.world().faults.clear();
    house.pass(900).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(cloud), [""; 0]);
}

#[tokio::test]
async fn a_session_that_goes_on_for_a_while_is_waited_for_and_one_that_does_not_end_is_told() {
    let house = house().await;
    let cloud = &house.cloud;
    cloud.sim.world().account(ACCOUNT).shell_lag = TimeDelta::seconds(3600);
    house.api.grant(on("g1", 1, "CONNECT", INSTANCE)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    shell(cloud, 1).expect("a shell");
    house.api.revoke("g1").await;
    wait_for("its termination", || async {
        (house.calls("ssm:TerminateSession") == 1).then_some(())
    })
    .await;
    house.pass(20).await;
    wait_for("what is in the way", || async {
        let unit = house.api.get_grant("g1").await.units.remove(0);
        unit.stuck_reason.contains("1 sessions were terminated, and are still open").then_some(())
    })
    .await;
    house.pass(3600).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(cloud), [""; 0]);
}
