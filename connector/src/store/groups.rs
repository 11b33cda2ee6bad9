//! Leased groups of scopes: queue entry, lease and fence in one row.
//!
//! Lock order: group first, before anything else. Every batch of writes begins
//! with [`lock`], which proves the fence under a row lock; a replica that was
//! stopped beyond its lease finds another fence there and writes nothing.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, Result, expect, identity_centers, stored};
use crate::model::{
    ids::{AccountId, ConnectorId, IntegrationId, Region, ReplicaId, SyncId},
    scope::{Group, Place},
};

/// Who asks for groups, and how many it may have.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The replica.
    pub owner: ReplicaId,
    /// The connectors that it hosts, each with the groups of it that the replica holds.
    pub held: &'a [(ConnectorId, i64)],
    /// Groups that it takes at most.
    pub limit: i64,
    /// Groups of one connector that it holds at most.
    pub limit_per_connector: i64,
    /// Length of a lease.
    pub length: Duration,
}

/// Takes open groups that nobody holds, in a fair order: connectors get equal numbers of
/// places, whatever waits for each; so do the syncs of a connector; within a sync, every
/// account has its n-th turn before any has its next, and of one turn the group that is
/// expected to take longest goes first. The organization's group comes with the lease of
/// its Identity Center instance, or not at all.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lease(conn: &mut PgConnection, wish: Wish<'_>) -> Result<Vec<Group>> {
    let connectors: Vec<String> = wish.held.iter().map(|(id, _)| id.to_string()).collect();
    let held: Vec<i64> = wish.held.iter().map(|(_, held)| *held).collect();
    let rows = sqlx::query!(
        r#"WITH wanted AS (
             SELECT c.connector_id, c.held, s.id AS sync_id, s.integration_id, s.generation,
                 g.account_id, g.region, g.turn, g.expected_ms,
                 row_number() OVER (PARTITION BY s.connector_id, s.id
                     ORDER BY g.turn, g.expected_ms DESC, g.account_id, g.region) AS of_sync
             FROM unnest($1::text[], $2::bigint[]) AS c(connector_id, held)
             JOIN connector.syncs s ON s.connector_id = c.connector_id AND s.ended_at IS NULL
             CROSS JOIN LATERAL (
                 SELECT account_id, region, turn, expected_ms
                 FROM connector.sync_groups
                 WHERE connector_id = s.connector_id AND sync_id = s.id AND NOT done
                   AND (leased_until IS NULL OR leased_until < connector.now())
                   AND (account_id <> '' OR NOT EXISTS (
                       SELECT FROM connector.identity_centers d
                       WHERE d.connector_id = s.connector_id
                         AND d.integration_id = s.integration_id
                         AND d.lease_owner <> $5 AND d.leased_until >= connector.now()))
                 ORDER BY turn, expected_ms DESC, account_id, region
                 LIMIT least($3, $4 - c.held)
                 FOR UPDATE SKIP LOCKED) AS g
             WHERE c.held < $4),
           by_connector AS (
             SELECT *, held + row_number() OVER (PARTITION BY connector_id
                 ORDER BY of_sync, turn, expected_ms DESC, sync_id) AS place
             FROM wanted),
           chosen AS (
             SELECT * FROM by_connector WHERE place <= $4
             ORDER BY place, turn, connector_id LIMIT $3),
           identity_centers AS (
             INSERT INTO connector.identity_centers AS d
                 (connector_id, integration_id, lease_owner, leased_until, crawl_until)
             SELECT connector_id, integration_id, $5, until, until
             FROM chosen
             CROSS JOIN (SELECT connector.now() + make_interval(secs => $6) AS until) AS lease
             WHERE account_id = ''
             ON CONFLICT (connector_id, integration_id) DO UPDATE
             SET lease_owner = excluded.lease_owner,
                 crawl_until = excluded.crawl_until,
                 grants_until =
                     CASE WHEN d.lease_owner = excluded.lease_owner THEN d.grants_until END,
                 leased_until = CASE WHEN d.lease_owner = excluded.lease_owner
                     THEN greatest(excluded.leased_until, d.grants_until)
                     ELSE excluded.leased_until END,
                 fence = CASE WHEN d.lease_owner = excluded.lease_owner THEN d.fence
                     ELSE nextval('connector.identity_center_fences') END
             WHERE d.lease_owner = excluded.lease_owner OR d.leased_until < connector.now()
             RETURNING d.connector_id, d.integration_id)
           UPDATE connector.sync_groups g
           SET lease_owner = $5, leased_until = connector.now() + make_interval(secs => $6),
               fence = g.fence + 1
           FROM chosen c
           JOIN connector.integrations i
             ON i.connector_id = c.connector_id AND i.id = c.integration_id
           WHERE g.connector_id = c.connector_id AND g.sync_id = c.sync_id
             AND g.account_id = c.account_id AND g.region = c.region
             AND (c.account_id <> '' OR EXISTS (
                 SELECT FROM identity_centers d
                 WHERE d.connector_id = c.connector_id AND d.integration_id = c.integration_id))
           RETURNING g.connector_id, g.sync_id, g.account_id, g.region, g.fence,
               c.integration_id, c.generation, i.version, c.place AS "place!", c.turn"#,
        &connectors,
        &held,
        wish.limit,
        wish.limit_per_connector,
        wish.owner.0,
        wish.length.as_secs_f64()
    )
    .fetch_all(conn)
    .await?;
    let mut leased = rows
        .into_iter()
        .map(|row| {
            let group = Group {
                connector: stored("sync_groups", "connector_id", row.connector_id.parse())?,
                integration: IntegrationId(row.integration_id),
                sync: SyncId(row.sync_id),
                generation: row.generation,
                settings_version: row.version,
                place: stored(
                    "sync_groups",
                    "account_id",
                    Place::from_keys(&row.account_id, &row.region),
                )?,
                owner: wish.owner,
                fence: row.fence,
            };
            Ok((row.place, row.turn, group))
        })
        .collect::<Result<Vec<_>>>()?;
    // An update returns its rows in no order.
    leased.sort_by_key(|(place, turn, _)| (*place, *turn));
    Ok(leased.into_iter().map(|(_, _, group)| group).collect())
}

/// The keys of groups, as SQL takes them.
struct Keys {
    connectors: Vec<String>,
    syncs: Vec<Uuid>,
    accounts: Vec<String>,
    regions: Vec<String>,
    fences: Vec<i64>,
}

impl Keys {
    fn of<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Self {
        let mut keys = Self {
            connectors: Vec::new(),
            syncs: Vec::new(),
            accounts: Vec::new(),
            regions: Vec::new(),
            fences: Vec::new(),
        };
        for group in groups {
            keys.connectors.push(group.connector.to_string());
            keys.syncs.push(group.sync.0);
            keys.accounts.push(group.place.account_key().to_owned());
            keys.regions.push(group.place.region_key().to_owned());
            keys.fences.push(group.fence);
        }
        keys
    }
}

/// Extends the leases of groups that are being read: the fence proves that nobody has
/// taken them since. A row that is locked, as by a batch of our own, is passed over until
/// the next time, so that one cannot cost the others. Answers which of the groups are
/// not ours any more, by their places in `groups`.
///
/// # Errors
///
/// When the database does not answer.
pub async fn heartbeat(
    conn: &mut PgConnection,
    groups: &[Group],
    length: Duration,
) -> Result<Vec<usize>> {
    let keys = Keys::of(groups);
    sqlx::query!(
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
        &keys.connectors,
        &keys.syncs,
        &keys.accounts,
        &keys.regions,
        &keys.fences,
        length.as_secs_f64()
    )
    .execute(&mut *conn)
    .await?;
    identity_centers::extend(conn, groups, length).await?;
    let lost = sqlx::query_scalar!(
        r#"SELECT reading.at AS "at!"
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[])
               WITH ORDINALITY AS reading(connector_id, sync_id, account_id, region, fence, at)
           LEFT JOIN connector.sync_groups g
             USING (connector_id, sync_id, account_id, region, fence)
           LEFT JOIN connector.syncs s
             ON s.connector_id = g.connector_id AND s.id = g.sync_id AND s.ended_at IS NULL
           LEFT JOIN connector.identity_centers d
             ON d.connector_id = s.connector_id AND d.integration_id = s.integration_id
            AND d.lease_owner = g.lease_owner
           WHERE s.id IS NULL
              OR (reading.account_id = '' AND NOT g.done AND d.lease_owner IS NULL)"#,
        &keys.connectors,
        &keys.syncs,
        &keys.accounts,
        &keys.regions,
        &keys.fences
    )
    .fetch_all(conn)
    .await?;
    // SQL counts from one.
    Ok(lost.into_iter().filter_map(|at| usize::try_from(at - 1).ok()).collect())
}

/// Gives back groups that were leased and not begun.
///
/// # Errors
///
/// When the database does not answer.
pub async fn release(conn: &mut PgConnection, groups: &[Group]) -> Result<()> {
    let keys = Keys::of(groups);
    sqlx::query!(
        "UPDATE connector.sync_groups g SET lease_owner = NULL, leased_until = NULL
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[])
             AS held(connector_id, sync_id, account_id, region, fence)
         WHERE (g.connector_id, g.sync_id, g.account_id, g.region, g.fence)
             = (held.connector_id, held.sync_id, held.account_id, held.region, held.fence)
           AND NOT g.done",
        &keys.connectors,
        &keys.syncs,
        &keys.accounts,
        &keys.regions,
        &keys.fences
    )
    .execute(&mut *conn)
    .await?;
    identity_centers::release(conn, groups).await
}

/// Gives up every lease in the database. Only for a process that knows that it is
/// alone: with embedded PostgreSQL, at start.
///
/// # Errors
///
/// When the database does not answer.
pub async fn release_all(conn: &mut PgConnection) -> Result<u64> {
    sqlx::query!("DELETE FROM connector.identity_centers").execute(&mut *conn).await?;
    let done = sqlx::query!(
        "UPDATE connector.sync_groups SET lease_owner = NULL, leased_until = NULL
         WHERE lease_owner IS NOT NULL AND NOT done"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Locks a group's row and proves that the lease is still ours. First in every
/// transaction that writes for a group.
///
/// # Errors
///
/// [`Error::Fenced`] when it is not.
pub async fn lock(conn: &mut PgConnection, group: &Group) -> Result<()> {
    if lock_all(conn, &[group]).await? == [true] { Ok(()) } else { Err(Error::Fenced) }
}

/// Locks the rows of groups of one sync, in the order of their keys, and answers for each
/// whether its lease is still ours. First in every transaction that writes for several
/// groups.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock_all(conn: &mut PgConnection, groups: &[&Group]) -> Result<Vec<bool>> {
    let keys = Keys::of(groups.iter().copied());
    let held = sqlx::query_scalar!(
        r#"SELECT reading.at AS "at!"
           FROM connector.sync_groups g
           JOIN unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[])
               WITH ORDINALITY AS reading(connector_id, sync_id, account_id, region, fence, at)
             USING (connector_id, sync_id, account_id, region, fence)
           JOIN connector.syncs s
             ON s.connector_id = g.connector_id AND s.id = g.sync_id AND s.ended_at IS NULL
           WHERE NOT g.done
           ORDER BY g.connector_id, g.sync_id, g.account_id, g.region
           FOR UPDATE OF g"#,
        &keys.connectors,
        &keys.syncs,
        &keys.accounts,
        &keys.regions,
        &keys.fences
    )
    .fetch_all(conn)
    .await?;
    let mut is_ours = vec![false; groups.len()];
    for at in held {
        if let Some(ours) = usize::try_from(at - 1).ok().and_then(|at| is_ours.get_mut(at)) {
            *ours = true;
        }
    }
    Ok(is_ours)
}

/// Plans one group for each account; it is opened in the first turn. Returns how many.
///
/// # Errors
///
/// When the database does not answer.
pub async fn plan_accounts(
    conn: &mut PgConnection,
    group: &Group,
    accounts: &[AccountId],
) -> Result<i64> {
    let accounts: Vec<String> = accounts.iter().map(ToString::to_string).collect();
    let done = sqlx::query!(
        "INSERT INTO connector.sync_groups
             (connector_id, sync_id, account_id, region, turn, expected_ms)
         SELECT $1, $2, planned.account_id, '', 0, coalesce(lately.expected_ms, 0)
         FROM unnest($3::text[]) AS planned(account_id)
         LEFT JOIN (
             -- An account that holds something slow is opened early.
             SELECT account_id, max(expected_ms) AS expected_ms FROM connector.scopes
             WHERE connector_id = $1 AND integration_id = $4 GROUP BY account_id) AS lately
           USING (account_id)",
        group.connector.as_str(),
        group.sync.0,
        &accounts,
        group.integration.0
    )
    .execute(conn)
    .await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

/// Plans one group for each region of accounts; each account's slowest region has the
/// first turn. Returns how many.
///
/// # Errors
///
/// When the database does not answer.
pub async fn plan_regions<'a>(
    conn: &mut PgConnection,
    (connector, integration, sync): (&ConnectorId, IntegrationId, SyncId),
    regions: impl IntoIterator<Item = (&'a AccountId, &'a Region)>,
) -> Result<i64> {
    let (accounts, regions): (Vec<String>, Vec<String>) = regions
        .into_iter()
        .map(|(account, region)| (account.to_string(), region.to_string()))
        .unzip();
    let done = sqlx::query!(
        "INSERT INTO connector.sync_groups
             (connector_id, sync_id, account_id, region, turn, expected_ms)
         SELECT $1, $2, account_id, region,
             row_number() OVER (PARTITION BY account_id ORDER BY expected_ms DESC, region),
             expected_ms
         FROM (
             SELECT planned.account_id, planned.region,
                 coalesce(sum(s.expected_ms), 0)::integer AS expected_ms
             FROM unnest($3::text[], $4::text[]) AS planned(account_id, region)
             LEFT JOIN connector.scopes s
               ON s.connector_id = $1 AND s.integration_id = $5
              AND s.account_id = planned.account_id AND s.region = planned.region
             GROUP BY planned.account_id, planned.region) AS planned",
        connector.as_str(),
        sync.0,
        &accounts,
        &regions,
        integration.0
    )
    .execute(conn)
    .await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

/// Ends groups whose rows are locked.
///
/// # Errors
///
/// When one of them is not ours.
pub async fn finish(conn: &mut PgConnection, groups: &[&Group]) -> Result<()> {
    let keys = Keys::of(groups.iter().copied());
    let done = sqlx::query!(
        "UPDATE connector.sync_groups g
         SET done = true, lease_owner = NULL, leased_until = NULL
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[])
             AS held(connector_id, sync_id, account_id, region, fence)
         WHERE (g.connector_id, g.sync_id, g.account_id, g.region, g.fence)
             = (held.connector_id, held.sync_id, held.account_id, held.region, held.fence)
           AND NOT g.done",
        &keys.connectors,
        &keys.syncs,
        &keys.accounts,
        &keys.regions,
        &keys.fences
    )
    .execute(&mut *conn)
    .await?;
    expect(groups.len(), &done)?;
    identity_centers::release(conn, groups.iter().copied()).await
}

/// Groups of open syncs, of all connectors.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Nobody holds them.
    pub ready: i64,
    /// Somebody reads them, or is about to.
    pub leased: i64,
}

/// How many groups wait, and how many are being read.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(conn: &mut PgConnection) -> Result<Open> {
    Ok(sqlx::query_as!(
        Open,
        r#"SELECT
             count(*) FILTER (WHERE leased_until IS NULL OR leased_until < connector.now())
                 AS "ready!",
             count(*) FILTER (WHERE leased_until >= connector.now()) AS "leased!"
           FROM connector.sync_groups g
           JOIN connector.syncs s
             ON s.connector_id = g.connector_id AND s.id = g.sync_id AND s.ended_at IS NULL
           WHERE NOT g.done"#
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
