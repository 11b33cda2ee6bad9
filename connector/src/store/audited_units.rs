//! The units whose sessions are audited, and the roles that these are of.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, expect_one, stored};
use crate::model::ids::{AccountId, ConnectorId, IntegrationId, Region};

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
    /// Since when it is over; none: it is not.
    pub over_since: Option<DateTime<Utc>>,
    /// The database's time.
    pub now: DateTime<Utc>,
    /// Looks in a row that failed.
    pub failures: u32,
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
             SELECT o.connector_id, o.grant_id, o.number, u.active_at, u.state, u.state_at
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
             CASE WHEN due.state IN ('ENDED', 'FAILED') THEN due.state_at END AS over_since,
             connector.now() AS "now!""#,
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
            over_since: row.over_since,
            now: row.now,
            failures: u32::try_from(row.failures).unwrap_or_default(),
        })
    })
    .transpose()
}

/// Where to look for what is done with a unit's access.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The regions of its account.
    pub regions: Vec<Region>,
    /// The sources that tell of one name at a time.
    pub of_names: Vec<&'static str>,
    /// Those that tell of an account.
    pub of_accounts: Vec<&'static str>,
}

/// Notes the role of a unit (none: it will not be found), and has what is done with it looked for, from the
/// grant on.
///
/// # Errors
///
/// When the database does not answer, or somebody else has found it.
pub async fn found(
    conn: &mut PgConnection,
    unit: &ToFind,
    role: Option<(&str, &str)>,
    look: &Look,
) -> Result<()> {
    let (name, id) = role.unwrap_or_default();
    let done = sqlx::query!(
        "UPDATE connector.audited_units
         SET role_name = $4, role_id = $5, find_at = NULL, failures = 0, trouble = '',
             was_there = EXISTS (
                 SELECT FROM connector.holdings h
                 JOIN connector.targets t ON t.connector_id = h.connector_id AND t.id = h.target_id
                 WHERE (h.connector_id, h.grant_id, h.number) = ($1, $2, $3) AND t.origin = 'found')
         WHERE connector_id = $1 AND grant_id = $2 AND number = $3 AND find_at IS NOT NULL",
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
             (connector_id, integration_id, source, account_id, region, session_name, read_until,
              swept_until, next_at)
         SELECT a.connector_id, a.integration_id, source, a.account_id, region,
             CASE WHEN source = ANY ($5) THEN a.session_name ELSE '' END,
             g.created_at, g.created_at, connector.now()
         FROM connector.audited_units a
         JOIN connector.grants g USING (connector_id, grant_id)
         CROSS JOIN unnest($4::text[]) AS region
         CROSS JOIN unnest($5::text[] || $6::text[]) AS source
         WHERE a.connector_id = $1 AND a.grant_id = $2 AND a.number = $3
           -- An integration that is gone is not read any more.
           AND EXISTS (SELECT FROM connector.integrations i
                       WHERE i.connector_id = a.connector_id AND i.id = a.integration_id)
         ON CONFLICT (connector_id, integration_id, account_id, region, source, session_name) DO UPDATE
         -- Whoever reads it has not known of this unit, and may be about to end.
         SET next_at = connector.now(), lease_token = NULL, leased_until = NULL,
             -- What was read since the grant was read without knowing of it. Before it, where nobody
             -- could do anything, nothing is missed.
             read_until = CASE WHEN p.next_at IS NULL THEN excluded.read_until
                 ELSE least(p.read_until, excluded.read_until) END,
             swept_until = CASE WHEN p.next_at IS NULL THEN excluded.swept_until
                 ELSE p.swept_until END",
        unit.connector.as_str(),
        unit.grant,
        unit.number,
        &super::texts(&look.regions),
        &named(&look.of_names),
        &named(&look.of_accounts)
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn named(sources: &[&str]) -> Vec<String> {
    sources.iter().map(|one| (*one).to_owned()).collect()
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
         WHERE connector_id = $1 AND grant_id = $2 AND number = $3 AND find_at IS NOT NULL",
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
