//! How far the scopes of an integration are covered.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Result;
use crate::model::ids::{ConnectorId, IntegrationId};

/// The scopes of one collector in one region, with one reason or with none.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Region; empty: none.
    pub region: String,
    /// Collector.
    pub collector: String,
    /// Why they could not be read last time; none: they were.
    pub reason: Option<String>,
    /// How many.
    pub scopes: i64,
    /// What was said, for one of them.
    pub example: String,
    /// The oldest last complete read; none: one was never read whole.
    pub oldest_complete_at: Option<DateTime<Utc>>,
}

/// All scopes, folded by region, collector and reason.
///
/// # Errors
///
/// When the database does not answer.
pub async fn folded(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Vec<Cell>> {
    Ok(sqlx::query_as!(
        Cell,
        r#"SELECT region, collector, unread_reason AS reason, count(*) AS "scopes!",
             coalesce(min(detail), '') AS "example!",
             CASE WHEN bool_and(complete_at IS NOT NULL) THEN min(complete_at) END
                 AS oldest_complete_at
           FROM connector.scopes
           WHERE connector_id = $1 AND integration_id = $2
           GROUP BY region, collector, unread_reason
           ORDER BY region, collector, count(*) DESC, unread_reason"#,
        connector.as_str(),
        integration.0
    )
    .fetch_all(conn)
    .await?)
}

/// One scope.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Account; empty: the organization.
    pub account_id: String,
    /// Region; empty: none.
    pub region: String,
    /// Collector.
    pub collector: String,
    /// When it was last read whole.
    pub complete_at: Option<DateTime<Utc>>,
    /// When it was last tried.
    pub tried_at: DateTime<Utc>,
    /// Why it could not be read last time; none: it was.
    pub reason: Option<String>,
    /// What was said.
    pub detail: String,
}

/// Which scopes to list; empty texts are no condition.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Account.
    pub account_id: String,
    /// Region.
    pub region: String,
    /// Collector.
    pub collector: String,
    /// Only those that could not be read last time.
    pub only_unread: bool,
}

/// Scopes after a key, by account, region and collector.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    filter: &Filter,
    after: (&str, &str, &str),
    limit: i64,
) -> Result<Vec<Scope>> {
    Ok(sqlx::query_as!(
        Scope,
        "SELECT account_id, region, collector, complete_at, tried_at, unread_reason AS reason, detail
         FROM connector.scopes
         WHERE connector_id = $1 AND integration_id = $2
           AND (account_id, region, collector) > ($3, $4, $5)
           AND ($6 = '' OR account_id = $6) AND ($7 = '' OR region = $7)
           AND ($8 = '' OR collector = $8) AND (NOT $9 OR unread_reason IS NOT NULL)
         ORDER BY account_id, region, collector LIMIT $10",
        connector.as_str(),
        integration.0,
        after.0,
        after.1,
        after.2,
        filter.account_id,
        filter.region,
        filter.collector,
        filter.only_unread,
        limit
    )
    .fetch_all(conn)
    .await?)
}
