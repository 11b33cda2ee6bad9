//! Seals over acts.

use sqlx::PgConnection;

use super::{Result, stored};
use crate::model::{
    ids::ConnectorId,
    seal::{Act, Head, Seal},
};

/// Seals the next acts of a connector, the oldest first; how many. One at a time does so.
///
/// # Errors
///
/// When the database does not answer.
pub async fn seal_next(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    acts_max: i64,
) -> Result<u64> {
    lock(conn, connector).await?;
    sqlx::query!(
        "UPDATE connector.acts SET salt = gen_random_uuid()
         WHERE connector_id = $1 AND salt IS NULL AND number IN (
             SELECT number FROM connector.acts
             WHERE connector_id = $1 AND seal IS NULL ORDER BY number LIMIT $2)",
        connector.as_str(),
        acts_max
    )
    .execute(&mut *conn)
    .await?;
    let acts = sqlx::query_as!(
        Act,
        r#"SELECT number, at, grant_id, verb, actor, object, detail, salt AS "salt!", erased
         FROM connector.acts
         WHERE connector_id = $1 AND seal IS NULL AND salt IS NOT NULL ORDER BY number LIMIT $2"#,
        connector.as_str(),
        acts_max
    )
    .fetch_all(&mut *conn)
    .await?;
    if acts.is_empty() {
        return Ok(0);
    }
    let seal = head(conn, connector).await?.seal(connector.as_str(), &acts);
    sqlx::query!(
        "INSERT INTO connector.seals (connector_id, number, leaves, digest) VALUES ($1, $2, $3, $4)",
        connector.as_str(),
        seal.number,
        seal.leaves,
        seal.digest.as_slice()
    )
    .execute(&mut *conn)
    .await?;
    let numbers: Vec<i64> = acts.iter().map(|act| act.number).collect();
    let done = sqlx::query!(
        "UPDATE connector.acts SET seal = $3 WHERE connector_id = $1 AND number = ANY ($2)",
        connector.as_str(),
        &numbers,
        seal.number
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Has whoever else seals acts, or erases some, wait until the transaction ends.
pub(super) async fn lock(conn: &mut PgConnection, connector: &ConnectorId) -> Result<()> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('seals of acts ' || $1, 0))",
        connector.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn head(conn: &mut PgConnection, connector: &ConnectorId) -> Result<Head> {
    let row = sqlx::query!(
        "SELECT number, digest FROM connector.seals WHERE connector_id = $1
         ORDER BY number DESC LIMIT 1",
        connector.as_str()
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(Head::NONE) };
    Ok(Head { number: row.number, digest: digest(row.digest)? })
}

fn digest(bytes: Vec<u8>) -> Result<[u8; 32]> {
    let bytes = bytes.try_into().map_err(|_| "it has not 32 bytes");
    stored("seals", "digest", bytes)
}

/// The first seal behind one, with the acts that are under it now.
///
/// # Errors
///
/// When the database does not answer.
pub async fn next(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    after: i64,
) -> Result<Option<(Seal, Vec<Act>)>> {
    let row = sqlx::query!(
        "SELECT number, leaves, digest FROM connector.seals
         WHERE connector_id = $1 AND number > $2 ORDER BY number LIMIT 1",
        connector.as_str(),
        after
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let seal = Seal { number: row.number, leaves: row.leaves, digest: digest(row.digest)? };
    let acts = sqlx::query_as!(
        Act,
        r#"SELECT number, at, grant_id, verb, actor, object, detail,
             coalesce(salt, '00000000-0000-0000-0000-000000000000') AS "salt!", erased
         FROM connector.acts WHERE connector_id = $1 AND seal = $2"#,
        connector.as_str(),
        seal.number
    )
    .fetch_all(conn)
    .await?;
    Ok(Some((seal, acts)))
}

/// How many acts are under no seal, the first under one that is not there, and the last seal.
///
/// # Errors
///
/// When the database does not answer.
pub async fn unsealed(
    conn: &mut PgConnection,
    connector: &ConnectorId,
) -> Result<(i64, Option<i64>, i64)> {
    let row = sqlx::query!(
        r#"WITH last AS (
             SELECT coalesce(max(number), 0) AS seal FROM connector.seals WHERE connector_id = $1)
           SELECT count(*) FILTER (WHERE a.seal IS NULL AND a.number IS NOT NULL) AS "unsealed!",
             min(a.number) FILTER (WHERE a.seal IS NOT NULL) AS orphan, last.seal AS "last!"
           FROM last LEFT JOIN connector.acts a
             ON a.connector_id = $1 AND (a.seal IS NULL OR a.seal NOT BETWEEN 1 AND last.seal)
           GROUP BY last.seal"#,
        connector.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok((row.unsealed, row.orphan, row.last))
}
