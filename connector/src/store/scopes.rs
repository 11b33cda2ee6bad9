//! Freshness and outcome of each scope.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Result, expect};
use crate::model::{
    failure::{Reason, ReasonCode},
    ids::{AccountId, ConnectorId, IntegrationId},
    problem::EXAMPLES_MAX,
    proof::Complete,
    scope::{Group, Place},
};

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

/// How a read of a scope went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// From its first call to its last page.
    pub took: Duration,
    /// Of that, waiting for budgets.
    pub waited: Duration,
    /// Attempts at calls.
    pub calls: u32,
    /// Of them, those that AWS throttled.
    pub throttles: u32,
    /// Pages.
    pub pages: u32,
    /// Resources on them.
    pub seen: i64,
    /// Of them, those that were new or had changed.
    pub written: i64,
    /// Resources proven gone.
    pub gone: i64,
}

/// The end of a read of a scope: whole, which only a proof says, or not, with the reason.
#[derive(Clone, Debug)]
pub struct Ended {
    place: Place,
    collector: &'static str,
    is_complete: bool,
    reason: Option<Reason>,
    run: Run,
}

impl Ended {
    /// It was read whole.
    #[must_use]
    pub fn complete(proof: &Complete, run: Run) -> Self {
        let scope = proof.scope();
        let place = scope.group.place.clone();
        Self { place, collector: scope.collector, is_complete: true, reason: None, run }
    }

    /// Something is to be said of it all the same, such as that a removal is held.
    #[must_use]
    pub fn with(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// It was not. Its rows and its last complete read stay.
    #[must_use]
    pub fn incomplete(place: Place, collector: &'static str, reason: Reason, run: Run) -> Self {
        Self { place, collector, is_complete: false, reason: Some(reason), run }
    }

    /// Whether it was read whole.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The collector.
    #[must_use]
    pub fn collector(&self) -> &'static str {
        self.collector
    }

    /// The code of its reason, where it has one.
    #[must_use]
    pub fn code(&self) -> Option<ReasonCode> {
        self.reason.as_ref().map(|reason| reason.code)
    }

    /// How it went.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }
}

/// Stores how reads of one generation ended. Each scope ends once in a generation.
///
/// # Errors
///
/// When one of them has ended before.
pub async fn record<'a>(
    conn: &mut PgConnection,
    (connector, integration, generation): (&ConnectorId, IntegrationId, i64),
    ended: impl IntoIterator<Item = &'a Ended>,
) -> Result<()> {
    let ended: Vec<&Ended> = ended.into_iter().collect();
    let texts = |text: fn(&Ended) -> &str| -> Vec<String> {
        ended.iter().map(|ended| text(ended).to_owned()).collect()
    };
    let numbers = |number: fn(&Run) -> i64| -> Vec<i64> {
        ended.iter().map(|ended| number(&ended.run)).collect()
    };
    let reasons: Vec<Option<String>> =
        ended.iter().map(|ended| ended.code().map(|code| code.to_string())).collect();
    let complete: Vec<bool> = ended.iter().map(|ended| ended.is_complete).collect();
    let done = sqlx::query!(
        "INSERT INTO connector.scopes AS s
             (connector_id, integration_id, tried_generation, tried_at, account_id, region,
              collector, reason, subject, detail, complete_at, complete_generation,
              took_ms, waited_ms, calls, throttles, pages, seen, written, gone, expected_ms)
         SELECT $1, $2, $3, connector.now(), e.account_id, e.region, e.collector, e.reason,
             e.subject, e.detail, CASE WHEN e.complete THEN connector.now() END,
             CASE WHEN e.complete THEN $3::bigint END, e.took_ms, e.waited_ms, e.calls,
             e.throttles, e.pages, e.seen, e.written, e.gone, e.took_ms
         FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
             $10::bool[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
             $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[])
             AS e(account_id, region, collector, reason, subject, detail, complete, took_ms,
                 waited_ms, calls, throttles, pages, seen, written, gone)
         ON CONFLICT (connector_id, integration_id, account_id, region, collector) DO UPDATE
         SET tried_generation = excluded.tried_generation, tried_at = excluded.tried_at,
             reason = excluded.reason, subject = excluded.subject, detail = excluded.detail,
             complete_at = coalesce(excluded.complete_at, s.complete_at),
             complete_generation =
                 coalesce(excluded.complete_generation, s.complete_generation),
             took_ms = excluded.took_ms, waited_ms = excluded.waited_ms,
             calls = excluded.calls, throttles = excluded.throttles, pages = excluded.pages,
             seen = excluded.seen, written = excluded.written, gone = excluded.gone,
             expected_ms = CASE WHEN excluded.complete_at IS NULL THEN s.expected_ms
                 ELSE (3 * s.expected_ms + excluded.expected_ms) / 4 END
         WHERE s.tried_generation < excluded.tried_generation",
        connector.as_str(),
        integration.0,
        generation,
        &texts(|ended| ended.place.account_key()),
        &texts(|ended| ended.place.region_key()),
        &texts(|ended| ended.collector),
        &reasons as &[Option<String>],
        &texts(|ended| ended.reason.as_ref().map_or("", |reason| &reason.subject)),
        &texts(|ended| ended.reason.as_ref().map_or("", |reason| &reason.detail)),
        &complete,
        &numbers(|run| milliseconds(run.took)),
        &numbers(|run| milliseconds(run.waited)),
        &numbers(|run| run.calls.into()),
        &numbers(|run| run.throttles.into()),
        &numbers(|run| run.pages.into()),
        &numbers(|run| run.seen),
        &numbers(|run| run.written),
        &numbers(|run| run.gone)
    )
    .execute(conn)
    .await?;
    expect(ended.len(), &done)
}

/// The longest that is stored: three weeks.
fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i32::MAX.into())
}

/// A reason, folded over the places where it shows.
#[derive(Clone, Debug)]
pub struct FoldedReason {
    /// Its code.
    pub code: String,
    /// What tells it from others of its code.
    pub subject: String,
    /// In how many places it shows.
    pub count: i64,
    /// Some of the places.
    pub examples: Vec<String>,
}

/// The reasons of a generation's scopes, folded here: an organization may have tens of
/// thousands of scopes with one reason. An account whose role is missing is one place to
/// whoever has to mend it.
///
/// # Errors
///
/// When the database does not answer.
pub async fn folded_reasons(
    conn: &mut PgConnection,
    (connector, integration, generation): (&ConnectorId, IntegrationId, i64),
) -> Result<Vec<FoldedReason>> {
    let of_accounts =
        [ReasonCode::MemberRoleDenied, ReasonCode::MemberRolePending].map(|code| code.to_string());
    Ok(sqlx::query_as!(
        FoldedReason,
        r#"SELECT reason AS "code!", subject, count(*) AS "count!",
             (array_agg(place ORDER BY place))[1:$5] AS "examples!"
           FROM (
             SELECT DISTINCT reason, subject,
                 CASE WHEN reason = ANY ($4) THEN account_id
                 ELSE concat_ws(' ', nullif(account_id, ''), nullif(region, ''), collector)
                 END AS place
             FROM connector.scopes
             WHERE connector_id = $1 AND integration_id = $2 AND tried_generation = $3
               AND reason IS NOT NULL) AS places
           GROUP BY reason, subject"#,
        connector.as_str(),
        integration.0,
        generation,
        &of_accounts[..],
        i32::try_from(EXAMPLES_MAX).unwrap_or(i32::MAX)
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
    (connector, integration, generation): (&ConnectorId, IntegrationId, i64),
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
    (connector, integration, generation): (&ConnectorId, IntegrationId, i64),
    account: &AccountId,
    reason: &Reason,
) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.scopes
         SET tried_generation = $4, tried_at = connector.now(), reason = $5, subject = $6,
             detail = $7
         WHERE connector_id = $1 AND integration_id = $2 AND account_id = $3 AND region <> ''
           AND tried_generation < $4",
        connector.as_str(),
        integration.0,
        account.as_str(),
        generation,
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
        r#"SELECT account_id, unread_reason AS "reason!", count(*) AS "scopes!",
             min(detail) AS "example!"
           FROM connector.scopes
           WHERE connector_id = $1 AND integration_id = $2 AND unread_reason IS NOT NULL
             AND account_id <> ''
           GROUP BY account_id, unread_reason ORDER BY account_id, unread_reason"#,
        connector.as_str(),
        integration.0
    )
    .fetch_all(conn)
    .await?)
}

/// Notes that scopes of former syncs are no longer read: all that a sync has neither
/// tried nor planned. Their rows stay, marked stale; but what lies in accounts that have
/// gone is forgotten as soon as nothing live is left there. Called when the sync has ended.
///
/// # Errors
///
/// When the database does not answer.
pub async fn record_uncovered(
    conn: &mut PgConnection,
    (connector, integration, generation): (&ConnectorId, IntegrationId, i64),
) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.scopes
         SET reason = $4, subject = '', detail = ''
         WHERE connector_id = $1 AND integration_id = $2 AND tried_generation < $3
           AND reason IS DISTINCT FROM $4",
        connector.as_str(),
        integration.0,
        generation,
        ReasonCode::NotCovered.as_str()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM connector.scopes s USING connector.accounts a
         WHERE s.connector_id = $1 AND s.integration_id = $2 AND s.tried_generation < $3
           AND a.connector_id = $1 AND a.integration_id = $2 AND a.account_id = s.account_id
           AND a.coverage = 'gone'
           AND NOT EXISTS (
               SELECT FROM connector.resources r
               WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.gone_at IS NULL
                 AND r.scope_account_id = s.account_id AND r.scope_region = s.region
                 AND r.collector = s.collector)",
        connector.as_str(),
        integration.0,
        generation
    )
    .execute(conn)
    .await?;
    Ok(())
}
