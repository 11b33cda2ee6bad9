//! Leased groups of scopes: queue entry, lease and fence in one row.
//!
//! Lock order: group before sync before resources. Every batch of writes begins
//! with [`lock`], which proves the fence under a row lock; a replica that was
//! stopped beyond its lease finds another fence there and writes nothing.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, Result, expect_one, stored};
use crate::model::{
    ids::{AccountId, ConnectorId, IntegrationId, Region, ReplicaId, SyncId},
    scope::{Group, Place},
};

/// Takes open groups of these connectors that nobody holds, of the longest planned
/// syncs first. What a cancelled sync left behind is never taken.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lease(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
    owner: ReplicaId,
    length: Duration,
    limit: i64,
) -> Result<Vec<Group>> {
    let rows = sqlx::query!(
        "UPDATE connector.sync_groups g
         SET lease_owner = $1, leased_until = connector.now() + make_interval(secs => $2),
             fence = g.fence + 1
         FROM (
             SELECT g.connector_id, g.sync_id, g.account_id, g.region,
                 s.integration_id, s.generation
             FROM connector.sync_groups g
             JOIN connector.syncs s ON s.connector_id = g.connector_id AND s.id = g.sync_id
             WHERE NOT g.done AND (g.leased_until IS NULL OR g.leased_until < connector.now())
               AND s.ended_at IS NULL AND g.connector_id = ANY ($4)
             ORDER BY s.created_at, g.account_id, g.region
             LIMIT $3
             FOR UPDATE OF g SKIP LOCKED) AS ready
         WHERE g.connector_id = ready.connector_id AND g.sync_id = ready.sync_id
           AND g.account_id = ready.account_id AND g.region = ready.region
         RETURNING g.connector_id, g.sync_id, g.account_id, g.region, g.fence,
             ready.integration_id, ready.generation",
        owner.0,
        length.as_secs_f64(),
        limit,
        &super::texts(connectors)
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Group {
                connector: stored("sync_groups", "connector_id", row.connector_id.parse())?,
                integration: IntegrationId(row.integration_id),
                sync: SyncId(row.sync_id),
                generation: row.generation,
                place: stored(
                    "sync_groups",
                    "account_id",
                    Place::from_keys(&row.account_id, &row.region),
                )?,
                owner,
                fence: row.fence,
            })
        })
        .collect()
}

/// Extends the leases of groups that are being read: the fence proves that nobody has
/// taken them since. A row that is locked, as by a batch of our own, is passed over until
/// the next time, so that one cannot cost the others.
///
/// # Errors
///
/// When the database does not answer.
pub async fn heartbeat(conn: &mut PgConnection, groups: &[Group], length: Duration) -> Result<u64> {
    let texts = |text: fn(&Group) -> &str| -> Vec<String> {
        groups.iter().map(|group| text(group).to_owned()).collect()
    };
    let syncs: Vec<Uuid> = groups.iter().map(|group| group.sync.0).collect();
    let fences: Vec<i64> = groups.iter().map(|group| group.fence).collect();
    let done = sqlx::query!(
        "UPDATE connector.sync_groups g
         SET leased_until = connector.now() + make_interval(secs => $6)
         FROM (
             SELECT held.connector_id, held.sync_id, held.account_id, held.region
             FROM connector.sync_groups held
             JOIN unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[])
                 AS reading(connector_id, sync_id, account_id, region, fence)
               USING (connector_id, sync_id, account_id, region, fence)
             WHERE NOT held.done
             FOR UPDATE OF held SKIP LOCKED) AS held
         WHERE g.connector_id = held.connector_id AND g.sync_id = held.sync_id
           AND g.account_id = held.account_id AND g.region = held.region",
        &texts(|group| group.connector.as_str()),
        &syncs,
        &texts(|group| group.place.account_key()),
        &texts(|group| group.place.region_key()),
        &fences,
        length.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Gives up every lease in the database. Only for a process that knows that it is
/// alone: with embedded PostgreSQL, at start.
///
/// # Errors
///
/// When the database does not answer.
pub async fn release_all(conn: &mut PgConnection) -> Result<u64> {
    let done = sqlx::query!(
        "UPDATE connector.sync_groups SET lease_owner = NULL, leased_until = NULL
         WHERE lease_owner IS NOT NULL AND NOT done"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Locks the group's row and proves that the lease is still ours. First in every
/// transaction that writes for a group.
///
/// # Errors
///
/// [`Error::Fenced`] when it is not.
pub async fn lock(conn: &mut PgConnection, group: &Group) -> Result<()> {
    sqlx::query_scalar!(
        "SELECT fence FROM connector.sync_groups
         WHERE connector_id = $1 AND sync_id = $2 AND account_id = $3 AND region = $4
           AND fence = $5 AND NOT done
         FOR UPDATE",
        group.connector.as_str(),
        group.sync.0,
        group.place.account_key(),
        group.place.region_key(),
        group.fence
    )
    .fetch_optional(conn)
    .await?
    .map(|_| ())
    .ok_or(Error::Fenced)
}

/// Plans one group for each account.
///
/// # Errors
///
/// When the database does not answer.
pub async fn plan_accounts(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    sync: SyncId,
    accounts: &[AccountId],
) -> Result<()> {
    let accounts: Vec<String> = accounts.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "INSERT INTO connector.sync_groups (connector_id, sync_id, account_id, region)
         SELECT $1, $2, account_id, '' FROM unnest($3::text[]) AS t(account_id)",
        connector.as_str(),
        sync.0,
        &accounts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Plans one group for each region of an account.
///
/// # Errors
///
/// When the database does not answer.
pub async fn plan_regions(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    sync: SyncId,
    account: &AccountId,
    regions: &[Region],
) -> Result<()> {
    let regions: Vec<String> = regions.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "INSERT INTO connector.sync_groups (connector_id, sync_id, account_id, region)
         SELECT $1, $2, $3, region FROM unnest($4::text[]) AS t(region)",
        connector.as_str(),
        sync.0,
        account.as_str(),
        &regions
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a group whose row is locked.
///
/// # Errors
///
/// When it is not ours.
pub async fn finish(conn: &mut PgConnection, group: &Group) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.sync_groups SET done = true, lease_owner = NULL, leased_until = NULL
         WHERE connector_id = $1 AND sync_id = $2 AND account_id = $3 AND region = $4
           AND fence = $5 AND NOT done",
        group.connector.as_str(),
        group.sync.0,
        group.place.account_key(),
        group.place.region_key(),
        group.fence
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Whether a sync still has groups to read.
///
/// # Errors
///
/// When the database does not answer.
pub async fn any_open(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    sync: SyncId,
) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM connector.sync_groups
             WHERE connector_id = $1 AND sync_id = $2 AND NOT done) AS "open!""#,
        connector.as_str(),
        sync.0
    )
    .fetch_one(conn)
    .await?)
}

/// Removes the groups of syncs that have ended. Returns how many.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(conn: &mut PgConnection) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM connector.sync_groups g USING connector.syncs s
         WHERE s.connector_id = g.connector_id AND s.id = g.sync_id AND s.ended_at IS NOT NULL"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
