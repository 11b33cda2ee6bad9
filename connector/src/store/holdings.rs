//! What units need in AWS: which targets, in which stages, and how these stand for them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Result, expect_one, stored};
use crate::model::{
    errand::Errand,
    holding::{Holder, Others},
    ids::{ConnectorId, IntegrationId, TargetId},
    object::Object,
    unit::UnitState,
};

const TABLE: &str = "holdings";

/// Ties a unit to a target, which stands so for it.
///
/// # Errors
///
/// When it is tied to it already.
pub async fn tie(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    (grant, number): (&str, i16),
    (target, state): (TargetId, UnitState),
    object: &Object,
) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO connector.holdings
             (connector_id, grant_id, number, target_id, stage, share, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        connector.as_str(),
        grant,
        number,
        target.0,
        object.stage,
        object.share,
        state.as_str()
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// The target of an object that is ours, holds for somebody until beyond now, and was seen so within a
/// time: whoever comes to hold it until `until` need not look. It is locked.
///
/// # Errors
///
/// When the database does not answer.
pub async fn at_rest(
    conn: &mut PgConnection,
    (connector, integration): (&ConnectorId, IntegrationId),
    object: &Object,
    seen_within: Duration,
    until: DateTime<Utc>,
) -> Result<Option<TargetId>> {
    let id = sqlx::query_scalar!(
        "UPDATE connector.targets t SET unwanted_at = greatest(t.unwanted_at, $6)
         WHERE t.connector_id = $1 AND t.integration_id = $2 AND t.mechanism = $3
           AND t.object_key = $4 AND t.origin = 'made' AND t.next_at IS NOT NULL
           AND t.intent_verb IS NULL AND NOT t.doubt_create AND NOT t.doubt_delete
           AND NOT t.is_adopted AND t.missing_since IS NULL AND t.failures = 0
           AND t.observed_at > connector.now() - make_interval(secs => $5)
           AND EXISTS (
             SELECT FROM connector.holdings h
             JOIN connector.grants g USING (connector_id, grant_id)
             WHERE h.connector_id = t.connector_id AND h.target_id = t.id AND h.state = 'ACTIVE'
               AND least(g.expires_at, g.revoked_at) > connector.now())
         RETURNING id",
        connector.as_str(),
        integration.0,
        object.mechanism,
        object.key,
        seen_within.as_secs_f64(),
        until
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(TargetId))
}

/// The target of an object, if there is one.
///
/// # Errors
///
/// When the database does not answer.
pub async fn target_of(
    conn: &mut PgConnection,
    (connector, integration): (&ConnectorId, IntegrationId),
    object: &Object,
) -> Result<Option<TargetId>> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM connector.targets
         WHERE connector_id = $1 AND integration_id = $2 AND mechanism = $3 AND object_key = $4",
        connector.as_str(),
        integration.0,
        object.mechanism,
        object.key
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(TargetId))
}

/// Who holds a target.
///
/// # Errors
///
/// When the database does not answer.
pub async fn holders(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: TargetId,
) -> Result<Vec<Holder>> {
    let rows = sqlx::query!(
        r#"SELECT h.grant_id, h.number, h.state, h.share, u.state AS unit,
             CASE WHEN u.state IN ('ENDED', 'FAILED')
                 THEN least(g.expires_at, g.revoked_at, u.state_at)
                 ELSE least(g.expires_at, g.revoked_at) END AS "until!",
             ARRAY(SELECT o.state FROM connector.holdings o
                 WHERE (o.connector_id, o.grant_id, o.number)
                     = (h.connector_id, h.grant_id, h.number)
                   AND o.stage < h.stage) AS "earlier!",
             ARRAY(SELECT o.state FROM connector.holdings o
                 WHERE (o.connector_id, o.grant_id, o.number)
                     = (h.connector_id, h.grant_id, h.number)
                   AND o.stage = h.stage AND o.target_id <> h.target_id) AS "beside!",
             ARRAY(SELECT o.state FROM connector.holdings o
                 WHERE (o.connector_id, o.grant_id, o.number)
                     = (h.connector_id, h.grant_id, h.number)
                   AND o.stage > h.stage) AS "later!"
           FROM connector.holdings h
           JOIN connector.units u USING (connector_id, grant_id, number)
           JOIN connector.grants g USING (connector_id, grant_id)
           WHERE h.connector_id = $1 AND h.target_id = $2
             AND h.state NOT IN ('ENDED', 'FAILED')
           ORDER BY h.grant_id, h.number"#,
        connector.as_str(),
        id.0
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Holder {
                grant: row.grant_id,
                number: row.number,
                state: stored(TABLE, "state", row.state.parse())?,
                others: Others {
                    earlier: states(&row.earlier)?,
                    beside: states(&row.beside)?,
                    later: states(&row.later)?,
                },
                unit: stored("units", "state", row.unit.parse())?,
                until: row.until,
                share: row.share,
            })
        })
        .collect()
}

fn states(words: &[String]) -> Result<Vec<UnitState>> {
    words.iter().map(|word| stored(TABLE, "state", word.parse())).collect()
}

/// Moves a holder of a target on, from the state that the caller has read.
///
/// # Errors
///
/// When somebody else has moved it.
pub async fn set_state(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    (holder, target): (&Holder, TargetId),
    to: UnitState,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.holdings SET state = $5
         WHERE connector_id = $1 AND grant_id = $2 AND number = $3 AND target_id = $4
           AND state = $6",
        connector.as_str(),
        holder.grant,
        holder.number,
        target.0,
        to.as_str(),
        holder.state.as_str()
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// What AWS has told of the targets that one builds on, all together.
///
/// # Errors
///
/// When the database does not answer.
pub async fn facts_below(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: TargetId,
) -> Result<Value> {
    let rows = sqlx::query_scalar!(
        "SELECT t.facts FROM connector.holdings h
         JOIN connector.holdings below USING (connector_id, grant_id, number)
         JOIN connector.targets t
           ON t.connector_id = below.connector_id AND t.id = below.target_id
         WHERE h.connector_id = $1 AND h.target_id = $2 AND below.stage < h.stage",
        connector.as_str(),
        id.0
    )
    .fetch_all(conn)
    .await?;
    let facts = rows.iter().filter_map(Value::as_object);
    Ok(facts.flatten().map(|(name, fact)| (name.clone(), fact.clone())).collect())
}

/// Locks a target and those that its holders hold beside it, in the order in which all lock targets.
///
/// # Errors
///
/// When they are not had in time.
pub async fn lock_all(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: TargetId,
) -> Result<()> {
    sqlx::query_scalar!(
        r#"SELECT t.id FROM connector.targets t
         WHERE t.connector_id = $1 AND (t.id = $2 OR t.id IN (
             SELECT o.target_id FROM connector.holdings h
             JOIN connector.holdings o USING (connector_id, grant_id, number)
             WHERE h.connector_id = $1 AND h.target_id = $2
               AND h.state NOT IN ('ENDED', 'FAILED')))
         ORDER BY t.object_key COLLATE "C", t.id FOR UPDATE"#,
        connector.as_str(),
        id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Wakes what a holder of a target, which is locked with all of them, holds beside it: for a grant what
/// waits, else all.
///
/// # Errors
///
/// When the database does not answer.
pub async fn wake_beside(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    holder: &Holder,
    but: TargetId,
    errand: Errand,
) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.targets SET next_at = connector.now(), errand = least(errand, $5)
         WHERE connector_id = $1 AND id <> $4 AND next_at IS NOT NULL AND id IN (
             SELECT target_id FROM connector.holdings
             WHERE connector_id = $1 AND grant_id = $2 AND number = $3
               AND state NOT IN ('ENDED', 'FAILED') AND (state = 'PENDING' OR NOT $6))",
        connector.as_str(),
        holder.grant,
        holder.number,
        but.0,
        errand.number(),
        errand == Errand::Grant
    )
    .execute(conn)
    .await?;
    Ok(())
}
