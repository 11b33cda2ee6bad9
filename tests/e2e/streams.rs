//! What ends a stream, and what it can bear. Against `aws-sim`.

use std::collections::BTreeMap;

use apono_connector_proto::v1::{
    CreateTokenRequest, ListResourcesRequest, RevokeTokenRequest, Role, StartSyncRequest,
    WatchResourcesRequest, WatchResourcesResponse, WatchSyncRequest,
};
use aws_sim::{Effect, Fault, text::Text};
use tonic::{Code, Request, Status, Streaming};

use crate::harness::{Api, Cloud, Daemon, Database, bucket, settings_for};

struct Scene {
    cloud: Cloud,
    _database: Database,
    daemon: Daemon,
    api: Api,
}

async fn scene(buckets: usize, tags: &BTreeMap<Text, Text>) -> Scene {
    let cloud = Cloud::empty("aws").await;
    cloud.account("222222222222", &cloud.root, "payments");
    for at in 0..buckets {
        let mut made = bucket(&format!("bucket-{at}"), "eu-west-1", &[]);
        made.tags.clone_from(tags);
        cloud.sim.world().account("222222222222").buckets.push(made);
    }
    cloud.sim.world().pages_as_asked = true;
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    Scene { cloud, _database: database, daemon, api }
}

fn watch() -> WatchResourcesRequest {
    WatchResourcesRequest { integration: "prod".to_owned(), ..Default::default() }
}

async fn follow(api: &Api) -> Result<Streaming<WatchResourcesResponse>, Status> {
    api.inventory().watch_resources(watch()).await.map(tonic::Response::into_inner)
}

fn authorized<T>(secret: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("Bearer {secret}").parse().expect("a header");
    request.metadata_mut().insert("authorization", header);
    request
}

/// How a stream ends.
async fn end<T>(mut stream: Streaming<T>) -> Code {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let scene = scene(1, &BTreeMap::new()).await;
    let request = CreateTokenRequest {
        name: "leaked".to_owned(),
        role: Role::Operator.into(),
        ..Default::default()
    };
    let made = scene.api.operations().create_token(request).await.expect("a token").into_inner();
    let remote = Api::remote(scene.daemon.grpc).await;
    let mut changes = remote
        .inventory()
        .watch_resources(authorized(&made.secret, watch()))
        .await
        .expect("a stream")
        .into_inner();
    changes.message().await.expect("a message").expect("a snapshot");

    // A sync that does not end, so that its stream is open too.
    scene.cloud.sim.world().faults.push(Fault::new(Effect::Hang).on("ec2:DescribeInstances"));
    let start = StartSyncRequest { integration: "prod".to_owned(), ..Default::default() };
    let started = scene.api.syncs().start_sync(start).await.expect("a sync").into_inner();
    let request =
        WatchSyncRequest { sync_id: started.sync.expect("a sync").id, ..Default::default() };
    let request = authorized(&made.secret, request);
    let mut progress = remote.syncs().watch_sync(request).await.expect("a stream").into_inner();
    progress.message().await.expect("a message").expect("a sync");

    let id = made.token.expect("a token").id;
    let request = RevokeTokenRequest { token_id: id, ..Default::default() };
    scene.api.operations().revoke_token(request).await.expect("an end");
    assert_eq!(end(changes).await, Code::Unauthenticated);
    assert_eq!(end(progress).await, Code::Unauthenticated);
}

#[tokio::test]
async fn there_is_room_for_so_many_followers_and_again_when_one_goes() {
    let scene = scene(1, &BTreeMap::new()).await;
    let mut streams = Vec::new();
    for _ in 0..connector::api::FOLLOWERS_MAX {
        streams.push(follow(&scene.api).await.expect("a stream"));
    }
    let refused = follow(&scene.api).await.expect_err("a refusal");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    streams.pop();
    crate::harness::wait_for("a free place", || async { follow(&scene.api).await.ok() }).await;
}

#[tokio::test]
async fn resources_with_all_the_tags_that_aws_allows_fit_into_messages() {
    // 50 tags, keys of 128 and values of 256 characters, of 3 bytes each.
    let tags: BTreeMap<Text, Text> = (0..50)
        .map(|at| {
            (Text::from(format!("{at:02}{}", "鍵".repeat(126))), Text::from("値".repeat(256)))
        })
        .collect();
    let scene = scene(100, &tags).await;
    let mut stream = follow(&scene.api).await.expect("a stream");
    let mut told = 0;
    loop {
        let message = stream.message().await.expect("a message").expect("more");
        told += message.resources.iter().filter(|r| r.r#type == "aws-s3-bucket").count();
        if message.current {
            break;
        }
    }
    assert_eq!(told, 100);
    let (mut listed, mut page_token) = (0, String::new());
    loop {
        let request = ListResourcesRequest {
            r#type: "aws-s3-bucket".to_owned(),
            page_size: 500,
            page_token,
            ..Default::default()
        };
        let page =
            scene.api.inventory().list_resources(request).await.expect("a page").into_inner();
        listed += page.resources.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, 100);
}
