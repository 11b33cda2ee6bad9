//! The queues that are told of new log files of trails.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, expect_one, stored};
use crate::model::ids::{AccountId, ConnectorId, IntegrationId, Region};

/// A queue that is to be asked, leased.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The tenant.
    pub connector: ConnectorId,
    /// Its integration.
    pub integration: IntegrationId,
    /// Looks in a row that failed.
    pub failures: u32,
    /// Why it could not be read the last time; empty: it could.
    pub trouble: String,
    /// The database's time of the lease.
    pub now: DateTime<Utc>,
    /// The lease.
    pub token: Uuid,
}

/// Leases a queue that is to be asked.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lease(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
    token: Uuid,
    length: Duration,
) -> Result<Option<Leased>> {
    let row = sqlx::query!(
        r#"INSERT INTO connector.trail_queues AS q
               (connector_id, integration_id, lease_token, leased_until)
           SELECT i.connector_id, i.id, $2, connector.now() + make_interval(secs => $3)
           FROM connector.integrations i
           LEFT JOIN connector.trail_queues o ON o.connector_id = i.connector_id AND o.integration_id = i.id
           WHERE i.connector_id = ANY ($1) AND (i.settings->>'audit_enabled')::boolean
             AND i.settings->'trail'->>'queue_url' IS NOT NULL
             AND (o.next_at IS NULL OR o.next_at <= connector.now())
             AND (o.leased_until IS NULL OR o.leased_until < connector.now())
           ORDER BY o.next_at NULLS FIRST LIMIT 1
           ON CONFLICT (connector_id, integration_id) DO UPDATE
           SET lease_token = excluded.lease_token, leased_until = excluded.leased_until
           -- Somebody else may have been faster.
           WHERE q.next_at <= connector.now()
             AND (q.leased_until IS NULL OR q.leased_until < connector.now())
           RETURNING q.connector_id, q.integration_id, q.failures, q.trouble,
             connector.now() AS "now!""#,
        &super::texts(connectors),
        token,
        length.as_secs_f64()
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Leased {
            connector: stored("trail_queues", "connector_id", row.connector_id.parse())?,
            integration: IntegrationId(row.integration_id),
            failures: u32::try_from(row.failures).unwrap_or_default(),
            trouble: row.trouble,
            now: row.now,
            token,
        })
    })
    .transpose()
}

/// Has the places read now of which a queue told; the lease goes on.
///
/// # Errors
///
/// When the lease was lost.
pub async fn tell(
    conn: &mut PgConnection,
    queue: &Leased,
    source: &str,
    places: &[(AccountId, Region)],
    length: Duration,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.trail_queues
         SET leased_until = connector.now() + make_interval(secs => $4)
         WHERE connector_id = $1 AND integration_id = $2 AND lease_token = $3",
        queue.connector.as_str(),
        queue.integration.0,
        queue.token,
        length.as_secs_f64()
    )
    .execute(&mut *conn)
    .await?;
    expect_one(&done)?;
    let accounts: Vec<String> = places.iter().map(|(account, _)| account.to_string()).collect();
    let regions: Vec<String> = places.iter().map(|(_, region)| region.to_string()).collect();
    sqlx::query!(
        "UPDATE connector.audit_places p SET next_at = connector.now()
         FROM unnest($4::text[], $5::text[]) AS told (account_id, region)
         WHERE p.connector_id = $1 AND p.integration_id = $2 AND p.source = $3
           AND p.account_id = told.account_id AND p.region = told.region
           -- One that fails waits its time.
           AND p.failures = 0
           AND (p.next_at > connector.now() OR p.leased_until > connector.now())",
        queue.connector.as_str(),
        queue.integration.0,
        source,
        &accounts,
        &regions
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the lease, until another time.
///
/// # Errors
///
/// When the lease was lost.
pub async fn end(
    conn: &mut PgConnection,
    queue: &Leased,
    next_at: DateTime<Utc>,
    (trouble, failures): (&str, u32),
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.trail_queues
         SET lease_token = NULL, leased_until = NULL, next_at = $4, trouble = $5,
             failures = $6
         WHERE connector_id = $1 AND integration_id = $2 AND lease_token = $3",
        queue.connector.as_str(),
        queue.integration.0,
        queue.token,
        next_at,
        trouble,
        i32::try_from(failures).unwrap_or(i32::MAX)
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Asks the queue of an integration no more.
///
/// # Errors
///
/// When the database does not answer.
pub async fn forget(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<()> {
    sqlx::query!(
        "DELETE FROM connector.trail_queues WHERE connector_id = $1 AND integration_id = $2",
        connector.as_str(),
        integration.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
