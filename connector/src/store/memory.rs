//! Whether this database is the one that was written last. A copy that was restored, and a standby
//! that took over, may have forgotten what was granted; until somebody has said what became of
//! that, the connectors in it are *recovering*, and nothing is done in AWS for them.

use sqlx::PgConnection;

use super::{Result, acts};
use crate::model::ids::ConnectorId;

/// What a look at the database has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It is the one that was written last.
    Kept,
    /// It is another one; so many connectors are recovering from now on.
    Lost(usize),
}

/// Looks whether the database is the one that was written last, and remembers which one it is. A
/// fail-over alone may be trusted.
///
/// # Errors
///
/// When the database does not answer.
pub async fn look(tx: &mut PgConnection, trusts_failover: bool) -> Result<Memory> {
    sqlx::query!(
        "INSERT INTO connector.memory (place, timeline, seen_at)
         VALUES (connector.memory_place(), connector.memory_timeline(), connector.now())
         ON CONFLICT DO NOTHING"
    )
    .execute(&mut *tx)
    .await?;
    let found = sqlx::query!(
        r#"SELECT place = connector.memory_place() AS "is_here!",
             timeline = connector.memory_timeline() AS "is_on_its_timeline!"
           FROM connector.memory FOR UPDATE"#
    )
    .fetch_one(&mut *tx)
    .await?;
    let cause = if !found.is_here {
        Some("the database was restored from a copy, or moved")
    } else if !found.is_on_its_timeline && !trusts_failover {
        Some("another database server took over, or it was restored to an earlier time")
    } else {
        None
    };
    let memory = match cause {
        Some(cause) => Memory::Lost(doubt(tx, cause).await?),
        None => Memory::Kept,
    };
    sqlx::query!(
        "UPDATE connector.memory SET place = connector.memory_place(),
             timeline = connector.memory_timeline(), seen_at = connector.now()"
    )
    .execute(tx)
    .await?;
    Ok(memory)
}

/// Revisions in which followers of changes may have heard of what is forgotten now.
const REVISIONS_PASSED: i64 = 1_000_000_000;

/// Doubts what the database remembers, of all connectors in it: nothing is done in AWS, and
/// followers of changes begin again. How many connectors were not in doubt before.
///
/// # Errors
///
/// When the database does not answer.
pub async fn doubt(tx: &mut PgConnection, cause: &str) -> Result<usize> {
    let doubted = sqlx::query_scalar!(
        "UPDATE connector.connectors
         SET recovering_since = connector.now(), recovery_cause = $1,
             remembered_until = coalesce((SELECT seen_at FROM connector.memory), connector.now())
         WHERE recovering_since IS NULL
         RETURNING connector_id",
        cause
    )
    .fetch_all(&mut *tx)
    .await?;
    for connector in &doubted {
        let connector = super::stored("connectors", "connector_id", connector.parse())?;
        let (verb, actor) = ("RECOVERING", acts::CONNECTOR);
        let act = acts::New { grant: "", verb, actor, object: "", detail: cause };
        acts::note(&mut *tx, &connector, act).await?;
    }
    sqlx::query!(
        "UPDATE connector.feeds SET revision = revision + $1, horizon = revision + $1",
        REVISIONS_PASSED
    )
    .execute(tx)
    .await?;
    Ok(doubted.len())
}

/// Whether nothing may be done in AWS for a connector.
///
/// # Errors
///
/// When the database does not answer.
pub async fn is_recovering(conn: &mut PgConnection, connector: &ConnectorId) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT connector.is_recovering($1) AS "is_recovering!""#,
        connector.as_str()
    )
    .fetch_one(conn)
    .await?)
}

/// How many of these connectors are recovering.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count_recovering(conn: &mut PgConnection, connectors: &[ConnectorId]) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM unnest($1::text[]) AS c(id)
           WHERE connector.is_recovering(id)"#,
        &super::texts(connectors)
    )
    .fetch_one(conn)
    .await?)
}
