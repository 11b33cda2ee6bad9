//! How much giving and taking of access is still to be done.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Result, problems, stored};
use crate::model::ids::{ConnectorId, IntegrationId};

/// How many calls are under way in an instance, and how many more wait to be made.
///
/// # Errors
///
/// When the database does not answer.
pub async fn in_instance(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"SELECT
             (SELECT count(*) FROM connector.targets
              WHERE connector_id = $1 AND integration_id = $2 AND intent_verb IS NOT NULL)
                 AS "running!",
             (SELECT count(*) FROM connector.units u
              JOIN connector.grants g USING (connector_id, grant_id)
              WHERE u.connector_id = $1 AND g.integration_id = $2
                AND u.state IN ('PENDING', 'REVOKING')) AS "units!""#,
        connector.as_str(),
        integration.0
    )
    .fetch_one(conn)
    .await?;
    Ok((row.running, (row.units - row.running).max(0)))
}

/// How much does not get on, of all connectors of the settings: targets, and grants whose recipient
/// cannot be looked up.
///
/// # Errors
///
/// When the database does not answer.
pub async fn stuck(conn: &mut PgConnection, connectors: &[ConnectorId]) -> Result<i64> {
    let connectors = super::texts(connectors);
    Ok(sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM connector.targets
                   WHERE connector_id = ANY ($1) AND stuck_since IS NOT NULL)
                + (SELECT count(*) FROM connector.grants
                   WHERE connector_id = ANY ($1) AND stuck_since IS NOT NULL) AS "stuck!""#,
        &connectors
    )
    .fetch_one(conn)
    .await?)
}

/// How many units of an integration have not ended.
///
/// # Errors
///
/// When the database does not answer.
pub async fn open(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "open!"
           FROM connector.units u
           JOIN connector.grants g USING (connector_id, grant_id)
           WHERE u.connector_id = $1 AND g.integration_id = $2
             AND u.state NOT IN ('ENDED', 'FAILED')"#,
        connector.as_str(),
        integration.0
    )
    .fetch_one(conn)
    .await?)
}

/// How many targets of an integration are not at rest: something of ours may be in AWS.
///
/// # Errors
///
/// When the database does not answer.
pub async fn restless(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "restless!" FROM connector.targets
           WHERE connector_id = $1 AND integration_id = $2 AND next_at IS NOT NULL"#,
        connector.as_str(),
        integration.0
    )
    .fetch_one(conn)
    .await?)
}

/// What does not get on in an integration.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The tenant.
    pub connector: ConnectorId,
    /// The integration.
    pub integration: IntegrationId,
    /// How much; nothing: it was noted, and has got on since.
    pub count: i64,
    /// Some of it.
    pub examples: Vec<String>,
    /// Whether nothing is done, because the database may have forgotten something.
    pub is_recovering: bool,
}

/// What has not got on for so long, by integration; also where nothing is stuck any more, but was,
/// and where nothing is done.
///
/// # Errors
///
/// When the database does not answer.
pub async fn stuck_by_integration(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
    longer_than: Duration,
    examples_max: usize,
) -> Result<Vec<Stuck>> {
    let rows = sqlx::query!(
        r#"WITH stuck AS (
             SELECT connector_id, integration_id, object_key AS what FROM connector.targets
             WHERE connector_id = ANY ($1) AND stuck_since < connector.now() - make_interval(secs => $2)
             UNION ALL
             SELECT connector_id, integration_id, 'recipient of ' || grant_id FROM connector.grants
             WHERE connector_id = ANY ($1) AND stuck_since < connector.now() - make_interval(secs => $2))
           SELECT i.connector_id, i.id, count(s.what) AS "count!",
             (array_agg(s.what ORDER BY s.what) FILTER (WHERE s.what IS NOT NULL))[1:$3] AS examples,
             c.recovering_since IS NOT NULL AS "is_recovering!"
           FROM connector.integrations i
           JOIN connector.connectors c USING (connector_id)
           LEFT JOIN stuck s ON s.connector_id = i.connector_id AND s.integration_id = i.id
           WHERE i.connector_id = ANY ($1)
           GROUP BY i.connector_id, i.id, c.recovering_since
           HAVING count(s.what) > 0 OR c.recovering_since IS NOT NULL OR EXISTS (
               SELECT FROM connector.problems p
               WHERE p.connector_id = i.connector_id AND p.integration_id = i.id
                 AND p.code = ANY ($4) AND p.resolved_at IS NULL)"#,
        &super::texts(connectors),
        longer_than.as_secs_f64(),
        i32::try_from(examples_max).unwrap_or(i32::MAX),
        &problems::Finder::Access.codes()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Stuck {
                connector: stored("integrations", "connector_id", row.connector_id.parse())?,
                integration: IntegrationId(row.id),
                count: row.count,
                examples: row.examples.unwrap_or_default(),
                is_recovering: row.is_recovering,
            })
        })
        .collect()
}
