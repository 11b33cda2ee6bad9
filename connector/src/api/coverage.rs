//! How far an integration is covered, and what is held back.

use apono_connector_proto::v1::{
    CoverageCell, ListCoverageRequest, ListCoverageResponse, ReleaseRemovalsRequest,
    ReleaseRemovalsResponse, ScopeCoverage, SummarizeCoverageRequest, SummarizeCoverageResponse,
    Unread,
};
use tonic::Status;
use tracing::info;

use super::{Api, auth::Caller, integrations::find, inventory, page::Page, status, words};
use crate::{
    base::chance,
    catalog::COLLECTORS,
    model::{ids::SyncId, sync::Trigger},
    store::{
        self,
        coverage::{Cell, Filter},
    },
    sync::{OPEN_ACCOUNT, WALK},
};

impl Api {
    pub(super) async fn summarize(
        &self,
        caller: &Caller,
        request: SummarizeCoverageRequest,
    ) -> Result<SummarizeCoverageResponse, Status> {
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        let folded = store::coverage::folded(&mut conn, &connector, integration.id)
            .await
            .map_err(|error| status::store(&error))?;
        Ok(SummarizeCoverageResponse { cells: cells(folded) })
    }

    pub(super) async fn scopes(
        &self,
        caller: &Caller,
        request: ListCoverageRequest,
    ) -> Result<ListCoverageResponse, Status> {
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("coverage", request.page_size, &request.page_token)?;
        inventory::check_place(&request.account_id, &request.region)?;
        check_collector(&request.collector)?;
        let mut parts = page.after.as_deref().unwrap_or("  ").splitn(3, ' ');
        let mut part = || parts.next().unwrap_or_default();
        let after = (part(), part(), part());
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        let filter = Filter {
            account_id: request.account_id,
            region: request.region,
            collector: request.collector,
            only_unread: request.only_unread,
        };
        let (id, limit) = (integration.id, page.limit());
        let mut found = store::coverage::list(&mut conn, &connector, id, &filter, after, limit)
            .await
            .map_err(|error| status::store(&error))?;
        let next_page_token = page.cut(&mut found, |scope| {
            format!("{} {} {}", scope.account_id, scope.region, scope.collector)
        });
        let scopes = found.into_iter().map(shown).collect();
        Ok(ListCoverageResponse { scopes, next_page_token })
    }

    pub(super) async fn release(
        &self,
        caller: &Caller,
        request: ReleaseRemovalsRequest,
    ) -> Result<ReleaseRemovalsResponse, Status> {
        let connector = caller.connector(&request.connector_id)?;
        inventory::check_place(&request.account_id, "")?;
        inventory::check_type(&request.r#type)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        drop(conn);
        let released = async {
            let mut tx = self.db.begin().await?;
            let (id, account, kind) = (integration.id, &request.account_id, &request.r#type);
            // As whoever writes resources does; the integration, which a plan locks, comes later.
            store::feeds::lock(&mut tx, &connector, id).await?;
            let released =
                store::inventory::release(&mut tx, &connector, id, account, kind).await?;
            let (mut sync_id, mut joined) = (String::new(), false);
            if released > 0 && integration.enabled {
                let sync = SyncId(chance::uuid());
                let (planned, was_running) =
                    store::syncs::plan(&mut tx, &connector, id, sync, Trigger::Request).await?;
                (sync_id, joined) = (planned.id.to_string(), was_running);
            }
            tx.commit().await?;
            let resources = i64::try_from(released).unwrap_or(i64::MAX);
            Ok::<_, store::Error>(ReleaseRemovalsResponse { resources, sync_id, joined })
        };
        let released = released.await.map_err(|error| status::store(&error))?;
        info!(
            "{} held removals of {} were released by a caller",
            released.resources, integration.settings.name
        );
        self.groups.poke();
        Ok(released)
    }
}

fn check_collector(name: &str) -> Result<(), Status> {
    let mut names: Vec<&str> = COLLECTORS.iter().map(|collector| collector.name()).collect();
    names.extend([WALK, OPEN_ACCOUNT]);
    if name.is_empty() || names.contains(&name) {
        return Ok(());
    }
    names.sort_unstable();
    Err(status::bad_request(
        "collector",
        format!("{name:?} is unknown; use one of {}", names.join(", ")),
    ))
}

/// One cell for each region and collector; what is stored is split by reason too.
fn cells(folded: Vec<Cell>) -> Vec<CoverageCell> {
    let mut cells: Vec<CoverageCell> = Vec::new();
    for part in folded {
        let is_new = cells
            .last()
            .is_none_or(|cell| (&cell.region, &cell.collector) != (&part.region, &part.collector));
        if is_new {
            cells.push(CoverageCell {
                region: part.region,
                collector: part.collector,
                oldest_complete_time: part.oldest_complete_at.map(words::timestamp),
                ..CoverageCell::default()
            });
        }
        let Some(cell) = cells.last_mut() else { continue };
        let oldest = part.oldest_complete_at.map(words::timestamp);
        cell.oldest_complete_time = cell
            .oldest_complete_time
            .zip(oldest)
            .map(|(a, b)| if (a.seconds, a.nanos) < (b.seconds, b.nanos) { a } else { b });
        cell.scopes += part.scopes;
        match part.reason {
            None => cell.complete += part.scopes,
            Some(reason) => {
                cell.unread.push(Unread { reason, scopes: part.scopes, example: part.example });
            }
        }
    }
    cells
}

fn shown(scope: store::coverage::Scope) -> ScopeCoverage {
    ScopeCoverage {
        account_id: scope.account_id,
        region: scope.region,
        collector: scope.collector,
        complete_time: scope.complete_at.map(words::timestamp),
        try_time: Some(words::timestamp(scope.tried_at)),
        reason: scope.reason.unwrap_or_default(),
        detail: scope.detail,
    }
}
