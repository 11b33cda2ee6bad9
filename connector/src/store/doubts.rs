//! Calls of which nobody knows the end, and which may still take effect.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, identity_centers::Held, targets::Stored};

/// When calls of other targets in a place, whose answers were lost, will have settled; none: there are none.
///
/// # Errors
///
/// When the database does not answer.
pub async fn beside(
    conn: &mut PgConnection,
    held: &Held,
    stored: &Stored,
) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!(
        "SELECT max(settles_at) FROM connector.targets
         WHERE connector_id = $1 AND integration_id = $2 AND place = $3 AND id <> $4
           AND (doubt_create OR doubt_delete) AND settles_at > connector.now()",
        held.connector.as_str(),
        held.integration.0,
        stored.place,
        stored.id.0
    )
    .fetch_one(conn)
    .await?)
}
