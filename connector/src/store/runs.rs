//! Where the time of a sync went. While it runs that is read from its scopes; at its end
//! it is kept with the sync, because the next one writes over the scopes.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{Result, expect_one, stored};
use crate::model::ids::{ConnectorId, IntegrationId, SyncId};

/// Scopes that are named one by one.
const NAMED_MAX: i64 = 20;

/// What is told of a sync.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// By collector, the most expensive first.
    pub collectors: Vec<Collector>,
    /// The scopes that took longest.
    pub slowest: Vec<ScopeRun>,
    /// The scopes that AWS throttled most.
    pub most_throttled: Vec<ScopeRun>,
    /// Why scopes could not be read, the most frequent first.
    pub unread: Vec<Unread>,
}

/// The reads of one collector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Collector {
    /// Collector.
    pub collector: String,
    /// Scopes that were tried.
    pub scopes: i64,
    /// Of them, those that were read whole.
    pub complete: i64,
    /// Attempts at calls.
    pub calls: i64,
    /// Of them, those that AWS throttled.
    pub throttles: i64,
    /// Sum over all scopes.
    pub total_ms: i64,
    /// Of that, waiting for budgets.
    pub waited_ms: i64,
    /// Half of the scopes took longer.
    pub median_ms: i64,
    /// One of twenty took longer.
    pub percentile_95_ms: i64,
    /// The slowest.
    pub longest_ms: i64,
}

/// The read of one scope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScopeRun {
    /// Account; empty: the organization.
    pub account_id: String,
    /// Region; empty: none.
    pub region: String,
    /// Collector.
    pub collector: String,
    /// From its first call to its last page.
    pub took_ms: i64,
    /// Of that, waiting for budgets.
    pub waited_ms: i64,
    /// Attempts at calls.
    pub calls: i64,
    /// Of them, those that AWS throttled.
    pub throttles: i64,
    /// Pages.
    pub pages: i64,
    /// Resources on them.
    pub seen: i64,
}

/// Scopes that could not be read for one reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unread {
    /// Reason code.
    pub reason: String,
    /// What tells it from others of its code.
    pub subject: String,
    /// How many.
    pub scopes: i64,
}

/// A checked query for the runs of one generation, by what follows.
macro_rules! scope_runs {
    ($rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            ScopeRun,
            r#"SELECT account_id, region, collector, took_ms::bigint AS "took_ms!",
                 waited_ms::bigint AS "waited_ms!", calls::bigint AS "calls!",
                 throttles::bigint AS "throttles!", pages::bigint AS "pages!", seen
               FROM connector.scopes
               WHERE connector_id = $1 AND integration_id = $2 AND tried_generation = $3 "#
                + $rest,
            $($argument),+
        )
    };
}

/// What the scopes tell of the generation that tried them last.
///
/// # Errors
///
/// When the database does not answer.
pub async fn explain(
    conn: &mut PgConnection,
    (connector, integration, generation): (&ConnectorId, IntegrationId, i64),
) -> Result<Explanation> {
    let collectors = sqlx::query_as!(
        Collector,
        r#"SELECT collector, count(*) AS "scopes!",
             count(*) FILTER (WHERE complete_generation = $3) AS "complete!",
             sum(calls) AS "calls!", sum(throttles) AS "throttles!",
             sum(took_ms) AS "total_ms!", sum(waited_ms) AS "waited_ms!",
             percentile_disc(0.5) WITHIN GROUP (ORDER BY took_ms)::bigint AS "median_ms!",
             percentile_disc(0.95) WITHIN GROUP (ORDER BY took_ms)::bigint
                 AS "percentile_95_ms!",
             max(took_ms)::bigint AS "longest_ms!"
           FROM connector.scopes
           WHERE connector_id = $1 AND integration_id = $2 AND tried_generation = $3
           GROUP BY collector ORDER BY sum(took_ms) DESC, collector"#,
        connector.as_str(),
        integration.0,
        generation
    )
    .fetch_all(&mut *conn)
    .await?;
    let slowest = scope_runs!(
        "AND took_ms > 0 ORDER BY took_ms DESC, account_id, region, collector LIMIT $4",
        connector.as_str(),
        integration.0,
        generation,
        NAMED_MAX
    )
    .fetch_all(&mut *conn)
    .await?;
    let most_throttled = scope_runs!(
        "AND throttles > 0 ORDER BY throttles DESC, account_id, region, collector LIMIT $4",
        connector.as_str(),
        integration.0,
        generation,
        NAMED_MAX
    )
    .fetch_all(&mut *conn)
    .await?;
    let unread = sqlx::query_as!(
        Unread,
        r#"SELECT unread_reason AS "reason!", subject, count(*) AS "scopes!"
           FROM connector.scopes
           WHERE connector_id = $1 AND integration_id = $2 AND tried_generation = $3
             AND unread_reason IS NOT NULL
           GROUP BY unread_reason, subject ORDER BY count(*) DESC, unread_reason, subject LIMIT $4"#,
        connector.as_str(),
        integration.0,
        generation,
        NAMED_MAX
    )
    .fetch_all(conn)
    .await?;
    Ok(Explanation { collectors, slowest, most_throttled, unread })
}

/// Keeps what is told of a sync with it.
///
/// # Errors
///
/// When the sync is gone.
pub async fn keep(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: SyncId,
    explanation: &Explanation,
) -> Result<()> {
    let explanation = stored("syncs", "explanation", serde_json::to_value(explanation))?;
    let done = sqlx::query!(
        "UPDATE connector.syncs SET explanation = $3 WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0,
        explanation
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// What was kept of a sync; none: it has not ended, or ended before it was to be kept.
///
/// # Errors
///
/// When the database does not answer.
pub async fn kept(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: SyncId,
) -> Result<Option<Explanation>> {
    let explanation = sqlx::query_scalar!(
        "SELECT explanation FROM connector.syncs WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0
    )
    .fetch_optional(conn)
    .await?
    .flatten();
    explanation
        .map(|explanation| stored("syncs", "explanation", serde_json::from_value(explanation)))
        .transpose()
}
