//! What an organization's policies deny of what was given is a warning, and IAM's silence is none.

use apono_connector_proto::v1::GrantState;
use aws_sim::{Effect, Fault};
use serde_json::json;

use super::{
    House,
    generated::{self, BUCKET, may, on},
};
use crate::harness::wait_for;

/// A house whose organization denies reading objects.
async fn house() -> House {
    let house = generated::house().await;
    let mut world = house.cloud.sim.world();
    let organization = world.organizations.get_mut(&house.cloud.organization).expect("one");
    let denies = json!({ "Effect": "Deny", "Action": "s3:GetObject", "Resource": "*" });
    let elsewhere = json!({ "StringNotEquals": { "aws:RequestedRegion": "eu-west-1" } });
    let lock = json!({ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": elsewhere });
    organization.scps.extend([denies, lock].map(|one| json!({ "Statement": one })));
    drop(world);
    house
}

#[tokio::test]
async fn what_the_organization_denies_is_a_warning() {
    let house = house().await;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert_eq!(active.units[0].warning, "");
    assert_eq!(house.calls("iam:ListRoles"), 0, "it has a minute until it counts");
    assert!(!may(&house.cloud, 1, "s3:GetObject", &format!("{BUCKET}/a")));
    house.pass(61).await;
    let warned = wait_for("a warning", || async {
        let unit = house.api.get_grant("g1").await.units.remove(0);
        (!unit.warning.is_empty()).then_some(unit.warning)
    })
    .await;
    assert!(warned.contains("policies of the organization may deny s3:GetObject;"), "{warned}");
    assert_eq!(house.api.get_grant("g1").await.state(), GrantState::Active);
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.calls("iam:ListRoles"), 1, "it is asked once");
}

#[tokio::test]
async fn that_iam_does_not_tell_is_no_warning_and_fails_nothing() {
    let house = house().await;
    let silent = Fault::new(Effect::Throttle).on("iam:ListRoles");
    house.cloud.sim.world().faults.push(silent);
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.pass(61).await;
    wait_for("a trial", || async {
        let world = house.cloud.sim.world();
        world.journal.iter().any(|one| one.action == "iam:ListRoles").then_some(())
    })
    .await;
    house.api.revoke("g1").await;
    let ended = house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(ended.units[0].warning, "");
}
