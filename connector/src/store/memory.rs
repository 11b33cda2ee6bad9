//! Whether this database is the one that was written last. A copy that was restored, and a standby
//! that took over, may have forgotten what was granted; until somebody has said what became of
//! that, the connectors in it are *recovering*, and nothing is done in AWS for them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, acts};
use crate::model::ids::ConnectorId;

/// Who says that the database has forgotten something.
#[derive(Clone, Copy, Debug)]
pub struct Doubt<'a> {
    /// What happened to it.
    pub cause: &'a str,
    /// Until when it remembers all; none: until it was seen last.
    pub remembered_until: Option<DateTime<Utc>>,
}

/// What a look at the database has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It is the one that was written last.
    Kept,
    /// It is another one; so many connectors are recovering from now on.
    Lost(usize),
}

/// Looks whether the database is the one that was written last, and remembers which one it is. A
/// fail-over alone may be trusted. It is never older than when this process has seen it last, at
/// `seen_at`; when that is now is answered, too.
///
/// # Errors
///
/// When the database does not answer.
pub async fn look(
    tx: &mut PgConnection,
    trusts_failover: bool,
    seen_at: Option<DateTime<Utc>>,
) -> Result<(Memory, DateTime<Utc>)> {
    sqlx::query!(
        "INSERT INTO connector.memory (place, timeline, seen_at)
         VALUES (connector.memory_place(), connector.memory_timeline(), connector.now())
         ON CONFLICT DO NOTHING"
    )
    .execute(&mut *tx)
    .await?;
    let found = sqlx::query!(
        r#"SELECT place = connector.memory_place() AS "is_here!",
             timeline = connector.memory_timeline() AS "is_on_its_timeline!", seen_at
           FROM connector.memory FOR UPDATE"#
    )
    .fetch_one(&mut *tx)
    .await?;
    let cause = if !found.is_here {
        Some("the database was restored from a copy, or moved")
    } else if !found.is_on_its_timeline && !trusts_failover {
        Some("another database server took over, or it was restored to an earlier time")
    } else if seen_at.is_some_and(|seen_at| found.seen_at < seen_at) {
        Some("the database is older than it was a moment ago")
    } else {
        None
    };
    let memory = match cause {
        Some(cause) => Memory::Lost(doubt(tx, Doubt { cause, remembered_until: None }).await?),
        None => Memory::Kept,
    };
    let seen_at = sqlx::query_scalar!(
        "UPDATE connector.memory SET place = connector.memory_place(),
             timeline = connector.memory_timeline(), seen_at = greatest(seen_at, connector.now())
         RETURNING seen_at"
    )
    .fetch_one(tx)
    .await?;
    Ok((memory, seen_at))
}

/// Revisions in which followers of changes may have heard of what is forgotten now.
const REVISIONS_PASSED: i64 = 1_000_000_000;

/// Doubts what the database remembers, of all connectors in it: nothing is done in AWS, and
/// followers of changes begin again. How many connectors were not in doubt before.
///
/// # Errors
///
/// When the database does not answer.
pub async fn doubt(tx: &mut PgConnection, doubt: Doubt<'_>) -> Result<usize> {
    let doubted = sqlx::query_scalar!(
        "UPDATE connector.connectors
         SET recovering_since = connector.now(), recovery_cause = $1,
             remembered_until = coalesce($2, (SELECT seen_at FROM connector.memory), connector.now())
         WHERE recovering_since IS NULL
         RETURNING connector_id",
        doubt.cause,
        doubt.remembered_until
    )
    .fetch_all(&mut *tx)
    .await?;
    // Of an earlier recovery, which the database may remember as going on.
    sqlx::query!("DELETE FROM connector.recovery_reads").execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM connector.forgotten").execute(&mut *tx).await?;
    for connector in &doubted {
        let connector = super::stored("connectors", "connector_id", connector.parse())?;
        let (verb, actor) = ("RECOVERING", acts::CONNECTOR);
        let act = acts::New { grant: "", verb, actor, object: "", detail: doubt.cause };
        acts::note(&mut *tx, &connector, act).await?;
    }
    sqlx::query!(
        "UPDATE connector.feeds f SET revision = f.revision + $1, horizon = f.revision + $1
         FROM (
             SELECT connector_id, integration_id FROM connector.feeds
             ORDER BY connector_id, integration_id FOR UPDATE) AS held
         WHERE (f.connector_id, f.integration_id) = (held.connector_id, held.integration_id)",
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
