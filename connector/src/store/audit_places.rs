//! Where sources of session audit are read, and for whom: queue, leases and checkpoints.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Result,
    audit_events::{self, New},
    expect_one, stored,
};
use crate::model::{
    attribution::Candidate,
    failure::ReasonCode,
    ids::{AccountId, ConnectorId, IntegrationId, Region},
    problem::{EXAMPLES_MAX, Folded},
};

/// A session that was open when its unit ended goes on for as long at least.
const SESSION_MIN_S: i32 = 3600;
/// No session of a role goes on for longer.
const SESSION_MAX_S: i32 = 12 * 3600;

/// A place where a source is to be read, leased.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The tenant.
    pub connector: ConnectorId,
    /// Its integration.
    pub integration: IntegrationId,
    /// The source.
    pub source: String,
    /// Account.
    pub account: AccountId,
    /// Region.
    pub region: Region,
    /// Name of the sessions; empty: all.
    pub session_name: String,
    /// What was told before is stored.
    pub read_until: DateTime<Utc>,
    /// When a reading last looked back as far as anything may be late.
    pub swept_until: DateTime<Utc>,
    /// When the last session ends that can be open; none: somebody has access.
    pub over_at: Option<DateTime<Utc>>,
    /// Reads in a row that failed.
    pub failures: u32,
    /// Why not all could be read the last time; empty: it could.
    pub trouble: String,
    /// The database's time of the lease.
    pub now: DateTime<Utc>,
    /// The lease.
    pub token: Uuid,
}

/// Leases a place that is to be read.
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
        r#"UPDATE connector.audit_places p
         SET lease_token = $2, leased_until = connector.now() + make_interval(secs => $3)
         FROM (
             SELECT connector_id, integration_id, source, account_id, region, session_name
             FROM connector.audit_places
             WHERE connector_id = ANY ($1) AND next_at <= connector.now()
               AND (leased_until IS NULL OR leased_until < connector.now())
             ORDER BY next_at LIMIT 1
             FOR UPDATE SKIP LOCKED) AS due
         CROSS JOIN LATERAL (
             -- Nobody has anything there whose grants were all erased.
             SELECT CASE WHEN count(*) = 0 THEN 'epoch'::timestamptz
                 WHEN bool_and(u.state IN ('ENDED', 'FAILED'))
                 THEN max(u.state_at + make_interval(secs => least(greatest(u.session_seconds, $4), $5)))
                 END AS at
             FROM connector.audited_units a
             JOIN connector.units u USING (connector_id, grant_id, number)
             WHERE (a.connector_id, a.integration_id, a.account_id)
                 = (due.connector_id, due.integration_id, due.account_id)
               AND (due.session_name = '' OR a.session_name = due.session_name)
               AND u.active_at IS NOT NULL) AS over
         WHERE (p.connector_id, p.integration_id, p.source, p.account_id, p.region, p.session_name)
             = (due.connector_id, due.integration_id, due.source, due.account_id, due.region,
                 due.session_name)
         RETURNING p.connector_id, p.integration_id, p.source, p.account_id, p.region,
             p.session_name, p.read_until, p.swept_until, p.failures, p.trouble,
             over.at AS over_at, connector.now() AS "now!""#,
        &super::texts(connectors),
        token,
        length.as_secs_f64(),
        SESSION_MIN_S,
        SESSION_MAX_S
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        const TABLE: &str = "audit_places";
        Ok(Leased {
            connector: stored(TABLE, "connector_id", row.connector_id.parse())?,
            integration: IntegrationId(row.integration_id),
            source: row.source,
            account: stored(TABLE, "account_id", row.account_id.parse())?,
            region: stored(TABLE, "region", row.region.parse())?,
            session_name: row.session_name,
            read_until: row.read_until,
            swept_until: row.swept_until,
            over_at: row.over_at,
            failures: u32::try_from(row.failures).unwrap_or_default(),
            trouble: row.trouble,
            now: row.now,
            token,
        })
    })
    .transpose()
}

/// The units with whose access somebody may have done something in a place since a time.
///
/// # Errors
///
/// When the database does not answer.
pub async fn candidates(
    conn: &mut PgConnection,
    place: &Leased,
    since: DateTime<Utc>,
) -> Result<Vec<Candidate>> {
    let rows = sqlx::query!(
        r#"SELECT a.grant_id, a.session_name, a.permission_set, a.role_id, a.actions, u.resource,
             g.created_at,
             u.active_at AS "active_at!",
             least(greatest(u.session_seconds, $6), $7) AS "session_seconds!",
             CASE WHEN u.state IN ('ENDED', 'FAILED') THEN u.state_at END AS ended_at,
             a.was_there
           FROM connector.audited_units a
           JOIN connector.units u USING (connector_id, grant_id, number)
           JOIN connector.grants g USING (connector_id, grant_id)
           WHERE a.connector_id = $1 AND a.integration_id = $2 AND a.account_id = $3
             AND ($4 = '' OR a.session_name = $4) AND u.active_at IS NOT NULL
             AND (u.state NOT IN ('ENDED', 'FAILED')
                 OR u.state_at + make_interval(secs => $7) >= $5)"#,
        place.connector.as_str(),
        place.integration.0,
        place.account.as_str(),
        place.session_name,
        since,
        SESSION_MIN_S,
        SESSION_MAX_S
    )
    .fetch_all(conn)
    .await?;
    let candidates = rows.into_iter().map(|row| Candidate {
        grant: row.grant_id,
        session_name: row.session_name,
        permission_set: row.permission_set,
        role_id: row.role_id,
        resource: row.resource,
        actions: row.actions,
        was_there: row.was_there,
        granted_at: row.created_at,
        active_at: row.active_at,
        ended_at: row.ended_at,
        session: TimeDelta::seconds(row.session_seconds.into()),
    });
    Ok(candidates.collect())
}

/// Stores what was done, each event once, and how far a place was read; the lease goes on.
///
/// # Errors
///
/// When the lease was lost.
pub async fn store(
    conn: &mut PgConnection,
    place: &Leased,
    events: &[New],
    read_until: DateTime<Utc>,
    length: Duration,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.audit_places
         SET read_until = greatest(read_until, $7),
             leased_until = connector.now() + make_interval(secs => $8)
         WHERE connector_id = $1 AND integration_id = $2 AND source = $9 AND account_id = $3
           AND region = $4 AND session_name = $5 AND lease_token = $6",
        place.connector.as_str(),
        place.integration.0,
        place.account.as_str(),
        place.region.as_str(),
        place.session_name,
        place.token,
        read_until,
        length.as_secs_f64(),
        place.source
    )
    .execute(&mut *conn)
    .await?;
    expect_one(&done)?;
    audit_events::insert(conn, place, events).await
}

/// What came of the reading of a place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Came<'a> {
    /// It was read up to the time of the lease.
    pub is_read: bool,
    /// It looked back as far as anything may be late.
    pub is_swept: bool,
    /// Why not all of it could be read; empty: it could.
    pub trouble: &'a str,
}

/// Ends the reading of a place, until another time (none: nobody can do anything there any more).
///
/// # Errors
///
/// When the lease was lost.
pub async fn end(
    conn: &mut PgConnection,
    place: &Leased,
    next_at: Option<DateTime<Utc>>,
    came: Came<'_>,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.audit_places
         SET lease_token = NULL, leased_until = NULL, trouble = $8,
             -- Whoever wants it read again has asked since.
             next_at = CASE WHEN next_at > $11 THEN least(next_at, $7) ELSE $7 END,
             read_at = CASE WHEN $9 THEN connector.now() ELSE read_at END,
             swept_until = CASE WHEN $10 THEN $11 ELSE swept_until END,
             failures = CASE WHEN $9 OR $8 = '' THEN 0 ELSE failures + 1 END
         WHERE connector_id = $1 AND integration_id = $2 AND source = $12 AND account_id = $3
           AND region = $4 AND session_name = $5 AND lease_token = $6",
        place.connector.as_str(),
        place.integration.0,
        place.account.as_str(),
        place.region.as_str(),
        place.session_name,
        place.token,
        next_at,
        came.trouble,
        came.is_read,
        came.is_swept,
        place.now,
        place.source
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// What of an integration cannot be read, and why. Whoever asks next waits for the end of the transaction.
///
/// # Errors
///
/// When the database does not answer.
pub async fn problems(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Vec<Folded>> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('audit problems ' || $1, 0))",
        integration.to_string()
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        r#"SELECT trouble AS "trouble!", count(*) AS "count!",
             (array_agg(DISTINCT place))[1:$3] AS "examples!"
           FROM (
               SELECT trouble, account_id || ' ' || region AS place
               FROM connector.audit_places
               WHERE connector_id = $1 AND integration_id = $2 AND trouble <> ''
                 AND next_at IS NOT NULL
               UNION ALL
               SELECT trouble, 'the queue' FROM connector.trail_queues
               WHERE connector_id = $1 AND integration_id = $2 AND trouble <> ''
               UNION ALL
               SELECT trouble, account_id FROM connector.audited_units
               WHERE connector_id = $1 AND integration_id = $2 AND trouble <> ''
                 AND find_at IS NOT NULL) AS all_of_them
           GROUP BY trouble"#,
        connector.as_str(),
        integration.0,
        i32::try_from(EXAMPLES_MAX).unwrap_or(i32::MAX)
    )
    .fetch_all(conn)
    .await?;
    let folded = rows.into_iter().map(|row| Folded {
        code: ReasonCode::AuditUnread,
        subject: row.trouble,
        count: row.count,
        examples: row.examples,
    });
    Ok(folded.collect())
}

/// How far a source was read for a grant.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The source; empty: none yet.
    pub source: String,
    /// Account.
    pub account: String,
    /// Region.
    pub region: String,
    /// All that was told before is stored; none: nothing was read.
    pub read_until: Option<DateTime<Utc>>,
    /// Nobody can do anything there any more, and all was read.
    pub is_done: bool,
    /// Why it cannot be read; empty: it can.
    pub trouble: String,
}

/// Where sources are read for a grant.
///
/// # Errors
///
/// When the database does not answer.
pub async fn reaches(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grant: &str,
) -> Result<Vec<Reach>> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT a.account_id, coalesce(p.source, '') AS "source!",
             coalesce(p.region, '') AS "region!",
             CASE WHEN p.read_at IS NOT NULL THEN p.read_until END AS read_until,
             coalesce(p.next_at IS NULL AND p.read_at IS NOT NULL AND p.trouble = '', false)
                 AS "is_done!",
             coalesce(nullif(a.trouble, ''), p.trouble, '') AS "trouble!"
           FROM connector.audited_units a
           LEFT JOIN connector.audit_places p
             ON p.connector_id = a.connector_id AND p.integration_id = a.integration_id
               AND p.account_id = a.account_id AND p.session_name IN (a.session_name, '')
           WHERE a.connector_id = $1 AND a.grant_id = $2
           ORDER BY a.account_id, 2, 3"#,
        connector.as_str(),
        grant
    )
    .fetch_all(conn)
    .await?;
    let reaches = rows.into_iter().map(|row| Reach {
        source: row.source,
        account: row.account_id,
        region: row.region,
        read_until: row.read_until,
        is_done: row.is_done,
        trouble: row.trouble,
    });
    Ok(reaches.collect())
}

/// Has the places of a grant read now that were not for a while.
///
/// # Errors
///
/// When the database does not answer.
pub async fn hurry(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grant: &str,
    fresh: Duration,
) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.audit_places p SET next_at = connector.now()
         FROM connector.audited_units a
         WHERE a.connector_id = $1 AND a.grant_id = $2
           AND p.connector_id = a.connector_id AND p.integration_id = a.integration_id
           AND p.account_id = a.account_id AND p.session_name IN (a.session_name, '')
           AND p.failures = 0 AND (p.next_at > connector.now() OR p.leased_until > connector.now())
           AND (p.read_at IS NULL OR p.read_at < connector.now() - make_interval(secs => $3))",
        connector.as_str(),
        grant,
        fresh.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether anything of a grant is due to be read, or the role of a unit that is there is looked for.
///
/// # Errors
///
/// When the database does not answer.
pub async fn is_due(conn: &mut PgConnection, connector: &ConnectorId, grant: &str) -> Result<bool> {
    let row = sqlx::query!(
        r#"SELECT EXISTS (
             SELECT FROM connector.audited_units a
             JOIN connector.units u USING (connector_id, grant_id, number)
             LEFT JOIN connector.audit_places p
               ON p.connector_id = a.connector_id AND p.integration_id = a.integration_id
                 AND p.account_id = a.account_id AND p.session_name IN (a.session_name, '')
             WHERE a.connector_id = $1 AND a.grant_id = $2
               AND (p.next_at <= connector.now()
                   OR (a.find_at IS NOT NULL AND u.active_at IS NOT NULL AND a.failures = 0))
           ) AS "is_due!""#,
        connector.as_str(),
        grant
    )
    .fetch_one(conn)
    .await?;
    Ok(row.is_due)
}

/// Reads a source of an integration no more.
///
/// # Errors
///
/// When the database does not answer.
pub async fn forget(
    conn: &mut PgConnection,
    (connector, integration): (&ConnectorId, IntegrationId),
    source: &str,
) -> Result<()> {
    sqlx::query!(
        "DELETE FROM connector.audit_places
         WHERE connector_id = $1 AND integration_id = $2 AND source = $3",
        connector.as_str(),
        integration.0,
        source
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Has a source that tells of whole accounts read now for an integration, whose settings have changed: where it
/// was, it goes on from there; else from the first grant on whose access was over no longer ago than that.
///
/// # Errors
///
/// When the database does not answer.
pub async fn look_now(
    conn: &mut PgConnection,
    (connector, integration): (&ConnectorId, IntegrationId),
    source: &str,
    over: TimeDelta,
) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.audit_places
         SET next_at = connector.now(), lease_token = NULL, leased_until = NULL, failures = 0
         WHERE connector_id = $1 AND integration_id = $2 AND source = $3 AND next_at IS NOT NULL",
        connector.as_str(),
        integration.0,
        source
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO connector.audit_places
             (connector_id, integration_id, source, account_id, region, session_name, read_until,
              swept_until, next_at)
         SELECT o.connector_id, o.integration_id, $3, o.account_id, o.region, '',
             min(g.created_at), min(g.created_at), connector.now()
         FROM connector.audit_places o
         JOIN connector.audited_units a USING (connector_id, integration_id, account_id)
         JOIN connector.units u USING (connector_id, grant_id, number)
         JOIN connector.grants g USING (connector_id, grant_id)
         WHERE o.connector_id = $1 AND o.integration_id = $2
           AND a.session_name = o.session_name AND a.find_at IS NULL AND u.active_at IS NOT NULL
           AND (u.state NOT IN ('ENDED', 'FAILED')
               OR u.state_at > connector.now() - make_interval(secs => $4))
         GROUP BY o.connector_id, o.integration_id, o.account_id, o.region
         ON CONFLICT DO NOTHING",
        connector.as_str(),
        integration.0,
        source,
        over.to_std().unwrap_or_default().as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(())
}
