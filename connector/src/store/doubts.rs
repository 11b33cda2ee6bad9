//! Calls of which nobody knows the end, and which may still take effect.

use sqlx::PgConnection;

use super::{Result, identity_centers::Held, targets::Stored};

/// Whether calls of other targets in a place, of which nobody knows the end, may still take effect there.
///
/// # Errors
///
/// When the database does not answer.
pub async fn any_beside(conn: &mut PgConnection, held: &Held, stored: &Stored) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM connector.targets
             WHERE connector_id = $1 AND integration_id = $2 AND place = $3 AND id <> $4
               AND (doubt_create OR doubt_delete) AND settles_at > connector.now()) AS "is!""#,
        held.connector.as_str(),
        held.integration.0,
        stored.place,
        stored.id.0
    )
    .fetch_one(conn)
    .await?)
}
