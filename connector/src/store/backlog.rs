//! How much giving and taking of access is still to be done.

use sqlx::PgConnection;

use super::Result;
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
