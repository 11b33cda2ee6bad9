//! What a resource was. Against `aws-sim`.

use std::time::Duration;

use apono_connector_proto::v1::{ListResourceVersionsRequest, ResourceVersion};
use connector::store::history;
use tonic::Code;

use crate::harness::{Api, Cloud, Daemon, Database, bucket, settings_for};

const ACCOUNT: &str = "222222222222";
const ARN: &str = "arn:aws:s3:::ledger";

async fn versions(api: &Api, page_size: i32) -> Vec<ResourceVersion> {
    let mut request = ListResourceVersionsRequest {
        integration: "prod".to_owned(),
        arn: ARN.to_owned(),
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

    // Nothing new makes no version.
    api.sync("prod").await;
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
    let text = |value: &Option<prost_types::Value>| {
        value.as_ref().and_then(|value| match &value.kind {
            Some(prost_types::value::Kind::StringValue(text)) => Some(text.clone()),
            _ => None,
        })
    };
    assert_eq!(text(&change.before).as_deref(), Some("red"));
    assert_eq!(text(&change.after).as_deref(), Some("blue"));
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
