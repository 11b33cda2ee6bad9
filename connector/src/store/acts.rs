//! What was asked, by whom, and what was done in AWS for it. Acts are written in the transaction
//! of the change that they tell of, and never changed.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, expect_one};
use crate::model::ids::ConnectorId;

/// Who acts when nobody has asked.
pub const CONNECTOR: &str = "connector";

/// Something to note.
#[derive(Clone, Debug, Default)]
pub struct New<'a> {
    /// Grant; empty: no grant holds what it is about.
    pub grant: &'a str,
    /// Stable word: `GRANTED`, `CALL`, ….
    pub verb: &'a str,
    /// Token, `local`, or [`CONNECTOR`].
    pub actor: &'a str,
    /// What it was done to.
    pub object: &'a str,
    /// More.
    pub detail: &'a str,
}

/// An act.
#[derive(Clone, Debug)]
pub struct Act {
    /// They grow.
    pub number: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Grant; empty: none.
    pub grant_id: String,
    /// What happened.
    pub verb: String,
    /// Who did it.
    pub actor: String,
    /// To what.
    pub object: String,
    /// More.
    pub detail: String,
}

/// Notes an act.
///
/// # Errors
///
/// When the database does not answer.
pub async fn note(conn: &mut PgConnection, connector: &ConnectorId, act: New<'_>) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO connector.acts (connector_id, grant_id, verb, actor, object, detail)
         VALUES ($1, $2, $3, $4, $5, $6)",
        connector.as_str(),
        act.grant,
        act.verb,
        act.actor,
        act.object,
        act.detail
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Acts before a number, newest first; of one grant, or of all (none).
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grant: Option<&str>,
    before: i64,
    limit: i64,
) -> Result<Vec<Act>> {
    Ok(sqlx::query_as!(
        Act,
        "SELECT number, at, grant_id, verb, actor, object, detail FROM connector.acts
         WHERE connector_id = $1 AND ($2::text IS NULL OR grant_id = $2) AND number < $3
         ORDER BY number DESC LIMIT $4",
        connector.as_str(),
        grant,
        before,
        limit
    )
    .fetch_all(conn)
    .await?)
}
