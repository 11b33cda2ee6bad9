//! Tenants.

use sqlx::PgConnection;

use super::{Result, stored};
use crate::model::ids::ConnectorId;

/// Makes sure that a connector of the settings has its row.
///
/// # Errors
///
/// When the database does not answer.
pub async fn ensure(conn: &mut PgConnection, connector: &ConnectorId) -> Result<()> {
    sqlx::query!(
        "INSERT INTO connector.connectors (connector_id) VALUES ($1) ON CONFLICT DO NOTHING",
        connector.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// All connectors; where there is none, `first` is made. Replicas that start at once on
/// an empty database agree on one: the table is locked until the transaction ends.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list_or_make(tx: &mut PgConnection, first: &ConnectorId) -> Result<Vec<ConnectorId>> {
    let there = list(&mut *tx).await?;
    if !there.is_empty() {
        return Ok(there);
    }
    sqlx::query!("LOCK TABLE connector.connectors IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await?;
    let there = list(&mut *tx).await?;
    if !there.is_empty() {
        return Ok(there);
    }
    ensure(tx, first).await?;
    Ok(vec![first.clone()])
}

/// All connectors, by id.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<ConnectorId>> {
    sqlx::query_scalar!("SELECT connector_id FROM connector.connectors ORDER BY connector_id")
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|id| stored("connectors", "connector_id", id.parse()))
        .collect()
}
