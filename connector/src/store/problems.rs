//! Folded problems: open ones, and those that were resolved.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Result;
use crate::model::{
    failure::ReasonCode,
    ids::{ConnectorId, IntegrationId},
    problem::Folded,
};

/// A problem as it is stored; its words are made when it is read.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Its integration.
    pub integration_id: Uuid,
    /// Code.
    pub code: String,
    /// What tells it from others of its code.
    pub subject: String,
    /// In how many places it shows.
    pub count: i64,
    /// Some of the places.
    pub examples: Vec<String>,
    /// First seen.
    pub first_seen_at: DateTime<Utc>,
    /// Last seen.
    pub last_seen_at: DateTime<Utc>,
    /// When a sync did not meet it any more; none: it is open.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Until when it is muted; none: it is not.
    pub muted_until: Option<DateTime<Utc>>,
    /// Why it is muted.
    pub mute_reason: Option<String>,
}

/// Who found problems: each resolves its own alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finder {
    /// A sync.
    Sync,
    /// Whoever looks how access gets on.
    Access,
    /// Whoever reads what was done with it.
    Audit,
}

impl Finder {
    /// Who finds problems of a code.
    fn of(code: ReasonCode) -> Self {
        if matches!(code, ReasonCode::AccessStuck | ReasonCode::AccessRecovering) {
            Self::Access
        } else if code == ReasonCode::AuditUnread {
            Self::Audit
        } else {
            Self::Sync
        }
    }

    /// The codes of what it finds.
    pub(super) fn codes(self) -> Vec<String> {
        let all = ReasonCode::ALL.iter().filter(|code| Self::of(**code) == self);
        all.map(ToString::to_string).collect()
    }
}

/// Puts the problems of a sync, or of a look, in the place of those of the one before. One that
/// was open already keeps the time when it was first seen; those that were not met are
/// resolved.
///
/// # Errors
///
/// When the database does not answer.
pub async fn replace(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    (finder, was_whole): (Finder, bool),
    problems: &[Folded],
) -> Result<()> {
    let codes: Vec<String> = problems.iter().map(|problem| problem.code.to_string()).collect();
    let subjects: Vec<String> = problems.iter().map(|problem| problem.subject.clone()).collect();
    let counts: Vec<i64> = problems.iter().map(|problem| problem.count).collect();
    let examples: Vec<serde_json::Value> =
        problems.iter().map(|problem| serde_json::json!(problem.examples)).collect();
    sqlx::query!(
        "INSERT INTO connector.problems AS p
             (connector_id, integration_id, code, subject, count, examples,
              first_seen_at, last_seen_at)
         SELECT $1, $2, code, subject, count,
             ARRAY(SELECT jsonb_array_elements_text(examples)), connector.now(), connector.now()
         FROM unnest($3::text[], $4::text[], $5::bigint[], $6::jsonb[])
             AS found(code, subject, count, examples)
         ON CONFLICT (connector_id, integration_id, code, subject) DO UPDATE
         SET count = excluded.count, examples = excluded.examples,
             last_seen_at = excluded.last_seen_at, resolved_at = NULL,
             first_seen_at = CASE WHEN p.resolved_at IS NULL THEN p.first_seen_at
                 ELSE excluded.first_seen_at END",
        connector.as_str(),
        integration.0,
        &codes,
        &subjects,
        &counts,
        &examples
    )
    .execute(&mut *conn)
    .await?;
    if !was_whole {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE connector.problems p SET resolved_at = connector.now()
         WHERE connector_id = $1 AND integration_id = $2 AND resolved_at IS NULL
           AND code = ANY ($5)
           AND NOT EXISTS (
               SELECT FROM unnest($3::text[], $4::text[]) AS found(code, subject)
               WHERE found.code = p.code AND found.subject = p.subject)",
        connector.as_str(),
        integration.0,
        &codes,
        &subjects,
        &finder.codes()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A checked query for whole rows, by what follows the table's name. A mute that has
/// ended is none.
macro_rules! select {
    ($rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Problem,
            "SELECT integration_id, code, subject, count, examples, first_seen_at, last_seen_at,
                 resolved_at,
                 CASE WHEN muted_until > connector.now() THEN muted_until END AS muted_until,
                 CASE WHEN muted_until > connector.now() THEN mute_reason END AS mute_reason
             FROM connector.problems
             WHERE connector_id = $1 " + $rest,
            $($argument),+
        )
    };
}

/// Open problems, the most frequent first; or, where they are asked for, those too that
/// were resolved, behind them.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: Option<IntegrationId>,
    with_resolved: bool,
) -> Result<Vec<Problem>> {
    Ok(select!(
        "AND ($2::uuid IS NULL OR integration_id = $2) AND ($3 OR resolved_at IS NULL)
         ORDER BY resolved_at DESC NULLS FIRST, count DESC, code, subject, integration_id",
        connector.as_str(),
        integration.map(|id| id.0),
        with_resolved
    )
    .fetch_all(conn)
    .await?)
}

/// How many problems of each code are open and not muted in enabled integrations of some
/// connectors.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
) -> Result<Vec<(String, i64)>> {
    let connectors: Vec<String> = connectors.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"SELECT p.code, count(*) AS "open!" FROM connector.problems p
           JOIN connector.integrations i
             ON i.connector_id = p.connector_id AND i.id = p.integration_id AND i.enabled
           WHERE p.connector_id = ANY ($1) AND p.resolved_at IS NULL
             AND (p.muted_until IS NULL OR p.muted_until <= connector.now())
           GROUP BY p.code"#,
        &connectors
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.code, row.open)).collect())
}

/// Mutes an open problem, or with neither time nor reason ends its mute. None: there is
/// no such problem open.
///
/// # Errors
///
/// When the database does not answer.
pub async fn mute(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    (code, subject): (&str, &str),
    mute: Option<(DateTime<Utc>, &str)>,
) -> Result<Option<Problem>> {
    let done = sqlx::query!(
        "UPDATE connector.problems SET muted_until = $5, mute_reason = $6
         WHERE connector_id = $1 AND integration_id = $2 AND code = $3 AND subject = $4
           AND resolved_at IS NULL",
        connector.as_str(),
        integration.0,
        code,
        subject,
        mute.map(|(until, _)| until),
        mute.map(|(_, reason)| reason)
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    Ok(select!(
        "AND integration_id = $2 AND code = $3 AND subject = $4",
        connector.as_str(),
        integration.0,
        code,
        subject
    )
    .fetch_optional(conn)
    .await?)
}

/// Removes problems that were resolved longer ago than `retention`. Returns how many.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(conn: &mut PgConnection, retention: Duration) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM connector.problems
         WHERE resolved_at < connector.now() - make_interval(secs => $1)",
        retention.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
