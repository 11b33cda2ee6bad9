//! The change feed of an integration: revisions, and what may be read of them.
//!
//! Invariant: revisions become visible in their order. Whoever writes a change first
//! takes the next revision, which locks the feed's row until the change is committed; so
//! a follower that has seen a revision has missed none before it.
//!
//! The feed is as long as the inventory: a resource stands in it once, at the revision
//! of its newest change, and one that has gone stays until it is purged.

use std::time::Duration;

use sqlx::PgConnection;

use super::Result;
use crate::model::ids::{ConnectorId, IntegrationId};

/// How far a feed has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The newest change.
    pub revision: i64,
    /// What has gone up to here may have been purged.
    pub horizon: i64,
}

/// Takes the next revision. The feed is locked until the transaction ends.
///
/// # Errors
///
/// When the database does not answer.
pub async fn advance(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        "INSERT INTO connector.feeds AS f (connector_id, integration_id, revision)
         VALUES ($1, $2, 1)
         ON CONFLICT (connector_id, integration_id) DO UPDATE SET revision = f.revision + 1
         RETURNING revision",
        connector.as_str(),
        integration.0
    )
    .fetch_one(conn)
    .await?)
}

/// Locks the feed without taking a revision: until the transaction ends nobody writes
/// resources of the integration, so what is found missing stays so.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<()> {
    sqlx::query!(
        "SELECT FROM connector.feeds WHERE connector_id = $1 AND integration_id = $2 FOR UPDATE",
        connector.as_str(),
        integration.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How far the feed has come.
///
/// # Errors
///
/// When the database does not answer.
pub async fn position(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Position> {
    let row = sqlx::query_as!(
        Position,
        "SELECT revision, horizon FROM connector.feeds
         WHERE connector_id = $1 AND integration_id = $2",
        connector.as_str(),
        integration.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.unwrap_or_default())
}

/// Removes for good what went longer ago than `retention`, at most `limit` of it, and
/// moves the horizons behind it. Returns how many rows went.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(conn: &mut PgConnection, retention: Duration, limit: i64) -> Result<u64> {
    let purged = sqlx::query_scalar!(
        r#"WITH old AS (
             SELECT connector_id, integration_id, arn FROM connector.resources
             WHERE gone_at < connector.now() - make_interval(secs => $1)
             ORDER BY gone_at LIMIT $2),
           -- In the order in which everybody locks: the feed before its resources.
           feeds AS (
             SELECT f.connector_id, f.integration_id FROM connector.feeds f
             WHERE (f.connector_id, f.integration_id) IN (
                 SELECT connector_id, integration_id FROM old)
             ORDER BY 1, 2 FOR UPDATE),
           purged AS (
             DELETE FROM connector.resources r USING old, feeds
             WHERE r.connector_id = old.connector_id AND r.integration_id = old.integration_id
               AND r.arn = old.arn AND feeds.connector_id = r.connector_id
               AND feeds.integration_id = r.integration_id
               AND r.gone_at < connector.now() - make_interval(secs => $1)
             RETURNING r.connector_id, r.integration_id, r.revision),
           moved AS (
             UPDATE connector.feeds f SET horizon = greatest(f.horizon, p.revision)
             FROM (SELECT connector_id, integration_id, max(revision) AS revision
                   FROM purged GROUP BY 1, 2) p
             WHERE f.connector_id = p.connector_id AND f.integration_id = p.integration_id)
           SELECT count(*) AS "purged!" FROM purged"#,
        retention.as_secs_f64(),
        limit
    )
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(purged).unwrap_or_default())
}
