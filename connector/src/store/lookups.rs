//! Recipients that a caller wants to be looked up, and who they are.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, expect_one, identity_centers::Held, json, stored};
use crate::model::{
    assignment::{InAccount, Principal},
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
    /// What would be granted, each by a mechanism.
    pub plans: Vec<(String, serde_json::Value)>,
}

/// What is told of a recipient.
#[derive(Clone, Debug)]
pub struct Told {
    /// Who it is.
    pub principal: Principal,
    /// Every name of it.
    pub names: Vec<String>,
    /// What the plans open beside what they say.
    pub openings: BTreeSet<InAccount>,
    /// What there is no room for; none: there is.
    pub lacking: Option<Refusal>,
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
        "INSERT INTO connector.lookups (connector_id, id, integration_id, recipient, plans)
         VALUES ($1, $2, $3, $4, $5)",
        connector.as_str(),
        lookup.id,
        integration.0,
        json("lookups", "recipient", &lookup.recipient)?,
        json("lookups", "plans", &lookup.plans)?
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
        "SELECT id, recipient, plans FROM connector.lookups
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
            Ok(Lookup {
                id: row.id,
                recipient: stored("lookups", "recipient", recipient)?,
                plans: stored("lookups", "plans", serde_json::from_value(row.plans))?,
            })
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
    found: &std::result::Result<Told, Refusal>,
) -> Result<()> {
    let (principal, openings) = match found {
        Ok(told) => {
            let principal = json("lookups", "principal", &told.principal)?;
            (Some(principal), json("lookups", "openings", &told.openings)?)
        }
        Err(_) => (None, serde_json::Value::Array(Vec::new())),
    };
    let names = found.as_ref().map_or(&[][..], |told| &told.names);
    let refusal = found.as_ref().map_or_else(Some, |told| told.lacking.as_ref());
    sqlx::query!(
        "UPDATE connector.lookups
         SET answered_at = connector.now(), principal = $3, refusal = $4, finding = $5,
             openings = $6, names = $7
         WHERE connector_id = $1 AND id = $2 AND answered_at IS NULL",
        connector.as_str(),
        id,
        principal,
        refusal.map(|refusal| refusal.code.as_str()),
        refusal.map_or("", |refusal| refusal.finding.as_str()),
        openings,
        names
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
) -> Result<Option<std::result::Result<Told, Refusal>>> {
    let row = sqlx::query!(
        "SELECT principal, refusal, finding, openings, names FROM connector.lookups
         WHERE connector_id = $1 AND id = $2 AND answered_at IS NOT NULL",
        connector.as_str(),
        id
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let code = row.refusal.map(|code| stored("lookups", "refusal", code.parse())).transpose()?;
    let refusal = code.map(|code| Refusal::new(code, row.finding));
    let (principal, lacking) = match (row.principal, refusal) {
        (None, Some(refusal)) => return Ok(Some(Err(refusal))),
        (principal, lacking) => (principal.unwrap_or_default(), lacking),
    };
    let principal = serde_json::from_value(principal);
    Ok(Some(Ok(Told {
        principal: stored("lookups", "principal", principal)?,
        names: row.names,
        openings: stored("lookups", "openings", serde_json::from_value(row.openings))?,
        lacking,
    })))
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
