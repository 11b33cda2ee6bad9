//! Permission sets, as they were discovered: what a grant may name.

use sqlx::PgConnection;

use super::Result;
use crate::model::ids::{ConnectorId, IntegrationId};

/// A permission set.
#[derive(Clone, Debug)]
pub struct PermissionSet {
    /// ARN.
    pub arn: String,
    /// Name.
    pub name: String,
    /// How long its sessions last, ISO 8601; empty: it could not be read.
    pub session_duration: String,
}

/// The permission set of a name or ARN that is there.
///
/// # Errors
///
/// When the database does not answer.
pub async fn find(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    named: &str,
) -> Result<Option<PermissionSet>> {
    Ok(sqlx::query_as!(
        PermissionSet,
        r#"SELECT arn, name,
             coalesce(attributes ->> 'session_duration', '') AS "session_duration!"
           FROM connector.resources
           WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
             AND type = 'aws-identity-center-permission-set'
             AND (arn = $3 OR (name = $3 AND NOT unread ? 'name'))
           -- A name is one set's alone; one that was deleted and made anew may show twice.
           ORDER BY changed_at DESC LIMIT 1"#,
        connector.as_str(),
        integration.0,
        named
    )
    .fetch_optional(conn)
    .await?)
}
