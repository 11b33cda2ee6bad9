//! What is excluded is not read, and what leaves an exclusion is announced first.
//! Against `aws-sim`.

use apono_connector_proto::v1::{
    IntegrationSettings, IntegrationStatus, SyncState, UpdateIntegrationRequest,
};

use crate::harness::{Api, Cloud, Daemon, Database, bucket, settings_for};

const SANDBOX: &str = "ou-test-bbbbbbbb";
const MOVING: &str = "222222222222";

/// An organization whose only member lies in an excluded unit.
async fn a_sandbox() -> (Cloud, Database, Daemon, Api) {
    let cloud = Cloud::empty("aws").await;
    cloud.unit(SANDBOX, &cloud.root, "Sandbox");
    cloud.account(MOVING, SANDBOX, "experiments");
    cloud.sim.world().account(MOVING).buckets.push(bucket("notes", "eu-west-1", &[]));
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let settings =
        IntegrationSettings { excluded_ou_ids: vec![SANDBOX.to_owned()], ..settings_for(&cloud) };
    let sync = api.create_and_sync(settings).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    assert_eq!(api.lines().await, cloud.expected(&[SANDBOX]));
    (cloud, database, daemon, api)
}

/// Whether anything was asked in the account.
fn was_entered(cloud: &Cloud) -> bool {
    cloud.sim.world().journal.iter().any(|entry| entry.account == MOVING)
}

#[tokio::test]
async fn an_account_that_moves_out_of_an_exclusion_is_announced_before_it_is_read() {
    let (cloud, _database, _daemon, api) = a_sandbox().await;
    cloud.sim.world().account(MOVING).parent.clone_from(&cloud.root);
    // Creating the integration tried no member role, for there was none to read.
    assert!(!was_entered(&cloud));

    api.sync("prod").await;
    assert_eq!(api.problem_lines().await, ["ACCOUNT_NO_LONGER_EXCLUDED 1"]);
    assert_eq!(api.problems().await[0].examples, [MOVING]);
    assert_eq!(api.status("prod").await, IntegrationStatus::Active);
    assert!(!was_entered(&cloud), "it was read before anybody could object");

    api.sync("prod").await;
    assert_eq!(api.problem_lines().await, [""; 0]);
    assert_eq!(api.lines().await, cloud.expected(&[]));
}

#[tokio::test]
async fn an_exclusion_that_is_taken_away_takes_effect_at_once() {
    let (cloud, _database, _daemon, api) = a_sandbox().await;
    let before = api.get("prod").await;
    let request = UpdateIntegrationRequest {
        integration: before.id,
        settings: Some(settings_for(&cloud)),
        etag: before.etag,
        ..Default::default()
    };
    api.integrations().update_integration(request).await.expect("an update");
    api.sync("prod").await;
    assert_eq!(api.problem_lines().await, [""; 0]);
    assert_eq!(api.lines().await, cloud.expected(&[]));
}
