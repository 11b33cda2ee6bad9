//! What tells of a person, erased: in their grants, in the acts about these, and in what was done with them.

use sqlx::PgConnection;

use super::{Result, seals, stored};
use crate::model::{assignment::Principal, ids::ConnectorId};

/// A grant to somebody.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its id.
    pub grant: String,
    /// Whether it is over: nothing of it is looked after in AWS any more, and no session can be open.
    pub is_over: bool,
}

/// Who goes by a name: in how many organizations somebody does.
///
/// # Errors
///
/// When the database does not answer.
pub async fn principals(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    who: &str,
) -> Result<Vec<Principal>> {
    let rows = sqlx::query_scalar!(
        r#"SELECT principal AS "principal!" FROM connector.grants g
           WHERE connector_id = $1 AND erased_at IS NULL AND principal IS NOT NULL
             AND ($2 = ANY (names) OR EXISTS (
                 SELECT FROM jsonb_each_text(request -> 'recipient') r WHERE r.value = $2))
           GROUP BY integration_id, principal"#,
        connector.as_str(),
        who
    )
    .fetch_all(conn)
    .await?;
    let principals =
        rows.into_iter().map(|row| stored("grants", "principal", serde_json::from_value(row)));
    principals.collect()
}

/// The grants that still tell of the one who goes by a name: theirs, and those of the same recipient that were
/// over before it was known who that is.
///
/// # Errors
///
/// When the database does not answer.
pub async fn grants_of(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    who: &str,
) -> Result<Vec<Held>> {
    let rows = sqlx::query_as!(
        Held,
        r#"WITH theirs AS (
             SELECT DISTINCT g.integration_id, g.principal FROM connector.grants g
             WHERE g.connector_id = $1 AND g.erased_at IS NULL AND g.principal IS NOT NULL
               AND ($2 = ANY (g.names) OR EXISTS (
                   SELECT FROM jsonb_each_text(g.request -> 'recipient') r WHERE r.value = $2))),
         recipients AS (
             SELECT g.request -> 'recipient' AS recipient, g.integration_id
             FROM connector.grants g JOIN theirs USING (integration_id, principal)
             WHERE g.connector_id = $1)
           SELECT g.grant_id AS "grant",
             least(g.expires_at, g.revoked_at) <= connector.now()
             -- Nor can a session be open that was begun with it.
             AND NOT EXISTS (
                 SELECT FROM connector.units u
                 WHERE (u.connector_id, u.grant_id) = (g.connector_id, g.grant_id)
                   AND (u.state NOT IN ('ENDED', 'FAILED')
                       OR u.active_at IS NOT NULL AND u.state_at + make_interval(
                           secs => least(greatest(u.session_seconds, 3600), 43200))
                           > connector.now()))
             AND NOT EXISTS (
                 SELECT FROM connector.holdings h
                 JOIN connector.targets t ON t.connector_id = h.connector_id AND t.id = h.target_id
                 WHERE (h.connector_id, h.grant_id) = (g.connector_id, g.grant_id)
                   AND (h.state NOT IN ('ENDED', 'FAILED')
                       OR (t.doubt_create OR t.doubt_delete) AND t.settles_at > connector.now()
                       OR t.next_at IS NOT NULL AND NOT EXISTS (
                           SELECT FROM connector.holdings o
                           WHERE o.connector_id = t.connector_id AND o.target_id = t.id
                             AND o.state NOT IN ('ENDED', 'FAILED')))) AS "is_over!"
           FROM connector.grants g
           WHERE g.connector_id = $1 AND g.erased_at IS NULL
             AND CASE WHEN g.principal IS NOT NULL
                 THEN (g.integration_id, g.principal) IN (SELECT * FROM theirs)
                 ELSE (g.request -> 'recipient', g.integration_id) IN (SELECT * FROM recipients)
                   OR EXISTS (
                     SELECT FROM jsonb_each_text(g.request -> 'recipient') r WHERE r.value = $2) END
           ORDER BY g.number"#,
        connector.as_str(),
        who
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Erases what tells of the recipient of grants that are over: in themselves, in the objects in AWS that they
/// alone have held, in the acts about both, and in what was done with them.
///
/// # Errors
///
/// When the database does not answer.
pub async fn erase(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grants: &[String],
) -> Result<()> {
    let id = connector.as_str();
    seals::lock(conn, connector).await?;
    sqlx::query!(
        "DELETE FROM connector.lookups l USING connector.grants g
         WHERE g.connector_id = $1 AND g.grant_id = ANY ($2) AND l.connector_id = $1
           AND (l.principal = g.principal OR l.recipient = g.request -> 'recipient')",
        id,
        grants
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"UPDATE connector.grants
         SET request = request || '{"recipient": {"user_id": "erased"}, "reason": "erased",
                 "requester": "", "approver": "", "labels": {}}',
             principal = CASE WHEN principal IS NOT NULL THEN '{"user": "erased"}'::jsonb END,
             names = '{}', user_name = '', stuck_reason = '', erased_at = connector.now()
         WHERE connector_id = $1 AND grant_id = ANY ($2)"#,
        id,
        grants
    )
    .execute(&mut *conn)
    .await?;
    erase_use(conn, id, grants).await?;
    erase_objects(conn, id, grants).await?;
    sqlx::query!(
        "UPDATE connector.units SET finding = '', warning = ''
         WHERE connector_id = $1 AND grant_id = ANY ($2)",
        id,
        grants
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What was done with grants. In the order in which it is written, so that nothing comes behind.
async fn erase_use(conn: &mut PgConnection, connector: &str, grants: &[String]) -> Result<()> {
    sqlx::query!(
        "SELECT FROM connector.audited_units WHERE connector_id = $1 AND grant_id = ANY ($2)
         ORDER BY grant_id, number FOR UPDATE",
        connector,
        grants
    )
    .execute(&mut *conn)
    .await?;
    // Whoever reads has them in mind, and begins again.
    sqlx::query!(
        "UPDATE connector.audit_places p SET lease_token = NULL, leased_until = NULL
         FROM connector.audited_units a
         WHERE a.connector_id = $1 AND a.grant_id = ANY ($2)
           AND p.connector_id = a.connector_id AND p.integration_id = a.integration_id
           AND p.account_id = a.account_id AND p.session_name IN (a.session_name, '')",
        connector,
        grants
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM connector.audit_places p USING connector.audited_units a
         WHERE a.connector_id = $1 AND a.grant_id = ANY ($2)
           AND p.connector_id = a.connector_id AND p.integration_id = a.integration_id
           AND p.account_id = a.account_id AND p.session_name = a.session_name
           AND NOT EXISTS (
               SELECT FROM connector.audited_units other
               WHERE other.connector_id = $1 AND other.grant_id <> ALL ($2)
                 AND other.integration_id = p.integration_id AND other.account_id = p.account_id
                 AND other.session_name = p.session_name)",
        connector,
        grants
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM connector.audit_events WHERE connector_id = $1 AND grant_ids && $2",
        connector,
        grants
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM connector.audited_units WHERE connector_id = $1 AND grant_id = ANY ($2)",
        connector,
        grants
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The objects in AWS that no other grants have held, with the acts about these and the grants, and the problems
/// that name them.
async fn erase_objects(conn: &mut PgConnection, connector: &str, grants: &[String]) -> Result<()> {
    let held = sqlx::query!(
        "SELECT t.id, t.object_key FROM connector.targets t
         WHERE t.connector_id = $1 AND t.next_at IS NULL
           AND EXISTS (
               SELECT FROM connector.holdings h
               WHERE h.connector_id = $1 AND h.target_id = t.id AND h.grant_id = ANY ($2))
           AND NOT EXISTS (
               SELECT FROM connector.holdings h
               WHERE h.connector_id = $1 AND h.target_id = t.id AND h.grant_id <> ALL ($2))
         FOR UPDATE",
        connector,
        grants
    )
    .fetch_all(&mut *conn)
    .await?;
    let (ids, keys): (Vec<_>, Vec<_>) =
        held.into_iter().map(|row| (row.id, row.object_key)).unzip();
    sqlx::query!(
        "UPDATE connector.acts
         SET erased = connector.personal_digest(
                 coalesce(salt, '00000000-0000-0000-0000-000000000000'), object, detail),
             object = '', detail = '', salt = '00000000-0000-0000-0000-000000000000'
         WHERE connector_id = $1 AND erased IS NULL
           AND (grant_id = ANY ($2) OR grant_id = '' AND object = ANY ($3))",
        connector,
        grants,
        &keys
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE connector.problems
         SET examples = ARRAY(SELECT e FROM unnest(examples) AS e
             WHERE NOT EXISTS (SELECT FROM unnest($2::text[]) AS key WHERE strpos(e, key) > 0))
         WHERE connector_id = $1 AND EXISTS (
             SELECT FROM unnest(examples) AS e, unnest($2::text[]) AS key WHERE strpos(e, key) > 0)",
        connector,
        &keys
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE connector.targets t
         SET object_key = 'erased/' || t.id, object = '{}', facts = '{}', place = 'erased',
             stuck_reason = ''
         WHERE t.connector_id = $1 AND t.id = ANY ($2)",
        connector,
        &ids
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE connector.holdings SET share = NULL
         WHERE connector_id = $1 AND grant_id = ANY ($2) AND share IS NOT NULL",
        connector,
        grants
    )
    .execute(conn)
    .await?;
    Ok(())
}
