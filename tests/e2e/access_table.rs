//! Who may call what: every method that reflection shows, by every kind of caller.
//! Against `aws-sim`.

use std::collections::BTreeMap;

use apono_connector_proto::v1::{CreateTokenRequest, Role};
use http::uri::PathAndQuery;
use prost::Message as _;
use tonic::{Code, Request, client::Grpc, metadata::MetadataValue};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::harness::{Api, Cloud, Daemon, Database, Options};

/// Method → the roles that may call it, admin being one of all.
const TABLE: &[(&str, &[&str])] = &[
    ("AccessService/EndRecovery", &["admin"]),
    ("AccessService/Extend", &["granter", "admin"]),
    ("AccessService/Forget", &["admin"]),
    ("AccessService/GetGrant", ALL),
    ("AccessService/GetRecovery", ALL),
    ("AccessService/Grant", &["granter", "admin"]),
    ("AccessService/ListActs", ALL),
    ("AccessService/ListGrants", ALL),
    ("AccessService/Revoke", &["granter", "admin"]),
    ("AccessService/RevokeAll", &["granter", "admin"]),
    ("AccessService/ValidateGrant", &["granter", "admin"]),
    ("AccessService/WatchGrant", ALL),
    ("AuditService/ErasePrincipal", &["admin"]),
    ("AuditService/GetAuditSummary", ALL),
    ("AuditService/ListAuditEvents", ALL),
    ("AuditService/VerifyActs", ALL),
    ("CatalogService/ListResourceTypes", ALL),
    ("IntegrationService/CreateIntegration", &["admin"]),
    ("IntegrationService/DeleteIntegration", &["admin"]),
    ("IntegrationService/DisableIntegration", &["operator", "admin"]),
    ("IntegrationService/EnableIntegration", &["operator", "admin"]),
    ("IntegrationService/GetIntegration", ALL),
    ("IntegrationService/ListIntegrations", ALL),
    ("IntegrationService/PreviewCustomAccessDetails", ALL),
    ("IntegrationService/UpdateIntegration", &["admin"]),
    ("IntegrationService/ValidateIntegration", &["operator", "admin"]),
    ("InventoryService/GetResource", ALL),
    ("InventoryService/GetTree", ALL),
    ("InventoryService/ListAccounts", ALL),
    ("InventoryService/ListCoverage", ALL),
    ("InventoryService/ListResourceVersions", ALL),
    ("InventoryService/ListResources", ALL),
    ("InventoryService/ReleaseRemovals", &["operator", "admin"]),
    ("InventoryService/SummarizeCoverage", ALL),
    ("InventoryService/SummarizeResources", ALL),
    ("InventoryService/WatchResources", ALL),
    ("OperationsService/CreateToken", &["admin"]),
    ("OperationsService/GetIdentity", ALL),
    ("OperationsService/GetVersion", ALL),
    ("OperationsService/ListProblems", ALL),
    ("OperationsService/ListTasks", &["operator", "admin"]),
    ("OperationsService/ListTokens", &["admin"]),
    ("OperationsService/MuteProblem", &["operator", "admin"]),
    ("OperationsService/RevokeToken", &["admin"]),
    ("OperationsService/UnmuteProblem", &["operator", "admin"]),
    ("SyncService/CancelSync", &["operator", "admin"]),
    ("SyncService/ExplainSync", ALL),
    ("SyncService/GetSync", ALL),
    ("SyncService/ListSyncs", ALL),
    ("SyncService/StartSync", &["operator", "admin"]),
    ("SyncService/WatchSync", ALL),
];
const ALL: &[&str] = &["viewer", "operator", "granter", "admin"];
const PACKAGE: &str = "apono.connector.v1.";

#[tokio::test]
async fn every_method_answers_every_caller_as_the_table_says() {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let database = Database::create().await;
    let options = Options {
        connectors: vec!["other-tenant".to_owned()],
        ..Options::default().set("DATABASE_URL", &database.url)
    };
    let daemon = Daemon::start_with(&cloud, options);
    let local = daemon.api().await;
    let mut callers = BTreeMap::from([("none", None), ("wrong", Some("apono_x_y".to_owned()))]);
    for (name, role) in [
        ("viewer", Role::Viewer),
        ("operator", Role::Operator),
        ("granter", Role::Granter),
        ("admin", Role::Admin),
    ] {
        callers.insert(name, Some(token(&local, &cloud.connector_id, name, role, None).await));
    }
    let end = chrono::DateTime::from_timestamp(4_000_000_000, 0).expect("a time");
    // The right id, with a secret that is wrong in its last digit.
    let mut forged = callers["admin"].clone().expect("a token");
    let last = if forged.pop() == Some('0') { '1' } else { '0' };
    forged.push(last);
    callers.insert("forged", Some(forged));
    let expired =
        token(&local, &cloud.connector_id, "expired", Role::Admin, Some(end.timestamp())).await;
    callers.insert("expired", Some(expired));
    callers.insert("other", Some(token(&local, "other-tenant", "other", Role::Admin, None).await));
    database
        .execute("UPDATE connector.tokens SET expires_at = connector.now() - interval '1 second' WHERE name = 'expired'")
        .await;

    let remote = Api::remote(daemon.grpc).await;
    let admin = callers["admin"].clone().expect("a token");
    let methods = methods(&remote, &admin).await;
    let listed: Vec<&str> = TABLE.iter().map(|(method, _)| *method).collect();
    assert_eq!(methods, listed, "the table lists every method there is");

    let before = database.row_counts().await;
    let mut wrong = Vec::new();
    for (method, roles) in TABLE {
        for (caller, token) in &callers {
            let answered = call(&remote, method, token.as_deref(), &cloud.connector_id).await;
            let expected = match *caller {
                "none" | "wrong" | "forged" | "expired" => answered == Code::Unauthenticated,
                // Another tenant learns nothing, whatever its role.
                "other" if is_global(method) => answered == Code::Ok,
                "other" => answered == Code::NotFound,
                role if !roles.contains(&role) => answered == Code::PermissionDenied,
                _ => !matches!(
                    answered,
                    Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented
                ),
            };
            if !expected {
                wrong.push(format!("{method} by {caller}: {answered:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(database.row_counts().await, before, "nothing was stored");
    let health = "/grpc.health.v1.Health/Check";
    assert_eq!(call_path(&remote, health, None, Vec::new()).await, Code::Ok, "health is open");
}

/// What is the same for all tenants.
fn is_global(method: &str) -> bool {
    [
        "CatalogService/ListResourceTypes",
        "IntegrationService/PreviewCustomAccessDetails",
        "OperationsService/GetIdentity",
        "OperationsService/GetVersion",
        "OperationsService/ListTasks",
    ]
    .contains(&method)
}

async fn token(api: &Api, connector: &str, name: &str, role: Role, end: Option<i64>) -> String {
    let request = CreateTokenRequest {
        connector_id: connector.to_owned(),
        name: name.to_owned(),
        role: role.into(),
        expire_time: end.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
    };
    api.operations().create_token(request).await.expect("a token").into_inner().secret
}

/// Calls with a request that names the connector in its first field, as all do.
async fn call(api: &Api, method: &str, token: Option<&str>, connector: &str) -> Code {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Named {
        #[prost(string, tag = "1")]
        connector_id: String,
    }
    let has_connector = !is_global(method);
    let body = if has_connector {
        Named { connector_id: connector.to_owned() }.encode_to_vec()
    } else {
        Vec::new()
    };
    call_path(api, &format!("/{PACKAGE}{method}"), token, body).await
}

async fn call_path(api: &Api, path: &str, token: Option<&str>, body: Vec<u8>) -> Code {
    let mut grpc = Grpc::new(api.channel.clone());
    grpc.ready().await.expect("a connection");
    let mut request = Request::new(Raw(body));
    if let Some(token) = token {
        let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
    let path: PathAndQuery = path.parse().expect("a path");
    let answered = grpc.unary(request, path, RawCodec).await;
    answered.map_or_else(|status| status.code(), |_| Code::Ok)
}

async fn methods(api: &Api, token: &str) -> Vec<String> {
    let mut methods = Vec::new();
    for service in [
        "AccessService",
        "AuditService",
        "CatalogService",
        "IntegrationService",
        "InventoryService",
        "OperationsService",
        "SyncService",
    ] {
        let asked = MessageRequest::FileContainingSymbol(format!("{PACKAGE}{service}"));
        let MessageResponse::FileDescriptorResponse(found) = reflect(api, token, asked).await
        else {
            panic!("reflection tells the file of {service}")
        };
        let file =
            prost_types::FileDescriptorProto::decode(found.file_descriptor_proto[0].as_slice());
        for service in file.expect("a descriptor").service {
            let name = service.name.clone().unwrap_or_default();
            methods.extend(service.method.iter().map(|method| format!("{name}/{}", method.name())));
        }
    }
    let MessageResponse::ListServicesResponse(listed) =
        reflect(api, token, MessageRequest::ListServices(String::new())).await
    else {
        panic!("reflection lists services")
    };
    let ours = listed.service.iter().filter(|service| service.name.starts_with(PACKAGE)).count();
    assert_eq!(ours, 7, "no service is left out");
    methods.sort();
    methods
}

async fn reflect(api: &Api, token: &str, asked: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut request = Request::new(tokio_stream::once(request));
    let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    let mut client = ServerReflectionClient::new(api.channel.clone());
    let mut answers =
        client.server_reflection_info(request).await.expect("reflection").into_inner();
    let answer = answers.message().await.expect("an answer").expect("an answer");
    answer.message_response.expect("an answer")
}

/// Bytes of a message, whatever it is.
struct Raw(Vec<u8>);

#[derive(Clone, Copy)]
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = Raw;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = Raw;
    type Error = tonic::Status;

    fn encode(
        &mut self,
        item: Raw,
        buffer: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), tonic::Status> {
        bytes::BufMut::put_slice(buffer, &item.0);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCodec {
    type Item = ();
    type Error = tonic::Status;

    fn decode(
        &mut self,
        buffer: &mut tonic::codec::DecodeBuf<'_>,
    ) -> Result<Option<()>, tonic::Status> {
        bytes::Buf::advance(buffer, bytes::Buf::remaining(buffer));
        Ok(Some(()))
    }
}
