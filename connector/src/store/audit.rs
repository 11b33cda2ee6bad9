//! Session audit: the roles whose sessions are audited, where the event history is read for them, and what
//! was done.

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

/// Which sessions a unit lets its recipient open.
#[derive(Clone, Debug)]
pub struct Audited {
    /// Account.
    pub account: AccountId,
    /// Name of the permission set whose role they use.
    pub permission_set: String,
    /// What is allowed with it; empty: whatever the permission set does.
    pub actions: Vec<String>,
}

/// A unit whose role is to be found.
#[derive(Clone, Debug)]
pub struct ToFind {
    /// The tenant.
    pub connector: ConnectorId,
    /// Its integration.
    pub integration: IntegrationId,
    /// Its grant.
    pub grant: String,
    /// Which of the grant's units it is.
    pub number: i16,
    /// Account of the role.
    pub account: AccountId,
    /// Name of the permission set.
    pub permission_set: String,
    /// Whether it was ever active.
    pub was_active: bool,
    /// Whether it is over.
    pub is_over: bool,
    /// Looks in a row that failed.
    pub failures: u32,
}

/// A place whose event history is to be read for somebody, leased.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The tenant.
    pub connector: ConnectorId,
    /// Its integration.
    pub integration: IntegrationId,
    /// Account.
    pub account: AccountId,
    /// Region.
    pub region: Region,
    /// Name of the sessions.
    pub session_name: String,
    /// What was told before is stored.
    pub read_until: DateTime<Utc>,
    /// When the last session ends that can be open; none: somebody has access.
    pub over_at: Option<DateTime<Utc>>,
    /// Reads in a row that failed.
    pub failures: u32,
    /// The database's time of the lease.
    pub now: DateTime<Utc>,
    /// The lease.
    pub token: Uuid,
}

/// Notes which sessions a unit will let its recipient open, if the sessions of its integration are audited.
///
/// # Errors
///
/// When the database does not answer.
pub async fn expect(
    conn: &mut PgConnection,
    (connector, integration): (&ConnectorId, IntegrationId),
    (grant, number): (&str, i16),
    user_name: &str,
    audited: &Audited,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO connector.audited_units
             (connector_id, grant_id, number, integration_id, account_id, permission_set,
              session_name, actions)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT DO NOTHING",
        connector.as_str(),
        grant,
        number,
        integration.0,
        audited.account.as_str(),
        audited.permission_set,
        user_name,
        &audited.actions
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a unit whose role is to be found: one that has become active, or is over. Nobody else takes it
/// for a while.
///
/// # Errors
///
/// When the database does not answer.
pub async fn take_to_find(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
    length: Duration,
) -> Result<Option<ToFind>> {
    let row = sqlx::query!(
        r#"UPDATE connector.audited_units a
         SET find_at = connector.now() + make_interval(secs => $2)
         FROM (
             SELECT o.connector_id, o.grant_id, o.number, u.active_at, u.state
             FROM connector.audited_units o
             JOIN connector.units u USING (connector_id, grant_id, number)
             WHERE o.connector_id = ANY ($1) AND o.find_at <= connector.now()
               AND (u.active_at IS NOT NULL OR u.state IN ('ENDED', 'FAILED'))
             ORDER BY o.find_at LIMIT 1
             FOR UPDATE OF o SKIP LOCKED) AS due
         WHERE (a.connector_id, a.grant_id, a.number)
             = (due.connector_id, due.grant_id, due.number)
         RETURNING a.connector_id, a.grant_id, a.number, a.integration_id, a.account_id,
             a.permission_set, a.failures, due.active_at IS NOT NULL AS "was_active!",
             due.state IN ('ENDED', 'FAILED') AS "is_over!""#,
        &super::texts(connectors),
        length.as_secs_f64()
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        const TABLE: &str = "audited_units";
        Ok(ToFind {
            connector: stored(TABLE, "connector_id", row.connector_id.parse())?,
            integration: IntegrationId(row.integration_id),
            grant: row.grant_id,
            number: row.number,
            account: stored(TABLE, "account_id", row.account_id.parse())?,
            permission_set: row.permission_set,
            was_active: row.was_active,
            is_over: row.is_over,
            failures: u32::try_from(row.failures).unwrap_or_default(),
        })
    })
    .transpose()
}

/// Notes the role of a unit (none: it will not be found), and has the event history of its account read in
/// these regions, from the grant on.
///
/// # Errors
///
/// When the database does not answer, or the unit is gone.
pub async fn found(
    conn: &mut PgConnection,
    unit: &ToFind,
    role: Option<(&str, &str)>,
    regions: &[Region],
) -> Result<()> {
    let (name, id) = role.unwrap_or_default();
    let done = sqlx::query!(
        "UPDATE connector.audited_units
         SET role_name = $4, role_id = $5, find_at = NULL, failures = 0, trouble = ''
         WHERE connector_id = $1 AND grant_id = $2 AND number = $3",
        unit.connector.as_str(),
        unit.grant,
        unit.number,
        name,
        id
    )
    .execute(&mut *conn)
    .await?;
    expect_one(&done)?;
    sqlx::query!(
        "INSERT INTO connector.audit_places AS p
             (connector_id, integration_id, account_id, region, session_name, read_until, next_at)
         SELECT a.connector_id, a.integration_id, a.account_id, region, a.session_name,
             g.created_at, connector.now()
         FROM connector.audited_units a
         JOIN connector.grants g USING (connector_id, grant_id)
         CROSS JOIN unnest($4::text[]) AS region
         WHERE a.connector_id = $1 AND a.grant_id = $2 AND a.number = $3
           -- An integration that is gone is not read any more.
           AND EXISTS (SELECT FROM connector.integrations i
                       WHERE i.connector_id = a.connector_id AND i.id = a.integration_id)
         ON CONFLICT (connector_id, integration_id, account_id, region, session_name) DO UPDATE
         -- Whoever reads it has not known of this unit, and may be about to end.
         SET next_at = connector.now(), lease_token = NULL, leased_until = NULL,
             -- Where nobody could do anything nothing is missed.
             read_until = CASE WHEN p.next_at IS NULL
                 THEN greatest(p.read_until, excluded.read_until) ELSE p.read_until END",
        unit.connector.as_str(),
        unit.grant,
        unit.number,
        &super::texts(regions)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes why the role of a unit was not found, and when to look again.
///
/// # Errors
///
/// When the database does not answer.
pub async fn not_found(
    conn: &mut PgConnection,
    unit: &ToFind,
    trouble: &str,
    wait: Duration,
) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.audited_units
         SET find_at = connector.now() + make_interval(secs => $5), failures = failures + 1,
             trouble = $4
         WHERE connector_id = $1 AND grant_id = $2 AND number = $3",
        unit.connector.as_str(),
        unit.grant,
        unit.number,
        trouble,
        wait.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(())
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
             SELECT connector_id, integration_id, account_id, region, session_name
             FROM connector.audit_places
             WHERE connector_id = ANY ($1) AND next_at <= connector.now()
               AND (leased_until IS NULL OR leased_until < connector.now())
             ORDER BY next_at LIMIT 1
             FOR UPDATE SKIP LOCKED) AS due
         CROSS JOIN LATERAL (
             SELECT CASE WHEN bool_and(u.state IN ('ENDED', 'FAILED'))
                 THEN max(u.state_at + make_interval(secs => u.session_seconds)) END AS at
             FROM connector.audited_units a
             JOIN connector.units u USING (connector_id, grant_id, number)
             WHERE (a.connector_id, a.integration_id, a.account_id, a.session_name)
                 = (due.connector_id, due.integration_id, due.account_id, due.session_name)
               AND u.active_at IS NOT NULL) AS over
         WHERE (p.connector_id, p.integration_id, p.account_id, p.region, p.session_name)
             = (due.connector_id, due.integration_id, due.account_id, due.region, due.session_name)
         RETURNING p.connector_id, p.integration_id, p.account_id, p.region, p.session_name,
             p.read_until, p.failures, over.at AS over_at, connector.now() AS "now!""#,
        &super::texts(connectors),
        token,
        length.as_secs_f64()
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        const TABLE: &str = "audit_places";
        Ok(Leased {
            connector: stored(TABLE, "connector_id", row.connector_id.parse())?,
            integration: IntegrationId(row.integration_id),
            account: stored(TABLE, "account_id", row.account_id.parse())?,
            region: stored(TABLE, "region", row.region.parse())?,
            session_name: row.session_name,
            read_until: row.read_until,
            over_at: row.over_at,
            failures: u32::try_from(row.failures).unwrap_or_default(),
            now: row.now,
            token,
        })
    })
    .transpose()
}

/// The units with whose access somebody may have done something in a place.
///
/// # Errors
///
/// When the database does not answer.
pub async fn candidates(conn: &mut PgConnection, place: &Leased) -> Result<Vec<Candidate>> {
    let rows = sqlx::query!(
        r#"SELECT a.grant_id, a.permission_set, a.role_id, a.actions, u.resource, g.created_at,
             u.active_at AS "active_at!", u.session_seconds,
             CASE WHEN u.state IN ('ENDED', 'FAILED') THEN u.state_at END AS ended_at,
             EXISTS (
                 SELECT FROM connector.holdings h
                 JOIN connector.targets t ON t.connector_id = h.connector_id AND t.id = h.target_id
                 WHERE (h.connector_id, h.grant_id, h.number)
                     = (a.connector_id, a.grant_id, a.number) AND t.origin = 'found'
             ) AS "was_there!"
           FROM connector.audited_units a
           JOIN connector.units u USING (connector_id, grant_id, number)
           JOIN connector.grants g USING (connector_id, grant_id)
           WHERE a.connector_id = $1 AND a.integration_id = $2 AND a.account_id = $3
             AND a.session_name = $4 AND u.active_at IS NOT NULL"#,
        place.connector.as_str(),
        place.integration.0,
        place.account.as_str(),
        place.session_name
    )
    .fetch_all(conn)
    .await?;
    let candidates = rows.into_iter().map(|row| Candidate {
        grant: row.grant_id,
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
    source: &str,
    events: &[New],
    read_until: DateTime<Utc>,
    length: Duration,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.audit_places
         SET read_until = greatest(read_until, $7),
             leased_until = connector.now() + make_interval(secs => $8)
         WHERE connector_id = $1 AND integration_id = $2 AND account_id = $3 AND region = $4
           AND session_name = $5 AND lease_token = $6",
        place.connector.as_str(),
        place.integration.0,
        place.account.as_str(),
        place.region.as_str(),
        place.session_name,
        place.token,
        read_until,
        length.as_secs_f64()
    )
    .execute(&mut *conn)
    .await?;
    expect_one(&done)?;
    audit_events::insert(conn, place, source, events).await
}

/// Ends the reading of a place, until another time (none: nobody can do anything there any more), and says
/// why it could not be read; empty: it was.
///
/// # Errors
///
/// When the lease was lost.
pub async fn end(
    conn: &mut PgConnection,
    place: &Leased,
    next_at: Option<DateTime<Utc>>,
    trouble: &str,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.audit_places
         SET lease_token = NULL, leased_until = NULL, next_at = $7, trouble = $8,
             read_at = CASE WHEN $8 = '' THEN connector.now() ELSE read_at END,
             failures = CASE WHEN $8 = '' THEN 0 ELSE failures + 1 END
         WHERE connector_id = $1 AND integration_id = $2 AND account_id = $3 AND region = $4
           AND session_name = $5 AND lease_token = $6",
        place.connector.as_str(),
        place.integration.0,
        place.account.as_str(),
        place.region.as_str(),
        place.session_name,
        place.token,
        next_at,
        trouble
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// What of an integration cannot be read, and why.
///
/// # Errors
///
/// When the database does not answer.
pub async fn problems(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Vec<Folded>> {
    let rows = sqlx::query!(
        r#"SELECT trouble AS "trouble!", count(*) AS "count!",
             (array_agg(DISTINCT place))[1:$3] AS "examples!"
           FROM (
               SELECT trouble, account_id || ' ' || region AS place
               FROM connector.audit_places
               WHERE connector_id = $1 AND integration_id = $2 AND trouble <> ''
               UNION ALL
               SELECT trouble, account_id FROM connector.audited_units
               WHERE connector_id = $1 AND integration_id = $2 AND trouble <> '') AS all_of_them
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

/// How far the event history of a place was read for a grant.
#[derive(Clone, Debug)]
pub struct Reach {
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

/// Where the event history is read for a grant.
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
        r#"SELECT DISTINCT a.account_id, coalesce(p.region, '') AS "region!",
             CASE WHEN p.read_at IS NOT NULL THEN p.read_until END AS read_until,
             coalesce(p.next_at IS NULL AND p.read_at IS NOT NULL, false) AS "is_done!",
             coalesce(nullif(a.trouble, ''), p.trouble, '') AS "trouble!"
           FROM connector.audited_units a
           LEFT JOIN connector.audit_places p
             ON p.connector_id = a.connector_id AND p.integration_id = a.integration_id
               AND p.account_id = a.account_id AND p.session_name = a.session_name
           WHERE a.connector_id = $1 AND a.grant_id = $2
           ORDER BY a.account_id, 2"#,
        connector.as_str(),
        grant
    )
    .fetch_all(conn)
    .await?;
    let reaches = rows.into_iter().map(|row| Reach {
        account: row.account_id,
        region: row.region,
        read_until: row.read_until,
        is_done: row.is_done,
        trouble: row.trouble,
    });
    Ok(reaches.collect())
}
