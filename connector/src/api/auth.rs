//! Who calls, and may they.
//!
//! A caller comes with a bearer token, which is bound to one connector and has a role,
//! or through the local Unix socket, where the kernel tells who it is: root and the
//! daemon's own user act as admin of all connectors. Every method stands in one table
//! with the role that it needs; one that does not is refused.

use axum::{
    extract::{Request, State},
    http::request::Parts,
    middleware::Next,
    response::Response,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::{Status, transport::server::UdsConnectInfo};
use tracing::{Instrument as _, info_span};
use uuid::Uuid;

use super::{Api, status};
use crate::{
    model::{
        ids::{ConnectorId, TokenId},
        role::Role,
    },
    store::{self, PgConnection, tokens::Token},
};

/// What a token's text begins with, so that scanners for leaked secrets find it.
const TOKEN_PREFIX: &str = "apono_";
/// Random bytes of a token.
pub const SECRET_BYTES: usize = 32;

/// The role that each method needs. Health is open; reflection needs any token.
pub const METHODS: &[(&str, Role)] = &[
    ("/apono.connector.v1.AccessService/ValidateGrant", Role::Granter),
    ("/apono.connector.v1.AccessService/Grant", Role::Granter),
    ("/apono.connector.v1.AccessService/Extend", Role::Granter),
    ("/apono.connector.v1.AccessService/Revoke", Role::Granter),
    ("/apono.connector.v1.AccessService/RevokeAll", Role::Granter),
    ("/apono.connector.v1.AccessService/Forget", Role::Admin),
    ("/apono.connector.v1.AccessService/GetGrant", Role::Viewer),
    ("/apono.connector.v1.AccessService/ListGrants", Role::Viewer),
    ("/apono.connector.v1.AccessService/WatchGrant", Role::Viewer),
    ("/apono.connector.v1.AccessService/ListActs", Role::Viewer),
    ("/apono.connector.v1.AccessService/GetRecovery", Role::Viewer),
    ("/apono.connector.v1.AccessService/EndRecovery", Role::Admin),
    ("/apono.connector.v1.AuditService/ErasePrincipal", Role::Admin),
    ("/apono.connector.v1.AuditService/GetAuditSummary", Role::Viewer),
    ("/apono.connector.v1.AuditService/ListAuditEvents", Role::Viewer),
    ("/apono.connector.v1.AuditService/VerifyActs", Role::Viewer),
    ("/apono.connector.v1.CatalogService/ListResourceTypes", Role::Viewer),
    ("/apono.connector.v1.IntegrationService/CreateIntegration", Role::Admin),
    ("/apono.connector.v1.IntegrationService/GetIntegration", Role::Viewer),
    ("/apono.connector.v1.IntegrationService/ListIntegrations", Role::Viewer),
    ("/apono.connector.v1.IntegrationService/UpdateIntegration", Role::Admin),
    ("/apono.connector.v1.IntegrationService/EnableIntegration", Role::Operator),
    ("/apono.connector.v1.IntegrationService/DisableIntegration", Role::Operator),
    ("/apono.connector.v1.IntegrationService/DeleteIntegration", Role::Admin),
    ("/apono.connector.v1.IntegrationService/ValidateIntegration", Role::Operator),
    ("/apono.connector.v1.IntegrationService/PreviewCustomAccessDetails", Role::Viewer),
    ("/apono.connector.v1.SyncService/StartSync", Role::Operator),
    ("/apono.connector.v1.SyncService/GetSync", Role::Viewer),
    ("/apono.connector.v1.SyncService/ListSyncs", Role::Viewer),
    ("/apono.connector.v1.SyncService/WatchSync", Role::Viewer),
    ("/apono.connector.v1.SyncService/CancelSync", Role::Operator),
    ("/apono.connector.v1.SyncService/ExplainSync", Role::Viewer),
    ("/apono.connector.v1.InventoryService/GetTree", Role::Viewer),
    ("/apono.connector.v1.InventoryService/ListAccounts", Role::Viewer),
    ("/apono.connector.v1.InventoryService/ListResources", Role::Viewer),
    ("/apono.connector.v1.InventoryService/GetResource", Role::Viewer),
    ("/apono.connector.v1.InventoryService/WatchResources", Role::Viewer),
    ("/apono.connector.v1.InventoryService/SummarizeCoverage", Role::Viewer),
    ("/apono.connector.v1.InventoryService/SummarizeResources", Role::Viewer),
    ("/apono.connector.v1.InventoryService/ListCoverage", Role::Viewer),
    ("/apono.connector.v1.InventoryService/ListResourceVersions", Role::Viewer),
    ("/apono.connector.v1.InventoryService/ReleaseRemovals", Role::Operator),
    ("/apono.connector.v1.OperationsService/GetIdentity", Role::Viewer),
    ("/apono.connector.v1.OperationsService/GetVersion", Role::Viewer),
    ("/apono.connector.v1.OperationsService/ListTasks", Role::Operator),
    ("/apono.connector.v1.OperationsService/ListProblems", Role::Viewer),
    ("/apono.connector.v1.OperationsService/MuteProblem", Role::Operator),
    ("/apono.connector.v1.OperationsService/UnmuteProblem", Role::Operator),
    ("/apono.connector.v1.OperationsService/CreateToken", Role::Admin),
    ("/apono.connector.v1.OperationsService/ListTokens", Role::Admin),
    ("/apono.connector.v1.OperationsService/RevokeToken", Role::Admin),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Role::Viewer),
];

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The connectors that it may speak for: one, or all for the local socket.
    pub connectors: Vec<ConnectorId>,
    /// What it may do.
    pub role: Role,
    /// The token that it came with; none: the local socket.
    pub token: Option<TokenId>,
}

impl Caller {
    /// Whether a stream that was opened may go on: a token may have ended since.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` when it has.
    pub async fn go_on(&self, conn: &mut PgConnection) -> Result<(), Status> {
        let Some(token) = self.token else { return Ok(()) };
        match store::tokens::find_live(conn, token).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(status::unauthenticated("TOKEN_INVALID")),
            Err(error) => Err(status::store(&error)),
        }
    }

    /// Who it is, in acts.
    #[must_use]
    pub fn actor(&self) -> String {
        self.token.map_or_else(|| "local".to_owned(), |token| format!("token {token}"))
    }

    /// The connector that a request is about: the one that it names, else the only
    /// one. A connector of somebody else is as unknown as one that does not exist.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND`, or `INVALID_ARGUMENT` when none is named and there are several.
    pub fn connector(&self, named: &str) -> Result<ConnectorId, Status> {
        if let Some(own) = self.connectors.iter().find(|own| own.as_str() == named) {
            return Ok(own.clone());
        }
        match (named, self.connectors.as_slice()) {
            ("", [only]) => Ok(only.clone()),
            ("", _) => {
                let names: Vec<&str> = self.connectors.iter().map(ConnectorId::as_str).collect();
                Err(status::bad_request(
                    "connector_id",
                    format!(
                        "is required, because there are several; use one of {}",
                        names.join(", ")
                    ),
                ))
            }
            _ => Err(status::not_found("connector", named)),
        }
    }
}

/// The caller of a request that passed [`authenticate`].
///
/// # Errors
///
/// `UNAUTHENTICATED` when it did not pass there.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| status::unauthenticated("NO_CALLER"))
}

/// Finds out who calls; passes on those who may.
pub async fn authenticate(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/grpc.health.v1.Health/") {
        return next.run(request).await;
    }
    let needed = METHODS.iter().find(|(method, _)| *method == path).map(|(_, role)| *role);
    let (mut parts, body) = request.into_parts();
    let caller = match find_caller(&api, &parts).await {
        Ok(caller) => caller,
        Err(status) => return status.into_http(),
    };
    match needed {
        None => status::unknown_method(parts.uri.path()).into_http(),
        Some(needed) if !caller.role.includes(needed) => {
            status::role_denied(caller.role, needed).into_http()
        }
        Some(_) => {
            let span = info_span!("rpc", otel.name = parts.uri.path(), caller.role = %caller.role);
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).instrument(span).await
        }
    }
}

async fn find_caller(api: &Api, request: &Parts) -> Result<Caller, Status> {
    if let Some(peer) = request.extensions.get::<UdsConnectInfo>() {
        let ours = rustix::process::geteuid().as_raw();
        let theirs = peer.peer_cred.map(|peer| peer.uid());
        if theirs.is_some_and(|uid| uid == 0 || uid == ours) {
            return Ok(Caller {
                connectors: api.connectors.to_vec(),
                role: Role::Admin,
                token: None,
            });
        }
        return Err(status::unauthenticated("LOCAL_USER_DENIED"));
    }
    let header = request.headers.get("authorization").and_then(|value| value.to_str().ok());
    let Some(presented) = header.and_then(|value| value.strip_prefix("Bearer ")) else {
        return Err(status::unauthenticated("TOKEN_MISSING"));
    };
    let (id, secret) = split(presented).ok_or_else(|| status::unauthenticated("TOKEN_INVALID"))?;
    let token = live_token(api, id, &secret).await.map_err(|error| status::store(&error))?;
    // A connector that is no longer among the settings is as good as none.
    let token = token
        .filter(|token| api.connectors.contains(&token.connector))
        .ok_or_else(|| status::unauthenticated("TOKEN_INVALID"))?;
    Ok(Caller { connectors: vec![token.connector], role: token.role, token: Some(id) })
}

/// The token of this id, if its secret is the presented one.
async fn live_token(api: &Api, id: TokenId, secret: &[u8]) -> store::Result<Option<Token>> {
    let mut conn = api.db.conn().await?;
    let Some(token) = store::tokens::find_live(&mut conn, id).await? else {
        return Ok(None);
    };
    if !bool::from(token.secret_sha256.ct_eq(&hash(secret))) {
        return Ok(None);
    }
    store::tokens::touch(&mut conn, &token.connector, id).await?;
    Ok(Some(token))
}

/// The text of a token: prefix, id and secret.
#[must_use]
pub fn token_text(id: TokenId, secret: &[u8]) -> String {
    format!("{TOKEN_PREFIX}{}_{}", id.0.simple(), hex::encode(secret))
}

/// What is stored of a secret.
#[must_use]
pub fn hash(secret: &[u8]) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}

fn split(text: &str) -> Option<(TokenId, Vec<u8>)> {
    let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    let id = Uuid::try_parse(id).ok()?;
    Some((TokenId(id), hex::decode(secret).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_text_is_read_back() {
        let id = TokenId(Uuid::from_u128(7));
        let text = token_text(id, &[1, 2, 3]);
        assert_eq!(split(&text), Some((id, vec![1, 2, 3])));
        assert_eq!(split("apono_x_y"), None);
        assert_eq!(split("Bearer x"), None);
    }
}
