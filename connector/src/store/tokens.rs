//! API tokens, of which only a hash is known.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, stored};
use crate::model::{
    ids::{ConnectorId, TokenId},
    role::Role,
};

/// Live tokens that may share a name: one, and the one that replaces it.
pub const LIVE_PER_NAME_MAX: i64 = 2;

/// A token as it is known.
#[derive(Clone, Debug)]
pub struct Token {
    /// Id; it is part of the secret's text.
    pub id: TokenId,
    /// The connector that it is bound to.
    pub connector: ConnectorId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Hash of the secret.
    pub secret_sha256: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used.
    pub last_used_at: Option<DateTime<Utc>>,
}

struct Row {
    connector_id: String,
    id: Uuid,
    name: String,
    role: String,
    secret_sha256: Vec<u8>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Token {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: TokenId(row.id),
            connector: stored("tokens", "connector_id", row.connector_id.parse())?,
            name: row.name,
            role: stored("tokens", "role", row.role.parse())?,
            secret_sha256: row.secret_sha256,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        })
    }
}

/// Stores a token, unless its name has two live ones already.
///
/// # Errors
///
/// When the database does not answer.
pub async fn insert(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: TokenId,
    name: &str,
    role: Role,
    secret_sha256: &[u8],
    expires_at: Option<DateTime<Utc>>,
) -> Result<Option<Token>> {
    // The connector's row is locked so that two calls cannot both count one.
    sqlx::query!(
        "SELECT connector_id FROM connector.connectors WHERE connector_id = $1 FOR UPDATE",
        connector.as_str()
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query_as!(
        Row,
        "INSERT INTO connector.tokens
             (connector_id, id, name, role, secret_sha256, expires_at)
         SELECT $1, $2, $3, $4, $5, $6
         WHERE $7 > (
             SELECT count(*) FROM connector.tokens
             WHERE connector_id = $1 AND name = $3
               AND (expires_at IS NULL OR expires_at > connector.now()))
         RETURNING connector_id, id, name, role, secret_sha256, created_at, expires_at,
             last_used_at",
        connector.as_str(),
        id.0,
        name,
        role.as_str(),
        secret_sha256,
        expires_at,
        LIVE_PER_NAME_MAX
    )
    .fetch_optional(conn)
    .await?
    .map(TryInto::try_into)
    .transpose()
}

/// The live token of this id, whosever it is: a call presents it before its
/// connector is known. The caller still has to compare the secret.
///
/// # Errors
///
/// When the database does not answer.
pub async fn find_live(conn: &mut PgConnection, id: TokenId) -> Result<Option<Token>> {
    sqlx::query_as!(
        Row,
        "SELECT connector_id, id, name, role, secret_sha256, created_at, expires_at, last_used_at
         FROM connector.tokens
         WHERE id = $1 AND (expires_at IS NULL OR expires_at > connector.now())",
        id.0
    )
    .fetch_optional(conn)
    .await?
    .map(TryInto::try_into)
    .transpose()
}

/// Notes the use of a token, to the minute.
///
/// # Errors
///
/// When the database does not answer.
pub async fn touch(conn: &mut PgConnection, connector: &ConnectorId, id: TokenId) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.tokens SET last_used_at = connector.now()
         WHERE connector_id = $1 AND id = $2
           AND (last_used_at IS NULL OR last_used_at < connector.now() - interval '1 minute')",
        connector.as_str(),
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Live tokens of a connector, by name.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(conn: &mut PgConnection, connector: &ConnectorId) -> Result<Vec<Token>> {
    sqlx::query_as!(
        Row,
        "SELECT connector_id, id, name, role, secret_sha256, created_at, expires_at, last_used_at
         FROM connector.tokens
         WHERE connector_id = $1 AND (expires_at IS NULL OR expires_at > connector.now())
         ORDER BY name, created_at",
        connector.as_str()
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(TryInto::try_into)
    .collect()
}

/// Ends a token. Says whether it was there.
///
/// # Errors
///
/// When the database does not answer.
pub async fn delete(conn: &mut PgConnection, connector: &ConnectorId, id: TokenId) -> Result<bool> {
    let done = sqlx::query!(
        "DELETE FROM connector.tokens WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
