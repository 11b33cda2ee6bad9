//! Starting syncs, and watching them.

use apono_connector_proto::v1::{
    self, CancelSyncRequest, CancelSyncResponse, ExplainSyncRequest, ExplainSyncResponse,
    GetSyncRequest, GetSyncResponse, ListSyncsRequest, ListSyncsResponse, StartSyncRequest,
    StartSyncResponse, WatchSyncRequest, WatchSyncResponse, sync_service_server::SyncService,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, auth::caller, follow::Followed, integrations::find, page::Page, status, words};
use crate::{
    base::chance,
    model::{
        ids::{ConnectorId, SyncId},
        sync::Trigger,
    },
    store::{
        self,
        runs::{Collector, Explanation, ScopeRun, Unread},
        syncs::Sync,
    },
};

#[tonic::async_trait]
impl SyncService for Api {
    async fn start_sync(
        &self,
        request: Request<StartSyncRequest>,
    ) -> Result<Response<StartSyncResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        drop(conn);
        if !integration.enabled {
            return Err(status::precondition(
                "INTEGRATION_DISABLED",
                "the integration is disabled; enable it first",
            ));
        }
        let planned = async {
            let mut tx = self.db.begin().await?;
            let id = SyncId(chance::uuid());
            let planned =
                store::syncs::plan(&mut tx, &connector, integration.id, id, Trigger::Request)
                    .await?;
            tx.commit().await?;
            Ok::<_, store::Error>(planned)
        };
        let (sync, joined) = planned.await.map_err(|error| status::store(&error))?;
        self.groups.poke();
        Ok(Response::new(StartSyncResponse { sync: Some(words::sync(sync)), joined }))
    }

    async fn get_sync(
        &self,
        request: Request<GetSyncRequest>,
    ) -> Result<Response<GetSyncResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let sync = self.sync(&connector, parse_id(&request.sync_id)?).await?;
        Ok(Response::new(GetSyncResponse { sync: Some(words::sync(sync)) }))
    }

    async fn list_syncs(
        &self,
        request: Request<ListSyncsRequest>,
    ) -> Result<Response<ListSyncsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("syncs", request.page_size, &request.page_token)?;
        let before = page.after.as_deref().map_or(Ok(i64::MAX), str::parse);
        let before = before.map_err(|_| {
            status::bad_request("page_token", "is damaged; use next_page_token of the page before")
        })?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        let mut syncs =
            store::syncs::list(&mut conn, &connector, integration.id, before, page.limit())
                .await
                .map_err(|error| status::store(&error))?;
        let next_page_token = page.cut(&mut syncs, |sync| sync.generation.to_string());
        let syncs = syncs.into_iter().map(words::sync).collect();
        Ok(Response::new(ListSyncsResponse { syncs, next_page_token }))
    }

    type WatchSyncStream = ReceiverStream<Result<WatchSyncResponse, Status>>;

    async fn watch_sync(
        &self,
        request: Request<WatchSyncRequest>,
    ) -> Result<Response<Self::WatchSyncStream>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let id = parse_id(&request.sync_id)?;
        let sync = self.sync(&connector, id).await?;
        Ok(Response::new(self.follow(caller, WatchedSync { connector, sync })))
    }

    async fn cancel_sync(
        &self,
        request: Request<CancelSyncRequest>,
    ) -> Result<Response<CancelSyncResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let sync = self.sync(&connector, parse_id(&request.sync_id)?).await?;
        let cancelled = async {
            let mut tx = self.db.begin().await?;
            let detail = "cancelled by a caller";
            // A later one is not what the caller meant, and one that has ended stays so.
            let (integration, only) = (sync.integration, Some(sync.id));
            store::syncs::cancel_open(&mut tx, &connector, integration, only, detail).await?;
            tx.commit().await
        };
        cancelled.await.map_err(|error| status::store(&error))?;
        let sync = self.sync(&connector, sync.id).await?;
        Ok(Response::new(CancelSyncResponse { sync: Some(words::sync(sync)) }))
    }

    async fn explain_sync(
        &self,
        request: Request<ExplainSyncRequest>,
    ) -> Result<Response<ExplainSyncResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let sync = self.sync(&connector, parse_id(&request.sync_id)?).await?;
        let mut conn = self.conn().await?;
        let explained = async {
            let kept = store::runs::kept(&mut conn, &connector, sync.id).await?;
            if let Some(kept) = kept {
                return Ok(kept);
            }
            let of_generation = (&connector, sync.integration, sync.generation);
            store::runs::explain(&mut conn, of_generation).await
        };
        let explained = explained.await.map_err(|error: store::Error| status::store(&error))?;
        Ok(Response::new(explanation(sync, explained)))
    }
}

fn explanation(sync: Sync, explained: Explanation) -> ExplainSyncResponse {
    let run = |run: ScopeRun| v1::ScopeRun {
        account_id: run.account_id,
        region: run.region,
        collector: run.collector,
        took: Some(words::duration(run.took_ms)),
        waited: Some(words::duration(run.waited_ms)),
        calls: run.calls,
        throttles: run.throttles,
        pages: run.pages,
        resources: run.seen,
    };
    let collector = |runs: Collector| v1::CollectorRuns {
        collector: runs.collector,
        scopes: runs.scopes,
        complete: runs.complete,
        calls: runs.calls,
        throttles: runs.throttles,
        total: Some(words::duration(runs.total_ms)),
        waited: Some(words::duration(runs.waited_ms)),
        median: Some(words::duration(runs.median_ms)),
        percentile_95: Some(words::duration(runs.percentile_95_ms)),
        longest: Some(words::duration(runs.longest_ms)),
    };
    let unread = |unread: Unread| v1::UnreadScopes {
        reason: unread.reason,
        subject: unread.subject,
        scopes: unread.scopes,
    };
    ExplainSyncResponse {
        sync: Some(words::sync(sync)),
        collectors: explained.collectors.into_iter().map(collector).collect(),
        slowest: explained.slowest.into_iter().map(run).collect(),
        most_throttled: explained.most_throttled.into_iter().map(run).collect(),
        unread: explained.unread.into_iter().map(unread).collect(),
    }
}

impl Api {
    async fn sync(&self, connector: &ConnectorId, id: SyncId) -> Result<Sync, Status> {
        let mut conn = self.conn().await?;
        store::syncs::get(&mut conn, connector, id)
            .await
            .map_err(|error| status::store(&error))?
            .ok_or_else(|| status::not_found("sync", &id.to_string()))
    }
}

/// A sync that somebody watches.
#[derive(Clone, PartialEq)]
struct WatchedSync {
    connector: ConnectorId,
    sync: Sync,
}

#[tonic::async_trait]
impl Followed for WatchedSync {
    type Message = WatchSyncResponse;

    async fn again(&self, api: &Api) -> Result<Self, Status> {
        let connector = self.connector.clone();
        let sync = api.sync(&connector, self.sync.id).await?;
        Ok(Self { connector, sync })
    }

    fn is_over(&self) -> bool {
        self.sync.state.is_ended()
    }

    fn message(&self) -> WatchSyncResponse {
        WatchSyncResponse { sync: Some(words::sync(self.sync.clone())) }
    }
}

fn parse_id(text: &str) -> Result<SyncId, Status> {
    Uuid::try_parse(text).map(SyncId).map_err(|_| {
        status::bad_request(
            "sync_id",
            format!("{text:?} is not a UUID; use the id that StartSync or ListSyncs told"),
        )
    })
}
