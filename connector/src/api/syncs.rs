//! Starting syncs, and watching them.

use std::time::Duration;

use apono_connector_proto::v1::{
    GetSyncRequest, GetSyncResponse, ListSyncsRequest, ListSyncsResponse, StartSyncRequest,
    StartSyncResponse, WatchSyncRequest, WatchSyncResponse, sync_service_server::SyncService,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, auth::caller, integrations::find, page::Page, status, words};
use crate::{
    base::{chance, clock},
    model::{
        ids::{ConnectorId, SyncId},
        sync::Trigger,
    },
    store::{self, syncs::Sync},
};

/// From one look at a watched sync to the next.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// Changes that wait for a slow watcher.
const CHANGES_WAITING_MAX: usize = 4;

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
        let first = self.sync(&connector, id).await?;
        let (changes, stream) = mpsc::channel(CHANGES_WAITING_MAX);
        let api = self.clone();
        tokio::spawn(async move { api.follow(&connector, first, &changes).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

type Changes = mpsc::Sender<Result<WatchSyncResponse, Status>>;

impl Api {
    async fn sync(&self, connector: &ConnectorId, id: SyncId) -> Result<Sync, Status> {
        let mut conn = self.conn().await?;
        store::syncs::get(&mut conn, connector, id)
            .await
            .map_err(|error| status::store(&error))?
            .ok_or_else(|| status::not_found("sync", &id.to_string()))
    }

    /// Sends a sync whenever it has changed, until it ends or nobody listens.
    async fn follow(&self, connector: &ConnectorId, first: Sync, changes: &Changes) {
        let mut now = first;
        loop {
            let message = WatchSyncResponse { sync: Some(words::sync(now.clone())) };
            if changes.send(Ok(message)).await.is_err() || now.state.is_ended() {
                return;
            }
            let changed = async {
                loop {
                    clock::sleep(BETWEEN_LOOKS).await;
                    match self.sync(connector, now.id).await {
                        Ok(next) if next == now => {}
                        other => return other,
                    }
                }
            };
            tokio::select! {
                next = changed => match next {
                    Ok(next) => now = next,
                    Err(error) => {
                        // Nobody may be listening any more; either way it is the end.
                        let _ = changes.send(Err(error)).await;
                        return;
                    }
                },
                () = self.stopper.stopping() => {
                    let _ = changes.send(Err(Status::unavailable("the daemon stops; watch again"))).await;
                    return;
                }
                () = changes.closed() => return,
            }
        }
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
