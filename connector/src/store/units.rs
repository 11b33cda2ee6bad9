//! Units of grants: one permission on one resource each, with how it stands in AWS.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, expect_one, identity_centers::Held, json, stored};
use crate::model::{
    assignment::InAccount,
    ids::{AccountId, ConnectorId},
    refusal::Refusal,
    unit::UnitState,
};

/// What a unit is about.
#[derive(Clone, Debug, PartialEq)]
pub struct What {
    /// Account that the resource lies in.
    pub account: AccountId,
    /// ARN of the resource; empty: the account itself.
    pub resource: String,
    /// Its type.
    pub resource_type: String,
    /// Its name.
    pub resource_name: String,
    /// What may be done there: for an account the name of a permission set.
    pub permission: String,
    /// How it is given.
    pub mechanism: String,
    /// What that takes, in the mechanism's own words, but for who receives it.
    pub plan: serde_json::Value,
    /// How long its sessions last.
    pub session_seconds: i32,
}

/// A unit, with what is remembered of its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its grant.
    pub grant_id: String,
    /// Which of the grant's units it is.
    pub number: i16,
    /// What it is about.
    pub what: What,
    /// What it opens beside that, as far as AWS has told.
    pub openings: Vec<InAccount>,
    /// State.
    pub state: UnitState,
    /// Since when.
    pub state_at: DateTime<Utc>,
    /// Why it failed.
    pub refusal: Option<Refusal>,
    /// It was there before us.
    pub is_found: bool,
    /// Since when its target does not get on.
    pub stuck_since: Option<DateTime<Utc>>,
    /// Why.
    pub stuck_reason: String,
    /// Until when somebody has the access.
    pub effective_until: Option<DateTime<Utc>>,
    /// Its removal was given up.
    pub is_forgotten: bool,
    /// What was found when it was tried; empty: nothing.
    pub warning: String,
}

/// Stores the units of a grant.
///
/// # Errors
///
/// When the database does not answer.
pub async fn insert(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grant: &str,
    units: &[What],
) -> Result<()> {
    for (number, unit) in units.iter().enumerate() {
        let done = sqlx::query!(
            "INSERT INTO connector.units (connector_id, grant_id, number, account_id, resource,
                 resource_type, resource_name, permission, mechanism, plan, session_seconds)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            connector.as_str(),
            grant,
            i16::try_from(number).unwrap_or(i16::MAX),
            unit.account.as_str(),
            unit.resource,
            unit.resource_type,
            unit.resource_name,
            unit.permission,
            unit.mechanism,
            unit.plan,
            unit.session_seconds
        )
        .execute(&mut *conn)
        .await?;
        expect_one(&done)?;
    }
    Ok(())
}

/// The units of grants, in their order.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grants: &[String],
) -> Result<Vec<Unit>> {
    let rows = sqlx::query!(
        r#"SELECT u.grant_id, u.number, u.account_id, u.resource, u.resource_type,
             u.resource_name, u.permission, u.mechanism, u.plan, u.openings, u.session_seconds, u.state,
             u.state_at, u.refusal, u.finding, u.is_forgotten, u.warning, t.origin = 'found' AS "is_found?",
             stuck.stuck_since AS "stuck_since?", stuck.stuck_reason AS "stuck_reason?",
             CASE WHEN u.state IN ('ENDED', 'FAILED') THEN NULL
             -- What it has put in itself is its own.
             WHEN h.has_share AND u.state IN ('PENDING', 'ACTIVE') THEN own.until
             WHEN h.has_share THEN own.expires_at
             ELSE (
               SELECT max(least(og.expires_at, og.revoked_at))
               FROM connector.holdings o
               JOIN connector.grants og USING (connector_id, grant_id)
               WHERE o.connector_id = u.connector_id AND o.target_id = t.id
                 AND o.state IN ('PENDING', 'ACTIVE')
                 AND least(og.expires_at, og.revoked_at) > connector.now())
             END AS effective_until
           FROM connector.units u
           CROSS JOIN LATERAL (
             SELECT least(g.expires_at, g.revoked_at) AS until, g.expires_at
             FROM connector.grants g
             WHERE (g.connector_id, g.grant_id) = (u.connector_id, u.grant_id)) AS own
           -- The target of the last stage is what opens the access.
           LEFT JOIN LATERAL (
             SELECT last.target_id, bool_or(last.share IS NOT NULL) OVER () AS has_share
             FROM connector.holdings last
             WHERE (last.connector_id, last.grant_id, last.number)
                 = (u.connector_id, u.grant_id, u.number)
             ORDER BY last.stage DESC, last.target_id LIMIT 1) AS h ON true
           LEFT JOIN connector.targets t
             ON t.connector_id = u.connector_id AND t.id = h.target_id
           LEFT JOIN LATERAL (
             SELECT s.stuck_since, s.stuck_reason
             FROM connector.holdings held
             JOIN connector.targets s
               ON s.connector_id = held.connector_id AND s.id = held.target_id
             WHERE (held.connector_id, held.grant_id, held.number)
                 = (u.connector_id, u.grant_id, u.number)
               AND held.state NOT IN ('ENDED', 'FAILED') AND s.stuck_since IS NOT NULL
             ORDER BY s.stuck_since LIMIT 1) AS stuck ON true
           WHERE u.connector_id = $1 AND u.grant_id = ANY ($2)
           ORDER BY u.grant_id, u.number"#,
        connector.as_str(),
        grants
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let refusal = match row.refusal {
                Some(code) => {
                    Some(Refusal::new(stored("units", "refusal", code.parse())?, row.finding))
                }
                None => None,
            };
            Ok(Unit {
                grant_id: row.grant_id,
                number: row.number,
                what: What {
                    account: stored("units", "account_id", row.account_id.parse())?,
                    resource: row.resource,
                    resource_type: row.resource_type,
                    resource_name: row.resource_name,
                    permission: row.permission,
                    mechanism: row.mechanism,
                    plan: row.plan,
                    session_seconds: row.session_seconds,
                },
                openings: stored("units", "openings", serde_json::from_value(row.openings))?,
                state: stored("units", "state", row.state.parse())?,
                state_at: row.state_at,
                refusal,
                is_found: row.is_found.unwrap_or_default(),
                stuck_since: row.stuck_since,
                stuck_reason: row.stuck_reason.unwrap_or_default(),
                effective_until: row.effective_until,
                is_forgotten: row.is_forgotten,
                warning: row.warning,
            })
        })
        .collect()
}

/// Notes what a unit opens beside what it says.
///
/// # Errors
///
/// When the unit is gone.
pub async fn set_openings(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    (grant, number): (&str, i16),
    openings: &[InAccount],
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.units SET openings = $4
         WHERE connector_id = $1 AND grant_id = $2 AND number = $3",
        connector.as_str(),
        grant,
        number,
        json("units", "openings", &openings)?
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Has a unit tried a minute after it will have become active: by then what it gives counts.
///
/// # Errors
///
/// When the unit is gone.
pub async fn to_try(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    (grant, number): (&str, i16),
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.units SET try_at = 'infinity'
         WHERE connector_id = $1 AND grant_id = $2 AND number = $3",
        connector.as_str(),
        grant,
        number
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Takes an active unit of an instance that is to be tried, so that nobody else does.
///
/// # Errors
///
/// When the database does not answer.
pub async fn take_untried(conn: &mut PgConnection, held: &Held) -> Result<Option<(String, i16)>> {
    let row = sqlx::query!(
        "UPDATE connector.units SET try_at = NULL
         WHERE (connector_id, grant_id, number) IN (
             SELECT u.connector_id, u.grant_id, u.number
             FROM connector.units u JOIN connector.grants g USING (connector_id, grant_id)
             WHERE u.connector_id = $1 AND g.integration_id = $2
               AND u.try_at <= connector.now() AND u.state = 'ACTIVE'
               AND least(g.expires_at, g.revoked_at) > connector.now()
             ORDER BY u.try_at LIMIT 1
             FOR UPDATE OF u SKIP LOCKED)
         RETURNING grant_id, number",
        held.connector.as_str(),
        held.integration.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.grant_id, row.number)))
}

/// Notes what was found when a unit was tried.
///
/// # Errors
///
/// When the unit is gone.
pub async fn warn(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    (grant, number): (&str, i16),
    warning: &str,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.units SET warning = $4
         WHERE connector_id = $1 AND grant_id = $2 AND number = $3",
        connector.as_str(),
        grant,
        number,
        warning
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Moves a unit on, from the state that the caller has read.
///
/// # Errors
///
/// When somebody else has moved it.
pub async fn set_state(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    (grant, number): (&str, i16),
    (from, to): (UnitState, UnitState),
    refusal: Option<&Refusal>,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.units u
         SET state = $5, state_at = connector.now(), refusal = $6, finding = $7,
             applied_version = g.desired_version,
             active_at = CASE WHEN $5 IN ('ACTIVE', 'REVOKING', 'SETTLING')
                 THEN coalesce(u.active_at, connector.now()) ELSE u.active_at END,
             try_at = CASE
                 WHEN u.try_at IS NULL OR $5 NOT IN ('PENDING', 'ACTIVE') THEN NULL
                 WHEN $5 = 'ACTIVE' THEN connector.now() + interval '1 minute'
                 ELSE u.try_at END
         FROM connector.grants g
         WHERE u.connector_id = $1 AND u.grant_id = $2 AND u.number = $3 AND u.state = $4
           AND g.connector_id = u.connector_id AND g.grant_id = u.grant_id",
        connector.as_str(),
        grant,
        number,
        from.as_str(),
        to.as_str(),
        refusal.map(|refusal| refusal.code.as_str()),
        refusal.map_or("", |refusal| refusal.finding.as_str())
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Gives up the units of a locked grant that are over and not gone, and the targets of all of its
/// units that nobody else holds. Returns how many of both.
///
/// # Errors
///
/// When the database does not answer.
pub async fn forget(conn: &mut PgConnection, connector: &ConnectorId, grant: &str) -> Result<u64> {
    // First the locks: who else holds a target is asked when nobody can come any more.
    let held = sqlx::query_scalar!(
        r#"SELECT id FROM connector.targets
         WHERE connector_id = $1 AND next_at IS NOT NULL AND id IN (
             SELECT target_id FROM connector.holdings
             WHERE connector_id = $1 AND grant_id = $2)
         ORDER BY object_key COLLATE "C", id FOR UPDATE"#,
        connector.as_str(),
        grant
    )
    .fetch_all(&mut *conn)
    .await?;
    let targets = sqlx::query!(
        "UPDATE connector.targets t
         SET next_at = NULL, failures = 0, stuck_since = NULL, stuck_reason = '',
             -- What was under way holds up nobody, and is remembered as a doubt.
             doubt_create = doubt_create OR coalesce(intent_verb = 'create', false),
             doubt_delete = doubt_delete OR coalesce(intent_verb = 'delete', false),
             intent_verb = NULL, intent_since = NULL, intent_request = NULL,
             intent_settled_before = NULL, intent_origin_before = NULL
         WHERE connector_id = $1 AND id = ANY ($3) AND NOT EXISTS (
             SELECT FROM connector.holdings other
             WHERE other.connector_id = $1 AND other.target_id = t.id
               AND other.grant_id <> $2 AND other.state NOT IN ('ENDED', 'FAILED'))",
        connector.as_str(),
        grant,
        &held
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE connector.holdings SET state = 'ENDED'
         WHERE connector_id = $1 AND grant_id = $2 AND state NOT IN ('ENDED', 'FAILED')",
        connector.as_str(),
        grant
    )
    .execute(&mut *conn)
    .await?;
    let units = sqlx::query!(
        "UPDATE connector.units
         SET state = 'ENDED', state_at = connector.now(), is_forgotten = true
         WHERE connector_id = $1 AND grant_id = $2 AND state NOT IN ('ENDED', 'FAILED')",
        connector.as_str(),
        grant
    )
    .execute(conn)
    .await?;
    Ok(targets.rows_affected() + units.rows_affected())
}
