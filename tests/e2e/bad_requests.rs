//! Bad requests are refused with a stable reason and a remedy, and nothing is stored.
//! Against `aws-sim`.

use apono_connector_proto::v1::{
    CreateTokenRequest, DeleteIntegrationRequest, GetIntegrationRequest, GetResourceRequest,
    GetSyncRequest, IntegrationSettings, ListIntegrationsRequest, ListResourcesRequest,
    PreviewCustomAccessDetailsRequest, RevokeTokenRequest, Role, StartSyncRequest,
    SummarizeResourcesRequest, UpdateIntegrationRequest,
};
use prost_types::FieldMask;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Api, Cloud, Daemon, Database, settings_for};

/// Holds that a request was refused with this code, reason and message.
fn refused<T>(result: Result<Response<T>, Status>, code: Code, reason: &str, message: &str) {
    let Err(status) = result else { panic!("it was taken: {message}") };
    let details = status.get_error_details();
    let found = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    assert_eq!((status.code(), found.as_str(), status.message()), (code, reason, message));
}

fn bad<T>(result: Result<Response<T>, Status>, message: &str) {
    refused(result, Code::InvalidArgument, "BAD_REQUEST", message);
}

fn missing<T>(result: Result<Response<T>, Status>, what: &str) {
    let message = format!("there is no {what}; list what there is");
    refused(result, Code::NotFound, "NOT_FOUND", &message);
}

#[tokio::test]
async fn bad_requests_are_refused_with_a_remedy() {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    let before = database.row_counts().await;
    bad_inventory_requests(&api).await;
    bad_integration_requests(&api, &cloud).await;
    bad_updates(&api).await;
    bad_token_requests(&api).await;
    assert_eq!(database.row_counts().await, before);
}

async fn bad_inventory_requests(api: &Api) {
    let list = async |request| api.inventory().list_resources(request).await;
    let none = ListResourcesRequest::default;
    bad(
        list(ListResourcesRequest { page_size: -1, ..none() }).await,
        "page_size is -1; use 1 to 500, or 0 for 100",
    );
    bad(
        list(ListResourcesRequest { page_token: "zz".into(), ..none() }).await,
        "page_token is not a token of this list; use next_page_token of the page before",
    );
    bad(
        list(ListResourcesRequest { r#type: "ec2".into(), ..none() }).await,
        "type \"ec2\" is not a resource type; choose from aws-account, aws-dynamodb-table, aws-ec2-instance, aws-eks-cluster, aws-iam-group, aws-iam-policy, aws-iam-role, aws-iam-user, aws-identity-center-group, aws-identity-center-permission-set, aws-identity-center-user, aws-lambda-function, aws-rds-cluster, aws-rds-instance, aws-s3-bucket, aws-secretsmanager-secret, aws-sns-topic, aws-sqs-queue",
    );
    bad(
        list(ListResourcesRequest { filter: "colour = red".into(), ..none() }).await,
        "filter knows no field \"colour\"; use type, account, account.name, ou, ou.name, region, tag.KEY, owner, owner.by, name, arn, text, state",
    );
    let request = SummarizeResourcesRequest {
        integration: "prod".into(),
        filter: "account = payments".into(),
        ..Default::default()
    };
    bad(
        api.inventory().summarize_resources(request).await,
        "filter cannot look for account \"payments\"; use an account id: twelve digits, such as 123456789012",
    );
    bad(
        list(ListResourcesRequest { account_id: "12".into(), ..none() }).await,
        "account_id \"12\" is not an account id: twelve digits, such as 123456789012",
    );
    bad(
        list(ListResourcesRequest { region: "x".into(), ..none() }).await,
        "region \"x\" is not a region name, such as eu-west-1",
    );
    missing(
        list(ListResourcesRequest { integration: "nope".into(), ..none() }).await,
        "integration \"nope\"",
    );
    missing(
        list(ListResourcesRequest { connector_id: "nope".into(), ..none() }).await,
        "connector \"nope\"",
    );
    let request = GetResourceRequest {
        integration: "prod".into(),
        arn: "arn:x".into(),
        ..Default::default()
    };
    missing(api.inventory().get_resource(request).await, "resource \"arn:x\"");
    let request = GetSyncRequest { sync_id: "1".into(), ..Default::default() };
    bad(
        api.syncs().get_sync(request).await,
        "sync_id \"1\" is not a UUID; use the id that StartSync or ListSyncs told",
    );
}

async fn bad_integration_requests(api: &Api, cloud: &Cloud) {
    bad(
        api.integrations().get_integration(GetIntegrationRequest::default()).await,
        "integration is required; use its id or name",
    );
    let request = ListIntegrationsRequest { page_size: 9999, ..Default::default() };
    bad(
        api.integrations().list_integrations(request).await,
        "page_size is 9999; use 1 to 500, or 0 for 100",
    );
    refused(
        api.create(settings_for(cloud)).await.map(Response::new),
        Code::AlreadyExists,
        "NAME_TAKEN",
        "settings.name \"prod\" is taken by another integration; choose another name",
    );
    let again = IntegrationSettings { name: "other".into(), ..settings_for(cloud) };
    refused(
        api.create(again).await.map(Response::new),
        Code::AlreadyExists,
        "ORGANIZATION_CONNECTED",
        "this organization is connected already; an organization is connected once per daemon",
    );
    let text = "😀".repeat(401);
    let request = PreviewCustomAccessDetailsRequest { custom_access_details: text };
    bad(
        api.integrations().preview_custom_access_details(request).await,
        "custom_access_details has 401 characters; shorten it to 400",
    );
    let request = StartSyncRequest { integration: "absent".into(), ..Default::default() };
    missing(api.syncs().start_sync(request).await, "integration \"absent\"");
}

async fn bad_updates(api: &Api) {
    const OLD: &str =
        "the integration has changed since its etag was read; read it again and repeat the change";
    let update = async |etag: &str, path: &str| {
        let request = UpdateIntegrationRequest {
            integration: "prod".into(),
            etag: etag.into(),
            update_mask: Some(FieldMask { paths: vec![path.into()] }),
            settings: Some(IntegrationSettings::default()),
            ..Default::default()
        };
        api.integrations().update_integration(request).await
    };
    bad(update("", "name").await, "etag is required; read the integration first");
    bad(update("x", "name").await, "etag \"x\" is not an etag; use the one that was read");
    refused(update("77", "name").await, Code::Aborted, "ETAG_MISMATCH", OLD);
    let etag = api.get("prod").await.etag;
    bad(
        update(&etag, "colour").await,
        "update_mask.paths[0] \"colour\" is not a field of settings; use whole fields, such as excluded_ou_ids",
    );
    let request = DeleteIntegrationRequest {
        integration: "prod".into(),
        etag: "77".into(),
        ..Default::default()
    };
    let deleted = api.integrations().delete_integration(request).await;
    refused(deleted, Code::Aborted, "ETAG_MISMATCH", OLD);
}

async fn bad_token_requests(api: &Api) {
    let create = async |name: &str, role: Role, end: Option<i64>| {
        let request = CreateTokenRequest {
            name: name.into(),
            role: role.into(),
            expire_time: end.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
            ..Default::default()
        };
        api.operations().create_token(request).await
    };
    bad(
        create("x", Role::Unspecified, None).await,
        "role is required; choose viewer, operator, granter or admin",
    );
    bad(
        create("", Role::Viewer, None).await,
        "name has 0 characters; say what the token is for in 1 to 64, without control characters",
    );
    bad(
        create("x", Role::Viewer, Some(1)).await,
        "expire_time is in the past; choose a later time",
    );
    bad(
        create("x", Role::Viewer, Some(i64::MAX)).await,
        "expire_time is not a time; use RFC 3339, UTC",
    );
    let request = RevokeTokenRequest { token_id: "x".into(), ..Default::default() };
    bad(
        api.operations().revoke_token(request).await,
        "token_id \"x\" is not a UUID; use the id that ListTokens told",
    );
}
