//! Crawls.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, expect_one, stored};
use crate::model::{
    ids::{ConnectorId, IntegrationId, SyncId},
    scope::Group,
    sync::{SyncState, Trigger},
};

/// One crawl.
#[derive(Clone, Debug, PartialEq)]
pub struct Sync {
    /// Id.
    pub id: SyncId,
    /// Its integration.
    pub integration: IntegrationId,
    /// Counts the syncs of the integration.
    pub generation: i64,
    /// State.
    pub state: SyncState,
    /// Why it was planned.
    pub trigger: Trigger,
    /// Resources seen.
    pub resources_seen: i64,
    /// Rows written.
    pub resources_written: i64,
    /// Resources proven gone.
    pub resources_gone: i64,
    /// Scopes planned so far.
    pub scopes_planned: i64,
    /// Scopes read whole.
    pub scopes_complete: i64,
    /// Scopes that ended otherwise.
    pub scopes_incomplete: i64,
    /// When it was planned.
    pub created_at: DateTime<Utc>,
    /// When its first group was leased.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it failed or was cancelled.
    pub detail: String,
}

struct Row {
    id: Uuid,
    integration_id: Uuid,
    generation: i64,
    state: String,
    trigger: String,
    resources_seen: i64,
    resources_written: i64,
    resources_gone: i64,
    scopes_planned: i64,
    scopes_complete: i64,
    scopes_incomplete: i64,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    detail: String,
}

impl TryFrom<Row> for Sync {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: SyncId(row.id),
            integration: IntegrationId(row.integration_id),
            generation: row.generation,
            state: stored("syncs", "state", row.state.parse())?,
            trigger: stored("syncs", "trigger", row.trigger.parse())?,
            resources_seen: row.resources_seen,
            resources_written: row.resources_written,
            resources_gone: row.resources_gone,
            scopes_planned: row.scopes_planned,
            scopes_complete: row.scopes_complete,
            scopes_incomplete: row.scopes_incomplete,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            detail: row.detail,
        })
    }
}

/// A checked query for whole rows, by what follows the table's name.
macro_rules! select {
    ($rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Row,
            "SELECT id, integration_id, generation, state, trigger, resources_seen,
                 resources_written, resources_gone, scopes_planned, scopes_complete,
                 scopes_incomplete, created_at, started_at, ended_at, detail
             FROM connector.syncs " + $rest,
            $($argument),+
        )
    };
}

/// Plans a sync, or finds the one that is planned or running: an integration never
/// has two. Says whether it was there before.
///
/// The integration's row is locked by the update, so two callers cannot both plan.
///
/// # Errors
///
/// When the integration is gone or disabled; or no answer.
pub async fn plan(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    id: SyncId,
    trigger: Trigger,
) -> Result<(Sync, bool)> {
    let done = sqlx::query!(
        "UPDATE connector.integrations SET generation = generation
         WHERE connector_id = $1 AND id = $2 AND enabled",
        connector.as_str(),
        integration.0
    )
    .execute(&mut *conn)
    .await?;
    expect_one(&done)?;
    if let Some(open) = open(&mut *conn, connector, integration).await? {
        return Ok((open, true));
    }
    let generation = sqlx::query_scalar!(
        "UPDATE connector.integrations SET generation = generation + 1
         WHERE connector_id = $1 AND id = $2 RETURNING generation",
        connector.as_str(),
        integration.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let sync: Sync = sqlx::query_as!(
        Row,
        "INSERT INTO connector.syncs
             (connector_id, id, integration_id, generation, state, trigger, groups_open)
         VALUES ($1, $2, $3, $4, 'planned', $5, 1)
         RETURNING id, integration_id, generation, state, trigger, resources_seen,
             resources_written, resources_gone, scopes_planned, scopes_complete,
             scopes_incomplete, created_at, started_at, ended_at, detail",
        connector.as_str(),
        id.0,
        integration.0,
        generation,
        trigger.as_str()
    )
    .fetch_one(&mut *conn)
    .await?
    .try_into()?;
    // The organization itself is the first group; the walk plans the others.
    sqlx::query!(
        "INSERT INTO connector.sync_groups (connector_id, sync_id, account_id, region)
         VALUES ($1, $2, '', '')",
        connector.as_str(),
        id.0
    )
    .execute(conn)
    .await?;
    Ok((sync, false))
}

/// The sync that is planned or running.
///
/// # Errors
///
/// When the database does not answer.
pub async fn open(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Option<Sync>> {
    select!(
        "WHERE connector_id = $1 AND integration_id = $2 AND ended_at IS NULL",
        connector.as_str(),
        integration.0
    )
    .fetch_optional(conn)
    .await?
    .map(TryInto::try_into)
    .transpose()
}

/// One sync.
///
/// # Errors
///
/// When the database does not answer.
pub async fn get(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: SyncId,
) -> Result<Option<Sync>> {
    select!("WHERE connector_id = $1 AND id = $2", connector.as_str(), id.0)
        .fetch_optional(conn)
        .await?
        .map(TryInto::try_into)
        .transpose()
}

/// Syncs of an integration before a generation, newest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    before_generation: i64,
    limit: i64,
) -> Result<Vec<Sync>> {
    select!(
        "WHERE connector_id = $1 AND integration_id = $2 AND generation < $3
         ORDER BY generation DESC LIMIT $4",
        connector.as_str(),
        integration.0,
        before_generation,
        limit
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(TryInto::try_into)
    .collect()
}

/// Begins a planned sync, and notes how much is there; one that runs is left alone.
///
/// # Errors
///
/// When the database does not answer.
pub async fn start(conn: &mut PgConnection, group: &Group) -> Result<()> {
    let before = super::resources::count(&mut *conn, &group.connector, group.integration).await?;
    sqlx::query!(
        "UPDATE connector.syncs
         SET state = 'running', started_at = connector.now(), resources_before = $3
         WHERE connector_id = $1 AND id = $2 AND state = 'planned'",
        group.connector.as_str(),
        group.sync.0,
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a batch adds to its sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Scopes planned.
    pub planned: i64,
    /// Scopes read whole.
    pub complete: i64,
    /// Scopes that ended otherwise.
    pub incomplete: i64,
    /// Resources seen.
    pub seen: i64,
    /// Rows written.
    pub written: i64,
    /// Resources gone.
    pub gone: i64,
    /// Of them, those whose removal had been held before.
    pub agreed: i64,
    /// Groups planned, less those that are done.
    pub groups: i64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.planned += more.planned;
        self.complete += more.complete;
        self.incomplete += more.incomplete;
        self.seen += more.seen;
        self.written += more.written;
        self.gone += more.gone;
        self.agreed += more.agreed;
        self.groups += more.groups;
    }
}

/// Adds to the counts of an open sync, and locks it. Returns how many groups are open
/// then: whoever leaves none ends the sync, in the same transaction.
///
/// # Errors
///
/// [`super::Error::Fenced`] when it is not open.
pub async fn add(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: SyncId,
    counts: Counts,
) -> Result<i64> {
    sqlx::query_scalar!(
        "UPDATE connector.syncs
         SET scopes_planned = scopes_planned + $3, scopes_complete = scopes_complete + $4,
             scopes_incomplete = scopes_incomplete + $5, resources_seen = resources_seen + $6,
             resources_written = resources_written + $7, resources_gone = resources_gone + $8,
             groups_open = groups_open + $9, resources_agreed = resources_agreed + $10
         WHERE connector_id = $1 AND id = $2 AND ended_at IS NULL
         RETURNING groups_open",
        connector.as_str(),
        id.0,
        counts.planned,
        counts.complete,
        counts.incomplete,
        counts.seen,
        counts.written,
        counts.gone,
        counts.groups,
        counts.agreed
    )
    .fetch_optional(conn)
    .await?
    // A sync that was cancelled takes nothing more.
    .ok_or(super::Error::Fenced)
}

/// What a removal is measured by: resources that the sync has removed without having held
/// them before, and live ones when it began, without those that were held long enough. The sync is locked, so that two removals see each other.
///
/// # Errors
///
/// [`super::Error::Fenced`] when it is not open.
pub async fn lock_removals(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: SyncId,
) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"SELECT resources_gone - resources_agreed AS "gone!",
             resources_before - resources_agreed AS "before!"
           FROM connector.syncs
           WHERE connector_id = $1 AND id = $2 AND ended_at IS NULL
           FOR UPDATE"#,
        connector.as_str(),
        id.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or(super::Error::Fenced)?;
    Ok((row.gone, row.before))
}

/// Ends an open sync.
///
/// # Errors
///
/// When it is not open.
pub async fn end(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: SyncId,
    state: SyncState,
    detail: &str,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.syncs SET state = $3, detail = $4, ended_at = connector.now()
         WHERE connector_id = $1 AND id = $2 AND ended_at IS NULL",
        connector.as_str(),
        id.0,
        state.as_str(),
        detail
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Stops the open sync of an integration, if there is one, or only if it is this one. Whoever
/// reads its groups finds that with the next write or heartbeat; the groups themselves go
/// later. Returns the sync's id.
///
/// # Errors
///
/// When the database does not answer.
pub async fn cancel_open(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    only: Option<SyncId>,
    detail: &str,
) -> Result<Option<SyncId>> {
    let cancelled = sqlx::query!(
        "UPDATE connector.syncs SET state = $4, detail = $5, ended_at = connector.now()
         WHERE connector_id = $1 AND integration_id = $2 AND ended_at IS NULL
           AND ($3::uuid IS NULL OR id = $3)
         RETURNING id, generation",
        connector.as_str(),
        integration.0,
        only.map(|id| id.0),
        SyncState::Cancelled.as_str(),
        detail
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(cancelled) = cancelled else { return Ok(None) };
    let (id, of_generation) =
        (SyncId(cancelled.id), (connector, integration, cancelled.generation));
    let explanation = super::runs::explain(&mut *conn, of_generation).await?;
    super::runs::keep(conn, connector, id, &explanation).await?;
    Ok(Some(id))
}

/// When the newest sync was planned.
///
/// # Errors
///
/// When the database does not answer.
pub async fn last_planned(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!(
        "SELECT created_at FROM connector.syncs
         WHERE connector_id = $1 AND integration_id = $2
         ORDER BY generation DESC LIMIT 1",
        connector.as_str(),
        integration.0
    )
    .fetch_optional(conn)
    .await?)
}

/// How the last sync that was not cancelled has ended.
///
/// # Errors
///
/// When the database does not answer.
pub async fn last_ended(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Option<SyncState>> {
    let state = sqlx::query_scalar!(
        "SELECT state FROM connector.syncs
         WHERE connector_id = $1 AND integration_id = $2 AND ended_at IS NOT NULL
           AND state <> 'cancelled'
         ORDER BY generation DESC LIMIT 1",
        connector.as_str(),
        integration.0
    )
    .fetch_optional(conn)
    .await?;
    state.map(|state| stored("syncs", "state", state.parse())).transpose()
}

/// Removes syncs that ended longer ago than `retention`; the newest of each integration
/// stays. Returns how many.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(conn: &mut PgConnection, retention: Duration) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM connector.syncs s USING connector.integrations i
         WHERE i.connector_id = s.connector_id AND i.id = s.integration_id
           AND s.generation < i.generation
           AND s.ended_at < connector.now() - make_interval(secs => $1)",
        retention.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
