//! The one lease of each organization's Identity Center instance.
//!
//! AWS counts calls and running operations by instance, so only who holds its lease calls it,
//! whatever for. The organization's group of a sync is leased together with it
//! ([`super::groups::lease`]): by nobody else while another replica holds it. The crawl and the
//! grants of one replica share it; it is free when neither needs it any more.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, Result};
use crate::model::{
    ids::{ConnectorId, IntegrationId, ReplicaId},
    scope::{Group, Place},
};

/// The lease of an instance, as grants hold it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The tenant.
    pub connector: ConnectorId,
    /// The integration whose instance it is.
    pub integration: IntegrationId,
    /// The replica.
    pub owner: ReplicaId,
    /// Proves it: another owner has another one.
    pub fence: i64,
}

/// Takes or extends the lease for grants; none: another replica holds it.
///
/// # Errors
///
/// When the database does not answer.
pub async fn take(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    owner: ReplicaId,
    length: Duration,
) -> Result<Option<Held>> {
    let fence = sqlx::query_scalar!(
        "INSERT INTO connector.identity_centers AS d
             (connector_id, integration_id, lease_owner, leased_until, grants_until)
         SELECT $1, $2, $3, until, until
         FROM (SELECT connector.now() + make_interval(secs => $4) AS until) AS lease
         ON CONFLICT (connector_id, integration_id) DO UPDATE
         SET lease_owner = excluded.lease_owner,
             grants_until = excluded.grants_until,
             crawl_until = CASE WHEN d.lease_owner = excluded.lease_owner THEN d.crawl_until END,
             leased_until = CASE WHEN d.lease_owner = excluded.lease_owner
                 THEN greatest(excluded.leased_until, d.crawl_until)
                 ELSE excluded.leased_until END,
             fence = CASE WHEN d.lease_owner = excluded.lease_owner THEN d.fence
                 ELSE nextval('connector.identity_center_fences') END
         WHERE d.lease_owner = excluded.lease_owner OR d.leased_until < connector.now()
         RETURNING fence",
        connector.as_str(),
        integration.0,
        owner.0,
        length.as_secs_f64()
    )
    .fetch_optional(conn)
    .await?;
    let connector = connector.clone();
    Ok(fence.map(|fence| Held { connector, integration, owner, fence }))
}

/// Extends the lease for grants, if it is still ours; whether it is.
///
/// # Errors
///
/// When the database does not answer.
pub async fn keep(conn: &mut PgConnection, held: &Held, length: Duration) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE connector.identity_centers
         SET grants_until = connector.now() + make_interval(secs => $4),
             leased_until = greatest(connector.now() + make_interval(secs => $4), crawl_until)
         WHERE connector_id = $1 AND integration_id = $2 AND fence = $3",
        held.connector.as_str(),
        held.integration.0,
        held.fence,
        length.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives the lease up for grants; the crawl of the same replica may keep it.
///
/// # Errors
///
/// When the database does not answer.
pub async fn give_up(conn: &mut PgConnection, held: &Held) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.identity_centers
         SET grants_until = NULL, leased_until = coalesce(crawl_until, '-infinity')
         WHERE connector_id = $1 AND integration_id = $2 AND fence = $3",
        held.connector.as_str(),
        held.integration.0,
        held.fence
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the lease and proves that it is still ours, in the database that was written last. First in
/// every transaction that writes about a target, so that what is under way in an instance is
/// counted by one at a time.
///
/// # Errors
///
/// [`Error::Fenced`] when it is not.
pub async fn lock(conn: &mut PgConnection, held: &Held) -> Result<()> {
    let ours = sqlx::query_scalar!(
        r#"SELECT true AS "ours!" FROM connector.identity_centers
           WHERE connector_id = $1 AND integration_id = $2 AND fence = $3
             AND leased_until >= connector.now() AND NOT connector.is_recovering($1)
           FOR UPDATE"#,
        held.connector.as_str(),
        held.integration.0,
        held.fence
    )
    .fetch_optional(conn)
    .await?;
    if ours.is_some() { Ok(()) } else { Err(Error::Fenced) }
}

/// The instances of these connectors where something is due for grants, and whose lease is free
/// or ours. While a connector is recovering that is what AWS is to tell.
///
/// # Errors
///
/// When the database does not answer.
pub async fn due(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
    owner: ReplicaId,
) -> Result<Vec<(ConnectorId, IntegrationId)>> {
    let rows = sqlx::query!(
        r#"SELECT c.connector_id AS "connector!", i.id AS "integration!"
           FROM unnest($1::text[]) AS c(connector_id)
           JOIN connector.integrations i ON i.connector_id = c.connector_id
           LEFT JOIN connector.identity_centers d
             ON d.connector_id = i.connector_id AND d.integration_id = i.id
           CROSS JOIN LATERAL connector.is_recovering(i.connector_id) AS r(is_recovering)
           WHERE (d.lease_owner IS NULL OR d.lease_owner = $2
                  OR d.leased_until < connector.now())
             AND (CASE WHEN is_recovering THEN
                     i.settings ->> 'sso_region' IS NOT NULL AND NOT EXISTS (
                         SELECT FROM connector.recovery_reads read
                         WHERE read.connector_id = i.connector_id AND read.integration_id = i.id
                           AND read.next_at > connector.now())
                  ELSE EXISTS (
                     SELECT FROM connector.targets t
                     WHERE t.connector_id = i.connector_id AND t.integration_id = i.id
                       AND t.next_at <= connector.now())
                  OR EXISTS (
                     SELECT FROM connector.grants g
                     WHERE g.connector_id = i.connector_id AND g.integration_id = i.id
                       AND g.lookup_at <= connector.now())
                  OR EXISTS (
                     SELECT FROM connector.units u
                     JOIN connector.grants g USING (connector_id, grant_id)
                     WHERE u.connector_id = i.connector_id AND g.integration_id = i.id
                       AND u.try_at <= connector.now() AND u.state = 'ACTIVE'
                       AND least(g.expires_at, g.revoked_at) > connector.now())
                  END
                  OR EXISTS (
                     SELECT FROM connector.lookups l
                     WHERE l.connector_id = i.connector_id AND l.integration_id = i.id
                       AND l.answered_at IS NULL))"#,
        &super::texts(connectors),
        owner.0
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let connector = super::stored("integrations", "connector_id", row.connector.parse())?;
            Ok((connector, IntegrationId(row.integration)))
        })
        .collect()
}

/// The keys of the instances that groups read.
fn keys<'a>(groups: impl IntoIterator<Item = &'a Group>) -> (Vec<String>, Vec<Uuid>, Vec<Uuid>) {
    let mut keys = (Vec::new(), Vec::new(), Vec::new());
    for group in groups.into_iter().filter(|group| group.place == Place::Organization) {
        keys.0.push(group.connector.to_string());
        keys.1.push(group.integration.0);
        keys.2.push(group.owner.0);
    }
    keys
}

/// Extends the leases that groups need; one that a batch of ours is giving up is passed over.
///
/// # Errors
///
/// When the database does not answer.
pub async fn extend(conn: &mut PgConnection, groups: &[Group], length: Duration) -> Result<()> {
    let (connectors, integrations, owners) = keys(groups);
    if connectors.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE connector.identity_centers d
         SET crawl_until = connector.now() + make_interval(secs => $4),
             leased_until = greatest(
                 connector.now() + make_interval(secs => $4), d.grants_until)
         FROM (
             SELECT ours.connector_id, ours.integration_id
             FROM connector.identity_centers ours
             JOIN unnest($1::text[], $2::uuid[], $3::uuid[])
                 AS held(connector_id, integration_id, lease_owner)
               USING (connector_id, integration_id, lease_owner)
             FOR UPDATE OF ours SKIP LOCKED) AS held
         WHERE d.connector_id = held.connector_id AND d.integration_id = held.integration_id",
        &connectors,
        &integrations,
        &owners,
        length.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up the leases that groups needed, unless grants need them, too.
///
/// # Errors
///
/// When the database does not answer.
pub async fn release<'a>(
    conn: &mut PgConnection,
    groups: impl IntoIterator<Item = &'a Group>,
) -> Result<()> {
    let (connectors, integrations, owners) = keys(groups);
    if connectors.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE connector.identity_centers d
         SET crawl_until = NULL, leased_until = coalesce(d.grants_until, '-infinity')
         FROM unnest($1::text[], $2::uuid[], $3::uuid[]) AS held(connector_id, integration_id, owner)
         WHERE (d.connector_id, d.integration_id, d.lease_owner)
             = (held.connector_id, held.integration_id, held.owner)",
        &connectors,
        &integrations,
        &owners
    )
    .execute(conn)
    .await?;
    Ok(())
}
