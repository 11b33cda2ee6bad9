//! Freshness and outcome of each scope.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, expect_one};
use crate::model::{
    breaker::Held,
    failure::{Reason, ReasonCode},
    ids::{AccountId, ConnectorId, IntegrationId},
    proof::Complete,
    scope::{Group, Place, Scope},
};

/// The outcome of a scope's last try.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Account; empty: the organization.
    pub account_id: String,
    /// Region; empty: none.
    pub region: String,
    /// Collector.
    pub collector: String,
    /// Why it was not read whole; none: it was.
    pub reason: Option<String>,
    /// What the reason is about.
    pub subject: String,
    /// What was said.
    pub detail: String,
    /// When it was last read whole.
    pub complete_at: Option<DateTime<Utc>>,
}

/// Collectors of a group that were tried in its generation already: after a restart
/// they are not read again.
///
/// # Errors
///
/// When the database does not answer.
pub async fn tried(conn: &mut PgConnection, group: &Group) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        "SELECT collector FROM connector.scopes
         WHERE connector_id = $1 AND integration_id = $2 AND account_id = $3 AND region = $4
           AND tried_generation = $5",
        group.connector.as_str(),
        group.integration.0,
        group.place.account_key(),
        group.place.region_key(),
        group.generation
    )
    .fetch_all(conn)
    .await?)
}

/// What the breaker remembers of a scope.
///
/// # Errors
///
/// When the database does not answer.
pub async fn held(conn: &mut PgConnection, scope: &Scope) -> Result<Held> {
    let row = sqlx::query!(
        "SELECT held_reads, held_digest FROM connector.scopes
         WHERE connector_id = $1 AND integration_id = $2 AND account_id = $3 AND region = $4
           AND collector = $5",
        scope.group.connector.as_str(),
        scope.group.integration.0,
        scope.group.place.account_key(),
        scope.group.place.region_key(),
        scope.collector
    )
    .fetch_optional(conn)
    .await?;
    Ok(row
        .map_or_else(Held::default, |row| Held { reads: row.held_reads, digest: row.held_digest }))
}

/// Notes that a scope was read whole; the breaker may still hold a removal, which
/// is a reason without being a gap.
///
/// # Errors
///
/// When the database does not answer.
pub async fn record_complete(
    conn: &mut PgConnection,
    proof: &Complete,
    held: Option<(&Held, &Reason)>,
) -> Result<()> {
    let scope = proof.scope();
    let (reads, digest, reason) = match held {
        Some((held, reason)) => (held.reads, held.digest.as_deref(), Some(reason)),
        None => (0, None, None),
    };
    let done = sqlx::query!(
        "INSERT INTO connector.scopes AS s
             (connector_id, integration_id, account_id, region, collector,
              tried_generation, tried_at, reason, subject, detail,
              complete_at, complete_generation, held_reads, held_digest)
         VALUES ($1, $2, $3, $4, $5, $6, connector.now(), $7, $8, $9, connector.now(), $6, $10, $11)
         ON CONFLICT (connector_id, integration_id, account_id, region, collector) DO UPDATE
         SET tried_generation = excluded.tried_generation, tried_at = excluded.tried_at,
             reason = excluded.reason, subject = excluded.subject, detail = excluded.detail,
             complete_at = excluded.complete_at,
             complete_generation = excluded.complete_generation,
             held_reads = excluded.held_reads, held_digest = excluded.held_digest
         WHERE s.tried_generation < excluded.tried_generation",
        scope.group.connector.as_str(),
        scope.group.integration.0,
        scope.group.place.account_key(),
        scope.group.place.region_key(),
        scope.collector,
        scope.group.generation,
        reason.map(|reason| reason.code.as_str()),
        reason.map_or("", |reason| &reason.subject),
        reason.map_or("", |reason| &reason.detail),
        reads,
        digest
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Notes why a scope was not read whole. Its rows and its last complete read stay.
///
/// # Errors
///
/// When the database does not answer.
pub async fn record_incomplete(
    conn: &mut PgConnection,
    scope: &Scope,
    reason: &Reason,
) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO connector.scopes AS s
             (connector_id, integration_id, account_id, region, collector,
              tried_generation, tried_at, reason, subject, detail)
         VALUES ($1, $2, $3, $4, $5, $6, connector.now(), $7, $8, $9)
         ON CONFLICT (connector_id, integration_id, account_id, region, collector) DO UPDATE
         SET tried_generation = excluded.tried_generation, tried_at = excluded.tried_at,
             reason = excluded.reason, subject = excluded.subject, detail = excluded.detail
         WHERE s.tried_generation < excluded.tried_generation",
        scope.group.connector.as_str(),
        scope.group.integration.0,
        scope.group.place.account_key(),
        scope.group.place.region_key(),
        scope.collector,
        scope.group.generation,
        reason.code.as_str(),
        reason.subject,
        reason.detail
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// The scopes of a generation that have something to say.
///
/// # Errors
///
/// When the database does not answer.
pub async fn with_reason(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    generation: i64,
) -> Result<Vec<Outcome>> {
    Ok(sqlx::query_as!(
        Outcome,
        "SELECT account_id, region, collector, reason, subject, detail, complete_at
         FROM connector.scopes
         WHERE connector_id = $1 AND integration_id = $2 AND tried_generation = $3
           AND reason IS NOT NULL
         ORDER BY account_id, region, collector",
        connector.as_str(),
        integration.0,
        generation
    )
    .fetch_all(conn)
    .await?)
}

/// Whether one scope was read whole in this generation.
///
/// # Errors
///
/// When the database does not answer.
pub async fn is_complete(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    generation: i64,
    place: &Place,
    collector: &str,
) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM connector.scopes
             WHERE connector_id = $1 AND integration_id = $2 AND account_id = $4 AND region = $5
               AND collector = $6 AND complete_generation = $3) AS "complete!""#,
        connector.as_str(),
        integration.0,
        generation,
        place.account_key(),
        place.region_key(),
        collector
    )
    .fetch_one(conn)
    .await?)
}

/// Notes a reason for every scope in the regions of an account that was read before:
/// the account cannot be opened, so none of them was tried.
///
/// # Errors
///
/// When the database does not answer.
pub async fn record_regions_incomplete(
    conn: &mut PgConnection,
    group: &Group,
    account: &AccountId,
    reason: &Reason,
) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.scopes
         SET tried_generation = $4, tried_at = connector.now(), reason = $5, subject = $6,
             detail = $7
         WHERE connector_id = $1 AND integration_id = $2 AND account_id = $3 AND region <> ''
           AND tried_generation < $4",
        group.connector.as_str(),
        group.integration.0,
        account.as_str(),
        group.generation,
        reason.code.as_str(),
        reason.subject,
        reason.detail
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Why scopes of an account could not be read last time, folded.
#[derive(Clone, Debug)]
pub struct UnreadFold {
    /// Account.
    pub account_id: String,
    /// Reason code.
    pub reason: String,
    /// How many scopes.
    pub scopes: i64,
    /// What was said, for one of them.
    pub example: String,
}

/// The reasons of all accounts of an integration.
///
/// # Errors
///
/// When the database does not answer.
pub async fn unread_by_account(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Vec<UnreadFold>> {
    Ok(sqlx::query_as!(
        UnreadFold,
        r#"SELECT account_id, reason AS "reason!", count(*) AS "scopes!", min(detail) AS "example!"
           FROM connector.scopes
           WHERE connector_id = $1 AND integration_id = $2 AND reason IS NOT NULL
             AND account_id <> ''
           GROUP BY account_id, reason ORDER BY account_id, reason"#,
        connector.as_str(),
        integration.0
    )
    .fetch_all(conn)
    .await?)
}

/// Notes that scopes of former syncs are no longer read: all that a sync has neither
/// tried nor planned. Their rows stay, marked stale. Called when it has ended.
///
/// # Errors
///
/// When the database does not answer.
pub async fn record_uncovered(conn: &mut PgConnection, group: &Group) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.scopes
         SET reason = $4, subject = '', detail = ''
         WHERE connector_id = $1 AND integration_id = $2 AND tried_generation < $3
           AND reason IS DISTINCT FROM $4",
        group.connector.as_str(),
        group.integration.0,
        group.generation,
        ReasonCode::NotCovered.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}
