//! What a resource was. Against `aws-sim`.

use std::time::Duration;

use apono_connector_proto::v1::{
    IntegrationSettings, ListResourceVersionsRequest, ResourceVersion,
};
use aws_sim::{Effect, Fault, Kind, seed};
use connector::store::history;
use prost_types::value::Kind as ValueKind;
use rand::{SeedableRng as _, rngs::StdRng};
use tonic::Code;

use crate::harness::{Api, Cloud, Daemon, Database, bucket, settings_for};

const ACCOUNT: &str = "222222222222";
const ARN: &str = "arn:aws:s3:::ledger";

async fn versions(api: &Api, page_size: i32) -> Vec<ResourceVersion> {
    versions_of(api, ARN, page_size).await
}

async fn versions_of(api: &Api, arn: &str, page_size: i32) -> Vec<ResourceVersion> {
    let mut request = ListResourceVersionsRequest {
        integration: "prod".to_owned(),
        arn: arn.to_owned(),
        page_size,
        ..Default::default()
    };
    let mut versions = Vec::new();
    loop {
        let page = api.inventory().list_resource_versions(request.clone()).await;
        let page = page.expect("a page").into_inner();
        versions.extend(page.versions);
        if page.next_page_token.is_empty() {
            return versions;
        }
        request.page_token = page.next_page_token;
    }
}

fn text(value: &prost_types::Value) -> Option<&str> {
    let Some(ValueKind::StringValue(text)) = &value.kind else { return None };
    Some(text)
}

/// A version as a line: how it came about, what changed with it, whether it went.
fn line(version: &ResourceVersion) -> String {
    let fields: Vec<&str> = version.changes.iter().map(|change| change.field.as_str()).collect();
    let returned = if version.returned { "returned " } else { "" };
    let gone = if version.gone { " gone" } else { "" };
    format!("{returned}[{}]{gone}", fields.join(" "))
}

#[tokio::test]
async fn every_change_is_told_and_going_and_coming_back() {
    let cloud = Cloud::empty("aws").await;
    cloud.account(ACCOUNT, &cloud.root, "payments");
    let set = |pairs: &[(&str, &str)]| {
        let ledger = bucket("ledger", "eu-west-1", pairs);
        cloud.sim.world().account(ACCOUNT).buckets = vec![ledger];
    };
    set(&[("team", "red")]);
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    assert_eq!(versions(&api, 0).await.iter().map(line).collect::<Vec<_>>(), ["[]"]);

    // Nothing new makes no version, nor does what cannot be read, and is read again.
    let first = versions(&api, 0).await.remove(0);
    let unread = Fault::new(Effect::DenyByScp).on("s3:GetBucketTagging");
    cloud.sim.world().faults.push(unread);
    assert_eq!(api.sync("prod").await.resources_written, 1);
    cloud.sim.world().faults.clear();
    assert_eq!(api.sync("prod").await.resources_written, 1);
    assert_eq!(versions(&api, 0).await, [first]);

    set(&[("team", "blue"), ("env", "prod")]);
    api.sync("prod").await;
    cloud.sim.world().account(ACCOUNT).buckets.clear();
    api.sync("prod").await;
    set(&[("team", "blue"), ("env", "prod")]);
    api.sync("prod").await;
    set(&[("team", "blue")]);
    api.sync("prod").await;

    let told = versions(&api, 0).await;
    assert_eq!(
        told.iter().map(line).collect::<Vec<_>>(),
        ["[tags.env]", "returned []", "[tags.env tags.team] gone", "[]"]
    );
    assert_eq!(versions(&api, 1).await, told, "page by page");
    let change = &told[2].changes[1];
    assert_eq!(change.before.as_ref().and_then(text), Some("red"));
    assert_eq!(change.after.as_ref().and_then(text), Some("blue"));
    assert_eq!(told[0].changes[0].after, None, "a tag was taken away");
    assert_eq!(told[0].end_time, None);
    assert_eq!(told[3].end_time, told[2].start_time);
    assert_ne!(told[2].end_time, told[1].start_time, "it was away in between");
    assert_eq!(told[3].resource.as_ref().map(|was| was.tags["team"].as_str()), Some("red"));

    // What another has is not told, nor what was never there.
    let request = ListResourceVersionsRequest {
        integration: "prod".to_owned(),
        arn: "arn:aws:s3:::other".to_owned(),
        ..Default::default()
    };
    let unknown = api.inventory().list_resource_versions(request).await.expect_err("nothing");
    assert_eq!(unknown.code(), Code::NotFound);

    // What is old is forgotten; what it is now stays.
    database.move_time("91 days").await;
    let mut conn = database.conn().await;
    let kept = Duration::from_hours(90 * 24);
    assert_eq!(history::purge(&mut conn, kept, 2).await.expect("a purge"), 2);
    assert_eq!(history::purge(&mut conn, kept, 2).await.expect("a purge"), 1);
    assert_eq!(versions(&api, 0).await.iter().map(line).collect::<Vec<_>>(), ["[]"]);
}

#[tokio::test]
async fn mere_use_makes_no_version() {
    let cloud = Cloud::empty("aws").await;
    cloud.account(ACCOUNT, &cloud.root, "payments");
    let used = |day: &str| {
        let mut chance = StdRng::seed_from_u64(1);
        let mut world = cloud.sim.world();
        world.account(ACCOUNT).things.clear();
        seed::stock(&mut world, ACCOUNT, cloud.region(), 1, &mut chance);
        let mut things = world.account(ACCOUNT).things.iter_mut();
        let role = things.find(|thing| thing.kind == Kind::IamRole).expect("a role");
        role.fields["RoleLastUsed"]["LastUsedDate"] = format!("{day}T05:06:07Z").into();
    };
    used("2026-03-04");
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let settings = IntegrationSettings {
        resource_types: vec!["aws-iam-role".to_owned()],
        ..settings_for(&cloud)
    };
    api.create_and_sync(settings).await;
    let roles = api.resources().await;
    let role = roles.iter().find(|role| role.name.starts_with("resize")).expect("a role");
    let first = versions_of(&api, &role.arn, 0).await;
    used("2026-03-05");
    assert_eq!(api.sync("prod").await.resources_written, 1);
    let told = versions_of(&api, &role.arn, 0).await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].revision, told[0].start_time), (first[0].revision, first[0].start_time));
    let now = told[0].resource.as_ref().expect("a resource").attributes.as_ref();
    let day = now.and_then(|fields| fields.fields.get("last_used")).and_then(text);
    assert_eq!(day, Some("2026-03-05"));
}
