//! The one lease of each organization's Identity Center instance.
//!
//! AWS counts calls and running operations by instance, so only who holds its lease calls it,
//! whatever for. The organization's group of a sync is leased together with it
//! ([`super::groups::lease`]): by nobody else while another replica holds it.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Result;
use crate::model::scope::{Group, Place};

/// The keys of the instances that groups read.
fn keys<'a>(groups: impl IntoIterator<Item = &'a Group>) -> (Vec<String>, Vec<Uuid>, Vec<Uuid>) {
    let mut keys = (Vec::new(), Vec::new(), Vec::new());
    for group in groups.into_iter().filter(|group| group.place == Place::Organization) {
        keys.0.push(group.connector.to_string());
        keys.1.push(group.integration.0);
        keys.2.push(group.owner.0);
    }
    keys
}

/// Extends the leases that groups need; one that a batch of ours is giving up is passed over.
///
/// # Errors
///
/// When the database does not answer.
pub async fn extend(conn: &mut PgConnection, groups: &[Group], length: Duration) -> Result<()> {
    let (connectors, integrations, owners) = keys(groups);
    if connectors.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE connector.identity_centers d
         SET leased_until = connector.now() + make_interval(secs => $4)
         FROM (
             SELECT ours.connector_id, ours.integration_id
             FROM connector.identity_centers ours
             JOIN unnest($1::text[], $2::uuid[], $3::uuid[])
                 AS held(connector_id, integration_id, lease_owner)
               USING (connector_id, integration_id, lease_owner)
             FOR UPDATE OF ours SKIP LOCKED) AS held
         WHERE d.connector_id = held.connector_id AND d.integration_id = held.integration_id",
        &connectors,
        &integrations,
        &owners,
        length.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up the leases that groups needed.
///
/// # Errors
///
/// When the database does not answer.
pub async fn release<'a>(
    conn: &mut PgConnection,
    groups: impl IntoIterator<Item = &'a Group>,
) -> Result<()> {
    let (connectors, integrations, owners) = keys(groups);
    if connectors.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "DELETE FROM connector.identity_centers d
         USING unnest($1::text[], $2::uuid[], $3::uuid[]) AS held(connector_id, integration_id, owner)
         WHERE (d.connector_id, d.integration_id, d.lease_owner)
             = (held.connector_id, held.integration_id, held.owner)",
        &connectors,
        &integrations,
        &owners
    )
    .execute(conn)
    .await?;
    Ok(())
}
