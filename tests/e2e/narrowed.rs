//! Fewer regions are read than before. Against `aws-sim`.

use apono_connector_proto::v1::{IntegrationSettings, SyncState, UpdateIntegrationRequest};

use crate::harness::{Cloud, Daemon, Database, bucket, instance, settings_for};

#[tokio::test]
async fn what_lies_in_a_region_that_is_no_longer_wanted_stays() {
    let cloud = Cloud::empty("aws").await;
    cloud.account("222222222222", &cloud.root, "payments");
    {
        let mut world = cloud.sim.world();
        let account = world.account("222222222222");
        for region in ["eu-west-1", "us-east-1"] {
            account.buckets.push(bucket(&format!("logs-{region}"), region, &[]));
            let made = instance(&format!("i-0000000000{}", &region[..2]), &[]);
            account.instances.insert(region.to_owned(), vec![made]);
        }
    }
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    let before = api.lines().await;
    let update = UpdateIntegrationRequest {
        integration: "prod".to_owned(),
        etag: api.get("prod").await.etag,
        settings: Some(IntegrationSettings {
            regions: vec!["eu-west-1".to_owned()],
            ..settings_for(&cloud)
        }),
        ..Default::default()
    };
    api.integrations().update_integration(update).await.expect("an update");
    let sync = api.sync("prod").await;
    assert_eq!((sync.state(), sync.resources_gone), (SyncState::Succeeded, 0));
    assert_eq!(api.lines().await, before);

    // What is really gone there goes: the list of buckets is whole all the same.
    cloud.sim.world().account("222222222222").buckets.pop();
    let sync = api.sync("prod").await;
    assert_eq!(sync.resources_gone, 1);
}
