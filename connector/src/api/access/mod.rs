//! Granting access, and taking it away: wishes are written, the engine makes them true.

use std::collections::HashMap;

use apono_connector_proto::v1::{
    self, EndRecoveryRequest, EndRecoveryResponse, ExtendRequest, ExtendResponse, ForgetRequest,
    ForgetResponse, GetGrantRequest, GetGrantResponse, GetRecoveryRequest, GetRecoveryResponse,
    GrantRequest, GrantResponse, ListActsRequest, ListActsResponse, ListGrantsRequest,
    ListGrantsResponse, RevokeAllRequest, RevokeAllResponse, RevokeRequest, RevokeResponse,
    ValidateGrantRequest, ValidateGrantResponse, WatchGrantRequest, WatchGrantResponse,
    access_service_server::AccessService,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{
    Api,
    auth::{Caller, caller},
    follow::Followed,
    grants,
    integrations::find,
    page::{self, Page},
    status, words,
};
use crate::{
    model::ids::{AccountId, ConnectorId},
    store::{
        self, PgConnection,
        acts::New,
        grants::{Grant, Which},
        units,
        wishes::Whose,
    },
};

mod admission;
mod recovery;
mod validation;

#[tonic::async_trait]
impl AccessService for Api {
    async fn validate_grant(
        &self,
        request: Request<ValidateGrantRequest>,
    ) -> Result<Response<ValidateGrantResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        drop(conn);
        let (_, request) = grants::request(grants::as_if_granted(request), integration.id)?;
        Ok(Response::new(self.try_grant(&integration, &request).await?))
    }

    async fn grant(
        &self,
        request: Request<GrantRequest>,
    ) -> Result<Response<GrantResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        drop(conn);
        let (id, request) = grants::request(request, integration.id)?;
        let existed = self.admit(&caller, &connector, &id, &request).await?;
        if !existed {
            info!(grant.id = id, "grant {id} of {} was admitted", request.recipient);
            self.wishes.poke();
        }
        let grant = Some(self.shown(&connector, &id).await?);
        Ok(Response::new(GrantResponse { grant, existed }))
    }

    async fn extend(
        &self,
        request: Request<ExtendRequest>,
    ) -> Result<Response<ExtendResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let end = request
            .expire_time
            .ok_or_else(|| status::bad_request("expire_time", "is required; use a time to come"))?;
        let end = words::time(end, "expire_time")?;
        self.move_end(&caller, &connector, &request.grant_id, end).await?;
        self.wishes.poke();
        let grant = Some(self.shown(&connector, &request.grant_id).await?);
        Ok(Response::new(ExtendResponse { grant }))
    }

    async fn revoke(
        &self,
        request: Request<RevokeRequest>,
    ) -> Result<Response<RevokeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        grants::reason(&request.reason)?;
        let id = &request.grant_id;
        if id.is_empty() {
            return Err(status::bad_request("grant_id", "is required"));
        }
        status::refuse_nul("grant_id", id)?;
        let found =
            self.end(&caller, &connector, id, request.allow_missing, &request.reason).await?;
        self.wishes.poke();
        let grant = match found {
            Some(_) => Some(self.shown(&connector, id).await?),
            None if request.allow_missing => None,
            None => return Err(status::not_found("grant", id)),
        };
        Ok(Response::new(RevokeResponse { grant }))
    }

    async fn revoke_all(
        &self,
        request: Request<RevokeAllRequest>,
    ) -> Result<Response<RevokeAllResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        grants::reason(&request.reason)?;
        let whose = self.whose(&connector, &request).await?;
        let mut conn = self.conn().await?;
        let live = store::wishes::live(&mut conn, &connector, &whose)
            .await
            .map_err(|error| status::store(&error))?;
        drop(conn);
        let (mut grant_ids, mut failed) = (Vec::new(), None);
        for id in live {
            match self.end(&caller, &connector, &id, false, &request.reason).await {
                Ok(is_ended) => {
                    grant_ids.extend((is_ended == Some(true)).then_some(id));
                    // The first of many should not wait for the last.
                    self.wishes.poke();
                }
                // One that fails keeps none of the others.
                Err(status) => failed = failed.or(Some(status)),
            }
        }
        if let Some(status) = failed {
            return Err(status);
        }
        Ok(Response::new(RevokeAllResponse { grant_ids }))
    }

    async fn forget(
        &self,
        request: Request<ForgetRequest>,
    ) -> Result<Response<ForgetResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        required_reason(&request.reason)?;
        self.give_up(&caller, &connector, &request.grant_id, &request.reason).await?;
        let grant = Some(self.shown(&connector, &request.grant_id).await?);
        Ok(Response::new(ForgetResponse { grant }))
    }

    async fn get_grant(
        &self,
        request: Request<GetGrantRequest>,
    ) -> Result<Response<GetGrantResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let grant = Some(self.shown(&connector, &request.grant_id).await?);
        Ok(Response::new(GetGrantResponse { grant }))
    }

    async fn list_grants(
        &self,
        request: Request<ListGrantsRequest>,
    ) -> Result<Response<ListGrantsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("grants", request.page_size, &request.page_token)?;
        let before = before(&page)?;
        let mut conn = self.conn().await?;
        let integration = match request.integration.as_str() {
            "" => None,
            name => Some(find(&mut conn, &connector, name).await?.id),
        };
        let which = Which {
            integration,
            with_ended: request.include_ended,
            only_stuck: request.only_stuck,
        };
        let mut found = store::grants::list(&mut conn, &connector, which, before, page.limit())
            .await
            .map_err(|error| status::store(&error))?;
        let next_page_token = page.cut(&mut found, |grant| grant.number.to_string());
        let grants = show_all(&mut conn, &connector, found).await;
        let grants = grants.map_err(|error| status::store(&error))?;
        Ok(Response::new(ListGrantsResponse { grants, next_page_token }))
    }

    type WatchGrantStream = ReceiverStream<Result<WatchGrantResponse, Status>>;

    async fn watch_grant(
        &self,
        request: Request<WatchGrantRequest>,
    ) -> Result<Response<Self::WatchGrantStream>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let grant = self.shown(&connector, &request.grant_id).await?;
        Ok(Response::new(self.follow(caller, WatchedGrant { connector, grant })))
    }

    async fn list_acts(
        &self,
        request: Request<ListActsRequest>,
    ) -> Result<Response<ListActsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("acts", request.page_size, &request.page_token)?;
        let before = before(&page)?;
        status::refuse_nul("grant_id", &request.grant_id)?;
        let only = Some(request.grant_id.as_str()).filter(|id| !id.is_empty());
        let mut conn = self.conn().await?;
        let mut acts = store::acts::list(&mut conn, &connector, only, before, page.limit())
            .await
            .map_err(|error| status::store(&error))?;
        let next_page_token = page.cut(&mut acts, |act| act.number.to_string());
        let acts = acts.into_iter().map(grants::act).collect();
        Ok(Response::new(ListActsResponse { acts, next_page_token }))
    }

    async fn get_recovery(
        &self,
        request: Request<GetRecoveryRequest>,
    ) -> Result<Response<GetRecoveryResponse>, Status> {
        let caller = caller(&request)?;
        let connector = caller.connector(&request.into_inner().connector_id)?;
        let recovery = recovery::get(&mut *self.conn().await?, &connector).await;
        let recovery = recovery.map_err(|error| status::store(&error))?;
        Ok(Response::new(GetRecoveryResponse { recovery }))
    }

    async fn end_recovery(
        &self,
        request: Request<EndRecoveryRequest>,
    ) -> Result<Response<EndRecoveryResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        required_reason(&request.reason)?;
        let ended = self.go_on(&caller, &connector, &request).await?;
        self.wishes.poke();
        Ok(Response::new(ended))
    }
}

fn required_reason(reason: &str) -> Result<(), Status> {
    grants::reason(reason)?;
    if reason.trim().is_empty() {
        return Err(status::bad_request("reason", "is required; say what was seen in AWS"));
    }
    Ok(())
}

/// The number behind which a page begins.
fn before(page: &Page) -> Result<i64, Status> {
    page.after.as_deref().map_or(Ok(i64::MAX), str::parse).map_err(|_| page::damaged())
}

impl Api {
    /// Ends a grant. Whether it had not ended; none: there is no such grant.
    pub(super) async fn end(
        &self,
        caller: &Caller,
        connector: &ConnectorId,
        id: &str,
        allow_missing: bool,
        reason: &str,
    ) -> Result<Option<bool>, Status> {
        let ended = async {
            let mut tx = self.db.begin().await?;
            store::wishes::lock_id(&mut tx, connector, id).await?;
            let actor = caller.actor();
            let grant = store::grants::lock(&mut tx, connector, id).await?;
            let (verb, is_ended) = match &grant {
                Some(grant) => {
                    ("REVOKED", Some(store::wishes::revoke(&mut tx, connector, grant).await?))
                }
                None if allow_missing => {
                    store::wishes::revoke_before(&mut tx, connector, id).await?;
                    ("REVOKED_BEFORE", None)
                }
                None => return Ok(None),
            };
            if is_ended != Some(false) {
                let act = New { grant: id, verb, actor: &actor, object: "", detail: reason };
                store::acts::note(&mut tx, connector, act).await?;
            }
            tx.commit().await?;
            Ok::<_, store::Error>(is_ended)
        };
        ended.await.map_err(|error| status::store(&error))
    }

    async fn whose(
        &self,
        connector: &ConnectorId,
        request: &RevokeAllRequest,
    ) -> Result<Whose, Status> {
        let recipient = match request.recipient.clone() {
            None => None,
            some => Some(grants::recipient(some).map_err(|bad| status::bad_fields(vec![bad]))?),
        };
        let account = match request.account_id.as_str() {
            "" => None,
            id => Some(
                id.parse::<AccountId>()
                    .map_err(|error| status::bad_request("account_id", error.to_string()))?,
            ),
        };
        let integration = match request.integration.as_str() {
            "" => None,
            name => Some(find(&mut *self.conn().await?, connector, name).await?.id),
        };
        let whose = Whose { integration, recipient, account };
        let is_nothing =
            whose.integration.is_none() && whose.recipient.is_none() && whose.account.is_none();
        if is_nothing != request.everything {
            return Err(status::bad_request(
                "everything",
                "must be set when nothing else is given, and only then",
            ));
        }
        Ok(whose)
    }

    /// A grant as it stands.
    async fn shown(&self, connector: &ConnectorId, id: &str) -> Result<v1::Grant, Status> {
        status::refuse_nul("grant_id", id)?;
        let mut conn = self.conn().await?;
        let read = async {
            let Some(grant) = store::grants::get(&mut conn, connector, id).await? else {
                return Ok(None);
            };
            Ok(show_all(&mut conn, connector, vec![grant]).await?.pop())
        };
        read.await
            .map_err(|error: store::Error| status::store(&error))?
            .ok_or_else(|| status::not_found("grant", id))
    }
}

/// A grant that somebody watches.
#[derive(Clone, PartialEq)]
struct WatchedGrant {
    connector: ConnectorId,
    grant: v1::Grant,
}

#[tonic::async_trait]
impl Followed for WatchedGrant {
    type Message = WatchGrantResponse;

    async fn again(&self, api: &Api) -> Result<Self, Status> {
        let connector = self.connector.clone();
        let grant = api.shown(&connector, &self.grant.id).await?;
        Ok(Self { connector, grant })
    }

    fn is_over(&self) -> bool {
        matches!(self.grant.state(), v1::GrantState::Ended | v1::GrantState::Failed)
    }

    fn message(&self) -> WatchGrantResponse {
        WatchGrantResponse { grant: Some(self.grant.clone()) }
    }
}

/// Grants as they stand.
async fn show_all(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    found: Vec<Grant>,
) -> store::Result<Vec<v1::Grant>> {
    let ids: Vec<String> = found.iter().map(|grant| grant.id.clone()).collect();
    let now = store::now(conn).await?;
    let mut units: HashMap<String, Vec<_>> = HashMap::new();
    for unit in units::list(conn, connector, &ids).await? {
        units.entry(unit.grant_id.clone()).or_default().push(unit);
    }
    let mut integrations = HashMap::new();
    for grant in &found {
        if let std::collections::hash_map::Entry::Vacant(entry) =
            integrations.entry(grant.integration)
        {
            entry.insert(store::integrations::get(conn, connector, grant.integration).await?);
        }
    }
    let shown = found.into_iter().map(|grant| {
        let of = integrations.get(&grant.integration).and_then(Option::as_ref);
        let its = units.remove(&grant.id).unwrap_or_default();
        grants::grant(grant, its, of.map(|of| &of.settings), now)
    });
    Ok(shown.collect())
}
