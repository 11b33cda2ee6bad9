//! What became of a connector's access in the time that its database has forgotten, as far as AWS
//! tells.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, expect_one, identity_centers::Held, stored};
use crate::model::{
    ids::{ConnectorId, IntegrationId, TargetId},
    recovery::Change,
};

const TABLE: &str = "forgotten";

/// From one report that was read whole to the next.
const AGAIN_AFTER_S: f64 = 300.0;
/// The same after one that was not.
const AFTER_FAILURE_S: f64 = 10.0;

/// A connector that is recovering.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when the database remembers all.
    pub remembered_until: DateTime<Utc>,
    /// What happened to it.
    pub cause: String,
    /// Grants that are live, as far as it remembers.
    pub live_grants: i64,
}

/// The recovery that a connector is in.
///
/// # Errors
///
/// When the database does not answer.
pub async fn get(conn: &mut PgConnection, connector: &ConnectorId) -> Result<Option<Recovery>> {
    Ok(sqlx::query_as!(
        Recovery,
        r#"SELECT recovering_since AS "since!", remembered_until AS "remembered_until!",
             recovery_cause AS cause, (
               SELECT count(DISTINCT grant_id) FROM connector.units u
               WHERE u.connector_id = $1 AND u.state NOT IN ('ENDED', 'FAILED'))
               AS "live_grants!"
           FROM connector.connectors
           WHERE connector_id = $1 AND recovering_since IS NOT NULL"#,
        connector.as_str()
    )
    .fetch_optional(conn)
    .await?)
}

/// Locks the recovery of a connector; whether it is in one.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock(tx: &mut PgConnection, connector: &ConnectorId) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"SELECT true AS "is_recovering!" FROM connector.connectors
           WHERE connector_id = $1 AND recovering_since IS NOT NULL
           FOR NO KEY UPDATE"#,
        connector.as_str()
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.is_some())
}

/// A report that is due.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The recovery that it is for: when it began.
    pub since: DateTime<Utc>,
    /// Until when the database remembers all.
    pub remembered_until: DateTime<Utc>,
    /// Now: AWS tells what had arrived by then.
    pub asked_at: DateTime<Utc>,
}

/// The report on an instance that is due; none: nothing is to be asked now.
///
/// # Errors
///
/// When the database does not answer.
pub async fn due(conn: &mut PgConnection, held: &Held) -> Result<Option<Wanted>> {
    Ok(sqlx::query_as!(
        Wanted,
        r#"SELECT recovering_since AS "since!", remembered_until AS "remembered_until!",
             connector.now() AS "asked_at!"
           FROM connector.connectors c
           LEFT JOIN connector.recovery_reads r
             ON r.connector_id = c.connector_id AND r.integration_id = $2
           WHERE c.connector_id = $1 AND recovering_since IS NOT NULL
             AND coalesce(r.next_at <= connector.now(), true)"#,
        held.connector.as_str(),
        held.integration.0
    )
    .fetch_optional(conn)
    .await?)
}

/// A change that the database knows nothing of.
#[derive(Clone, Debug)]
pub struct Forgotten {
    /// Integration.
    pub integration: IntegrationId,
    /// What it was.
    pub change: Change,
    /// Live grants that hold the object.
    pub grants: Vec<String>,
}

/// What AWS has told of an instance.
#[derive(Clone, Debug)]
pub enum Told {
    /// All that was changed.
    Whole(Vec<Change>),
    /// Not all, for this reason.
    Not(String),
}

/// Stores what AWS has told of an instance, in the place of what it told before; what it was asked
/// before `settled`, only until it is asked again. What the database knows is not stored, nor the removal of
/// what nobody holds. Nothing is when the recovery has ended.
///
/// # Errors
///
/// When the database does not answer.
pub async fn report(
    tx: &mut PgConnection,
    held: &Held,
    wanted: &Wanted,
    told: &Told,
    settled: DateTime<Utc>,
) -> Result<()> {
    let of = (held.connector.as_str(), held.integration.0);
    let is_on = sqlx::query_scalar!(
        r#"SELECT true AS "is_on!" FROM connector.connectors
           WHERE connector_id = $1 AND recovering_since = $2
           FOR SHARE"#,
        of.0,
        wanted.since
    )
    .fetch_optional(&mut *tx)
    .await?;
    if is_on.is_none() {
        return Ok(());
    }
    let changes = match told {
        Told::Whole(changes) => changes,
        Told::Not(trouble) => return note(tx, held, wanted, trouble, settled).await,
    };
    sqlx::query!(
        "DELETE FROM connector.forgotten WHERE connector_id = $1 AND integration_id = $2",
        of.0,
        of.1
    )
    .execute(&mut *tx)
    .await?;
    for change in changes {
        sqlx::query!(
            "INSERT INTO connector.forgotten (connector_id, integration_id, request_id, verb, at,
                 mechanism, object_key, object, account_id)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
             WHERE NOT EXISTS (
                 SELECT FROM connector.acts
                 WHERE connector_id = $1 AND verb = 'ACCEPTED' AND detail = $4 || ' ' || $3)
               AND CASE $4 WHEN 'create' THEN NOT EXISTS (
                 -- It was seen afterwards, and is known to be somebody else's.
                 SELECT FROM connector.targets t
                 WHERE t.connector_id = $1 AND t.integration_id = $2
                   AND t.mechanism = $6 AND t.object_key = $7
                   AND t.origin = 'found' AND t.observed_at > $5)
               ELSE EXISTS (
                 SELECT FROM connector.targets t
                 JOIN connector.holdings h ON h.connector_id = $1 AND h.target_id = t.id
                   AND h.state NOT IN ('ENDED', 'FAILED')
                 WHERE t.connector_id = $1 AND t.integration_id = $2
                   AND t.mechanism = $6 AND t.object_key = $7) END
             ON CONFLICT DO NOTHING",
            of.0,
            of.1,
            change.request,
            change.verb.as_str(),
            change.at,
            change.mechanism,
            change.key,
            change.object,
            change.account.as_str()
        )
        .execute(&mut *tx)
        .await?;
    }
    note(tx, held, wanted, "", settled).await
}

/// Notes how far the report is. Before `settled` a call from before may still arrive: what was asked
/// until then is not the end of it, however late the answer came.
async fn note(
    conn: &mut PgConnection,
    held: &Held,
    wanted: &Wanted,
    trouble: &str,
    settled: DateTime<Utc>,
) -> Result<()> {
    let wait = if trouble.is_empty() { AGAIN_AFTER_S } else { AFTER_FAILURE_S };
    let done = sqlx::query!(
        "INSERT INTO connector.recovery_reads AS r
             (connector_id, integration_id, read_at, next_at, trouble)
         VALUES ($1, $2,
             CASE WHEN $3 = '' AND $6 THEN connector.now() END,
             CASE WHEN NOT $6
                 THEN least($5, connector.now() + make_interval(secs => $4))
                 ELSE connector.now() + make_interval(secs => $4) END,
             CASE WHEN $3 = '' AND NOT $6
                 THEN 'it was read; a call from before may still arrive until ' || $5::timestamptz(0)
                 ELSE $3 END)
         ON CONFLICT (connector_id, integration_id) DO UPDATE
         SET read_at = coalesce(excluded.read_at, r.read_at), next_at = excluded.next_at,
             trouble = excluded.trouble",
        held.connector.as_str(),
        held.integration.0,
        trouble,
        wait,
        settled,
        wanted.asked_at >= settled
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// What was changed in AWS, and is forgotten here, the eldest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn forgotten(conn: &mut PgConnection, connector: &ConnectorId) -> Result<Vec<Forgotten>> {
    let rows = sqlx::query!(
        r#"SELECT f.integration_id, f.request_id, f.verb, f.at, f.mechanism, f.object_key, f.object,
             f.account_id, ARRAY(
               SELECT DISTINCT h.grant_id FROM connector.targets t
               JOIN connector.holdings h ON h.connector_id = t.connector_id AND h.target_id = t.id
                 AND h.state NOT IN ('ENDED', 'FAILED')
               WHERE t.connector_id = f.connector_id AND t.integration_id = f.integration_id
                 AND t.mechanism = f.mechanism AND t.object_key = f.object_key
               ORDER BY h.grant_id) AS "grants!"
           FROM connector.forgotten f WHERE f.connector_id = $1
           ORDER BY f.at, f.request_id"#,
        connector.as_str()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Forgotten {
                integration: IntegrationId(row.integration_id),
                grants: row.grants,
                change: Change {
                    request: row.request_id,
                    verb: stored(TABLE, "verb", row.verb.parse())?,
                    at: row.at,
                    mechanism: row.mechanism,
                    key: row.object_key,
                    object: row.object,
                    account: stored(TABLE, "account_id", row.account_id.parse())?,
                },
            })
        })
        .collect()
}

/// An integration of which AWS has not told yet.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Its name.
    pub integration: String,
    /// Why; empty: it is being read.
    pub trouble: String,
}

/// The integrations with Identity Center of which AWS has not told.
///
/// # Errors
///
/// When the database does not answer.
pub async fn unread(conn: &mut PgConnection, connector: &ConnectorId) -> Result<Vec<Unread>> {
    Ok(sqlx::query_as!(
        Unread,
        r#"SELECT i.name AS integration, coalesce(r.trouble, '') AS "trouble!"
           FROM connector.integrations i
           LEFT JOIN connector.recovery_reads r
             ON r.connector_id = i.connector_id AND r.integration_id = i.id
           WHERE i.connector_id = $1 AND i.settings ->> 'sso_region' IS NOT NULL AND r.read_at IS NULL
           ORDER BY i.name"#,
        connector.as_str()
    )
    .fetch_all(conn)
    .await?)
}

/// Takes what was made in the forgotten time for ours, so that it goes with its last holder; where
/// there is none, at once. `fresh` is the target's id if there is none yet.
///
/// # Errors
///
/// When the database does not answer.
pub async fn take_for_ours(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    forgotten: &Forgotten,
    fresh: TargetId,
) -> Result<()> {
    let Forgotten { integration, change, .. } = forgotten;
    let done = sqlx::query!(
        "INSERT INTO connector.targets AS t (connector_id, id, integration_id, mechanism,
             object_key, object, place, origin, next_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'made', connector.now())
         ON CONFLICT (connector_id, integration_id, mechanism, object_key) DO UPDATE
         SET origin = 'made',
             doubt_create = t.doubt_create OR coalesce(t.intent_verb = 'create', false),
             doubt_delete = t.doubt_delete OR coalesce(t.intent_verb = 'delete', false),
             intent_verb = NULL, intent_since = NULL, intent_request = NULL,
             intent_settled_before = NULL, intent_origin_before = NULL, is_adopted = false, missing_since = NULL, next_at = excluded.next_at,
             errand = 0",
        connector.as_str(),
        fresh.0,
        integration.0,
        change.mechanism,
        change.key,
        change.object,
        change.account.as_str()
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Takes what was made in the forgotten time for somebody else's, whatever we had made of it before.
///
/// # Errors
///
/// When the database does not answer.
pub async fn leave_to_others(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    forgotten: &Forgotten,
) -> Result<()> {
    let Forgotten { integration, change, .. } = forgotten;
    sqlx::query!(
        "UPDATE connector.targets SET is_adopted = true
         WHERE connector_id = $1 AND integration_id = $2 AND mechanism = $3 AND object_key = $4
           AND origin = 'made'",
        connector.as_str(),
        integration.0,
        change.mechanism,
        change.key
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The grants that are not over and hold something by mechanisms of whose changes AWS keeps no record.
///
/// # Errors
///
/// When the database does not answer.
pub async fn untold(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    mechanisms: &[String],
) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        "SELECT DISTINCT grant_id FROM connector.units
         WHERE connector_id = $1 AND mechanism = ANY ($2) AND state NOT IN ('ENDED', 'FAILED')
         ORDER BY grant_id",
        connector.as_str(),
        mechanisms
    )
    .fetch_all(conn)
    .await?)
}

/// Ends the recovery of a connector, which is locked, and forgets the report.
///
/// # Errors
///
/// When the database does not answer.
pub async fn end(tx: &mut PgConnection, connector: &ConnectorId) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.connectors
         SET recovering_since = NULL, remembered_until = NULL, recovery_cause = ''
         WHERE connector_id = $1 AND recovering_since IS NOT NULL",
        connector.as_str()
    )
    .execute(&mut *tx)
    .await?;
    expect_one(&done)?;
    sqlx::query!(
        "DELETE FROM connector.recovery_reads WHERE connector_id = $1",
        connector.as_str()
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("DELETE FROM connector.forgotten WHERE connector_id = $1", connector.as_str())
        .execute(tx)
        .await?;
    Ok(())
}
