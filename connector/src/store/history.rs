//! What resources were. Versions are written by [`super::inventory`], with the change that
//! ends them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Result;
use crate::model::{
    history::Content,
    ids::{ConnectorId, IntegrationId},
};

/// What a resource was for a time.
#[derive(Clone, Debug)]
pub struct Version {
    /// Revision of the change that made it.
    pub revision: i64,
    /// What it says.
    pub content: Content,
    /// From when.
    pub began_at: DateTime<Utc>,
    /// Until when; none: it is so now.
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether the resource went then.
    pub went: bool,
}

struct Row {
    revision: i64,
    kind: String,
    account_id: String,
    region: String,
    name: String,
    tags: serde_json::Value,
    attributes: serde_json::Value,
    began_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    went: bool,
}

impl From<Row> for Version {
    fn from(row: Row) -> Self {
        let Row { kind, account_id, region, name, tags, attributes, .. } = row;
        Self {
            revision: row.revision,
            content: Content { kind, account_id, region, name, tags, attributes },
            began_at: row.began_at,
            ended_at: row.ended_at,
            went: row.went,
        }
    }
}

/// The versions of a resource before a revision, the newest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    arn: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<Version>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT revision AS "revision!", type AS "kind!", account_id AS "account_id!",
             region AS "region!", name AS "name!", tags AS "tags!", attributes AS "attributes!",
             began_at AS "began_at!", ended_at, went AS "went!"
           FROM (
             SELECT revision, type, account_id, region, name, tags, attributes, began_at,
               ended_at, went
             FROM connector.resource_history
             WHERE connector_id = $1 AND integration_id = $2 AND arn = $3
             UNION ALL
             SELECT coalesce(version_revision, revision), type, account_id, region, name, tags,
               attributes, coalesce(version_began_at, changed_at), NULL, false
             FROM connector.resources
             WHERE connector_id = $1 AND integration_id = $2 AND arn = $3 AND gone_at IS NULL
           ) versions
           WHERE revision < $4 ORDER BY revision DESC LIMIT $5"#,
        connector.as_str(),
        integration.0,
        arn,
        before,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Version::from).collect())
}

/// Removes versions that ended longer ago than `retention`, at most `limit`. Returns how many.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(conn: &mut PgConnection, retention: Duration, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM connector.resource_history
         WHERE (connector_id, integration_id, arn, revision) IN (
             SELECT connector_id, integration_id, arn, revision FROM connector.resource_history
             WHERE ended_at < connector.now() - make_interval(secs => $1)
             ORDER BY ended_at LIMIT $2)",
        retention.as_secs_f64(),
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
