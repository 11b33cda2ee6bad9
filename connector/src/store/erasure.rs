//! What tells of a person, erased: in their grants, in the acts about these, and in what was done with them.

use sqlx::PgConnection;

use super::Result;
use crate::model::ids::ConnectorId;

/// A grant to somebody.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its id.
    pub grant: String,
    /// Whether it is over, and nothing of it is looked after in AWS any more.
    pub is_over: bool,
}

/// The grants to somebody, by whichever of their names, that still tell of them.
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
        r#"WITH known AS (
             SELECT DISTINCT unnest(g.names) AS name FROM connector.grants g
             WHERE g.connector_id = $1 AND g.erased_at IS NULL AND ($2 = ANY (g.names) OR EXISTS (
                 SELECT FROM jsonb_each_text(g.request -> 'recipient') r WHERE r.value = $2))
             UNION SELECT $2)
           SELECT g.grant_id AS "grant",
             least(g.expires_at, g.revoked_at) <= connector.now()
             AND NOT EXISTS (
                 SELECT FROM connector.units u
                 WHERE (u.connector_id, u.grant_id) = (g.connector_id, g.grant_id)
                   AND u.state NOT IN ('ENDED', 'FAILED'))
             AND NOT EXISTS (
                 SELECT FROM connector.holdings h
                 JOIN connector.targets t ON t.connector_id = h.connector_id AND t.id = h.target_id
                 WHERE (h.connector_id, h.grant_id) = (g.connector_id, g.grant_id)
                   AND t.next_at IS NOT NULL
                   AND NOT EXISTS (
                       SELECT FROM connector.holdings o
                       WHERE o.connector_id = t.connector_id AND o.target_id = t.id
                         AND o.state NOT IN ('ENDED', 'FAILED'))) AS "is_over!"
           FROM connector.grants g
           WHERE g.connector_id = $1 AND g.erased_at IS NULL
             AND (g.names && ARRAY(SELECT name FROM known) OR EXISTS (
                 SELECT FROM jsonb_each_text(g.request -> 'recipient') r
                 WHERE r.value IN (SELECT name FROM known)))
           ORDER BY g.number"#,
        connector.as_str(),
        who
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Erases what tells of the recipient of grants that are over: in the acts about them, in what was done with
/// them, in the objects in AWS that they alone have held, and in themselves.
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
    sqlx::query!(
        "UPDATE connector.acts
         SET erased = connector.personal_digest(
                 coalesce(salt, '00000000-0000-0000-0000-000000000000'), object, detail),
             object = '', detail = '',
             salt = '00000000-0000-0000-0000-000000000000'
         WHERE connector_id = $1 AND grant_id = ANY ($2) AND erased IS NULL",
        id,
        grants
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM connector.audit_events WHERE connector_id = $1 AND grant_ids && $2",
        id,
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
        id,
        grants
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM connector.audited_units WHERE connector_id = $1 AND grant_id = ANY ($2)",
        id,
        grants
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE connector.targets t
         SET object_key = 'erased/' || t.id, object = '{}', facts = '{}', stuck_reason = ''
         WHERE t.connector_id = $1 AND t.next_at IS NULL
           AND EXISTS (
               SELECT FROM connector.holdings h
               WHERE h.connector_id = $1 AND h.target_id = t.id AND h.grant_id = ANY ($2))
           AND NOT EXISTS (
               SELECT FROM connector.holdings h
               WHERE h.connector_id = $1 AND h.target_id = t.id AND h.grant_id <> ALL ($2))",
        id,
        grants
    )
    .execute(&mut *conn)
    .await?;
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
