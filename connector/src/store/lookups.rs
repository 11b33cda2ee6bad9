//! Recipients that a caller wants to be looked up, and who they are.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, expect_one, identity_centers::Held, json, stored};
use crate::model::{
    assignment::Principal,
    grant::Recipient,
    ids::{ConnectorId, IntegrationId},
    refusal::Refusal,
};

/// An answer is kept for whoever still asks; then it goes.
const KEPT_S: f64 = 3600.0;

/// A recipient to look up.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Id.
    pub id: Uuid,
    /// Who.
    pub recipient: Recipient,
}

/// Asks who somebody is.
///
/// # Errors
///
/// When the database does not answer.
pub async fn insert(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    lookup: &Lookup,
) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO connector.lookups (connector_id, id, integration_id, recipient)
         VALUES ($1, $2, $3, $4)",
        connector.as_str(),
        lookup.id,
        integration.0,
        json("lookups", "recipient", &lookup.recipient)?
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// What is not answered in an instance, the eldest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn open(
    conn: &mut PgConnection,
    held: &Held,
    but: &[Uuid],
    limit: i64,
) -> Result<Vec<Lookup>> {
    let rows = sqlx::query!(
        "SELECT id, recipient FROM connector.lookups
         WHERE connector_id = $1 AND integration_id = $2 AND answered_at IS NULL
           AND id <> ALL ($3)
         ORDER BY requested_at LIMIT $4",
        held.connector.as_str(),
        held.integration.0,
        but,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let recipient = serde_json::from_value(row.recipient);
            Ok(Lookup { id: row.id, recipient: stored("lookups", "recipient", recipient)? })
        })
        .collect()
}

/// Answers; a second answer changes nothing.
///
/// # Errors
///
/// When the database does not answer.
pub async fn answer(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: Uuid,
    found: &std::result::Result<Principal, Refusal>,
) -> Result<()> {
    let principal = match found {
        Ok(principal) => Some(json("lookups", "principal", principal)?),
        Err(_) => None,
    };
    let refusal = found.as_ref().err();
    sqlx::query!(
        "UPDATE connector.lookups
         SET answered_at = connector.now(), principal = $3, refusal = $4, finding = $5
         WHERE connector_id = $1 AND id = $2 AND answered_at IS NULL",
        connector.as_str(),
        id,
        principal,
        refusal.map(|refusal| refusal.code.as_str()),
        refusal.map_or("", |refusal| refusal.finding.as_str())
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The answer; none: not yet.
///
/// # Errors
///
/// When the database does not answer.
pub async fn answered(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: Uuid,
) -> Result<Option<std::result::Result<Principal, Refusal>>> {
    let row = sqlx::query!(
        "SELECT principal, refusal, finding FROM connector.lookups
         WHERE connector_id = $1 AND id = $2 AND answered_at IS NOT NULL",
        connector.as_str(),
        id
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if let Some(code) = row.refusal {
        let code = stored("lookups", "refusal", code.parse())?;
        return Ok(Some(Err(Refusal::new(code, row.finding))));
    }
    let principal = serde_json::from_value(row.principal.unwrap_or_default());
    Ok(Some(Ok(stored("lookups", "principal", principal)?)))
}

/// Removes what nobody will ask for any more.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(conn: &mut PgConnection) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM connector.lookups
         WHERE requested_at < connector.now() - make_interval(secs => $1)",
        KEPT_S
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
