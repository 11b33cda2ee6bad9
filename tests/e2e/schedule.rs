//! The scheduler, by a clock that the tests move: the database's. Against `aws-sim`.

use std::time::Duration;

use apono_connector_proto::v1::{
    GetIntegrationRequest, IntegrationSettings, ListSyncsRequest, StartSyncRequest, Sync,
    UpdateIntegrationRequest,
};
use aws_sim::{Effect, Fault};

use crate::harness::{Api, Cloud, Daemon, Database, settings_for, wait_for};

async fn syncs(api: &Api) -> Vec<Sync> {
    let request = ListSyncsRequest { integration: "prod".to_owned(), ..Default::default() };
    api.syncs().list_syncs(request).await.expect("syncs").into_inner().syncs
}

async fn ended(api: &Api, count: usize) -> Vec<Sync> {
    wait_for("the end of a sync", || async {
        let syncs = syncs(api).await;
        (syncs.len() == count && syncs.iter().all(|sync| sync.end_time.is_some())).then_some(syncs)
    })
    .await
}

#[tokio::test]
async fn due_times_have_jitter_and_three_missed_periods_are_one_sync() {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    let due = "SELECT extract(epoch FROM next_sync_at - connector.now())::int FROM connector.integrations";
    let wait = database.count(due).await;
    assert!((54 * 60 - 60..=3600).contains(&wait), "an hour, up to a tenth less: {wait} s");

    database.move_time("3 hours 30 minutes").await;
    let all = ended(&api, 2).await;
    assert_eq!(all[0].generation, 2, "one sync for three missed periods");
    let wait = database.count(due).await;
    assert!((54 * 60 - 60..=3600).contains(&wait), "counted from the plan that was made: {wait} s");
}

#[tokio::test]
async fn a_shorter_interval_applies_at_once() {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    database.move_time("20 minutes").await;
    let request = GetIntegrationRequest { integration: "prod".to_owned(), ..Default::default() };
    let found = api.integrations().get_integration(request).await.expect("an integration");
    let found = found.into_inner().integration.expect("an integration");
    let update = UpdateIntegrationRequest {
        integration: "prod".to_owned(),
        etag: found.etag.clone(),
        settings: Some(IntegrationSettings {
            sync_interval: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["sync_interval".to_owned()] }),
        ..Default::default()
    };
    api.integrations().update_integration(update.clone()).await.expect("an update");
    ended(&api, 2).await;
    let error = api.integrations().update_integration(update).await.expect_err("an old etag");
    assert_eq!(error.code(), tonic::Code::Aborted);
}

#[tokio::test]
async fn a_sync_on_demand_joins_the_one_that_runs() {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let slow = Fault::new(Effect::Delay(Duration::from_millis(500)));
    cloud.sim.world().faults.push(slow.on("organizations:ListAccounts"));
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let created = api.create(settings_for(&cloud)).await.expect("an integration");
    let request = StartSyncRequest { integration: "prod".to_owned(), ..Default::default() };
    let started = api.syncs().start_sync(request).await.expect("a sync").into_inner();
    assert!(started.joined);
    assert_eq!(started.sync.expect("a sync").id, created.sync_id);
    api.watch(&created.sync_id).await;
    assert_eq!(syncs(&api).await.len(), 1);
}
