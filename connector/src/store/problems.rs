//! Folded problems.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Result;
use crate::model::{
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
}

/// Puts the problems of a sync in the place of those of the sync before. One that
/// was there already keeps the time when it was first seen.
///
/// # Errors
///
/// When the database does not answer.
pub async fn replace(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    problems: &[Folded],
) -> Result<()> {
    for problem in problems {
        sqlx::query!(
            "INSERT INTO connector.problems AS p
                 (connector_id, integration_id, code, subject, count, examples,
                  first_seen_at, last_seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, connector.now(), connector.now())
             ON CONFLICT (connector_id, integration_id, code, subject) DO UPDATE
             SET count = excluded.count, examples = excluded.examples,
                 last_seen_at = excluded.last_seen_at",
            connector.as_str(),
            integration.0,
            problem.code.as_str(),
            problem.subject,
            problem.count,
            &problem.examples
        )
        .execute(&mut *conn)
        .await?;
    }
    let (codes, subjects): (Vec<String>, Vec<String>) =
        problems.iter().map(|problem| (problem.code.to_string(), problem.subject.clone())).unzip();
    sqlx::query!(
        "DELETE FROM connector.problems p
         WHERE connector_id = $1 AND integration_id = $2
           AND NOT EXISTS (
               SELECT FROM unnest($3::text[], $4::text[]) AS now(code, subject)
               WHERE now.code = p.code AND now.subject = p.subject)",
        connector.as_str(),
        integration.0,
        &codes,
        &subjects
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Open problems, the most frequent first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: Option<IntegrationId>,
) -> Result<Vec<Problem>> {
    Ok(sqlx::query_as!(
        Problem,
        "SELECT integration_id, code, subject, count, examples, first_seen_at, last_seen_at
         FROM connector.problems
         WHERE connector_id = $1 AND ($2::uuid IS NULL OR integration_id = $2)
         ORDER BY count DESC, code, subject, integration_id",
        connector.as_str(),
        integration.map(|id| id.0)
    )
    .fetch_all(conn)
    .await?)
}
