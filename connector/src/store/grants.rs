//! Grants: what was asked for, and who the recipient is.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, all, expect_one, found, identity_centers::Held, stored};
use crate::model::{
    assignment::Principal,
    grant::Request,
    ids::{ConnectorId, IntegrationId},
};

/// A grant.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Id, as the caller chose it.
    pub id: String,
    /// The order in which they came.
    pub number: i64,
    /// Integration.
    pub integration: IntegrationId,
    /// What was asked.
    pub request: Request,
    /// Who the recipient is; none: not looked up.
    pub principal: Option<Principal>,
    /// Every name of the recipient; none: not looked up.
    pub names: Vec<String>,
    /// Whether the recipient needs to be looked up no more.
    pub is_looked_up: bool,
    /// When it was granted.
    pub created_at: DateTime<Utc>,
    /// When it ends, unless it is revoked.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Counts what was wanted.
    pub desired_version: i64,
    /// Looks for the recipient in a row that failed.
    pub lookup_failures: i32,
    /// Since when that does not get on.
    pub stuck_since: Option<DateTime<Utc>>,
    /// Why.
    pub stuck_reason: String,
}

impl Grant {
    /// When it is over.
    #[must_use]
    pub fn until(&self) -> DateTime<Utc> {
        self.revoked_at.map_or(self.expires_at, |at| at.min(self.expires_at))
    }
}

pub(super) struct Row {
    grant_id: String,
    number: i64,
    integration_id: Uuid,
    request: serde_json::Value,
    principal: Option<serde_json::Value>,
    names: Vec<String>,
    is_looked_up: bool,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    desired_version: i64,
    lookup_failures: i32,
    stuck_since: Option<DateTime<Utc>>,
    stuck_reason: String,
}

impl TryFrom<Row> for Grant {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        let principal = row.principal.map(serde_json::from_value).transpose();
        Ok(Self {
            id: row.grant_id,
            number: row.number,
            integration: IntegrationId(row.integration_id),
            request: stored("grants", "request", serde_json::from_value(row.request))?,
            principal: stored("grants", "principal", principal)?,
            names: row.names,
            is_looked_up: row.is_looked_up,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            desired_version: row.desired_version,
            lookup_failures: row.lookup_failures,
            stuck_since: row.stuck_since,
            stuck_reason: row.stuck_reason,
        })
    }
}

/// A checked query for whole rows, by what follows the table's name.
macro_rules! select {
    ($rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"SELECT grant_id, number, integration_id, request, principal, names,
                 lookup_at IS NULL AS "is_looked_up!", created_at, expires_at,
                 revoked_at, desired_version, lookup_failures, stuck_since, stuck_reason
               FROM connector.grants g "# + $rest,
            $($argument),+
        )
    };
}

/// Stores a grant that starts now, whose recipient is to be looked up.
///
/// # Errors
///
/// When the database does not answer, or the id is taken.
pub async fn insert(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: &str,
    request: &Request,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO connector.grants
             (connector_id, grant_id, integration_id, request, expires_at, lookup_at)
         VALUES ($1, $2, $3, $4, $5, connector.now())",
        connector.as_str(),
        id,
        request.integration,
        stored("grants", "request", serde_json::to_value(request))?,
        expires_at
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// One grant.
///
/// # Errors
///
/// When the database does not answer.
pub async fn get(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: &str,
) -> Result<Option<Grant>> {
    found(
        select!("WHERE connector_id = $1 AND grant_id = $2", connector.as_str(), id)
            .fetch_optional(conn)
            .await?,
    )
}

/// Which grants to list.
#[derive(Clone, Copy, Debug)]
pub struct Which {
    /// Only of this integration.
    pub integration: Option<IntegrationId>,
    /// Also those of which nothing is left.
    pub with_ended: bool,
    /// Only those of which something does not get on.
    pub only_stuck: bool,
}

/// Grants before a number, newest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    which: Which,
    before: i64,
    limit: i64,
) -> Result<Vec<Grant>> {
    select!(
        "WHERE connector_id = $1 AND number < $2
           AND ($3::uuid IS NULL OR integration_id = $3)
           AND ($4 OR EXISTS (
               SELECT FROM connector.units u
               WHERE u.connector_id = g.connector_id AND u.grant_id = g.grant_id
                 AND u.state NOT IN ('ENDED', 'FAILED'))
             -- What is left of a unit that failed goes, too.
             OR EXISTS (
               SELECT FROM connector.holdings h
               WHERE h.connector_id = g.connector_id AND h.grant_id = g.grant_id
                 AND h.state NOT IN ('ENDED', 'FAILED')))
           AND (NOT $5 OR g.stuck_since IS NOT NULL OR EXISTS (
               SELECT FROM connector.holdings h
               JOIN connector.targets t ON t.connector_id = h.connector_id AND t.id = h.target_id
               WHERE h.connector_id = g.connector_id AND h.grant_id = g.grant_id
                 AND h.state NOT IN ('ENDED', 'FAILED') AND t.stuck_since IS NOT NULL))
         ORDER BY number DESC LIMIT $6",
        connector.as_str(),
        before,
        which.integration.map(|id| id.0),
        which.with_ended,
        which.only_stuck,
        limit
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(TryInto::try_into)
    .collect()
}

/// Grants of an instance whose recipient is to be looked up, those that wait longest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn to_look_up(
    conn: &mut PgConnection,
    held: &Held,
    but: &[String],
    limit: i64,
) -> Result<Vec<Grant>> {
    all(select!(
        "WHERE connector_id = $1 AND integration_id = $2 AND lookup_at <= connector.now()
           AND grant_id <> ALL ($3)
         ORDER BY lookup_at, number LIMIT $4",
        held.connector.as_str(),
        held.integration.0,
        but,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// Locks a grant.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: &str,
) -> Result<Option<Grant>> {
    found(
        select!(
            "WHERE connector_id = $1 AND grant_id = $2 FOR NO KEY UPDATE",
            connector.as_str(),
            id
        )
        .fetch_optional(conn)
        .await?,
    )
}

/// Who a recipient is.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// In the identity store, or in IAM.
    pub principal: &'a Principal,
    /// Every name by which a rule may know it.
    pub names: &'a [String],
    /// How Identity Center names its sessions; empty: it is none of its users.
    pub user_name: &'a str,
}

/// Notes who the recipient of a locked grant is (none: nobody needs to know any more).
///
/// # Errors
///
/// When the grant is gone.
pub async fn end_lookup(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: &str,
    known: Option<Known<'_>>,
) -> Result<()> {
    let principal = known.map(|known| serde_json::to_value(known.principal)).transpose();
    let names = known.map(|known| known.names).unwrap_or_default();
    let done = sqlx::query!(
        "UPDATE connector.grants
         SET principal = $3, names = $4, user_name = $5, lookup_at = NULL, lookup_failures = 0, stuck_since = NULL,
             stuck_reason = ''
         WHERE connector_id = $1 AND grant_id = $2",
        connector.as_str(),
        id,
        stored("grants", "principal", principal)?,
        names,
        known.map_or("", |known| known.user_name)
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Notes that the recipient could not be looked up, and when to try again.
///
/// # Errors
///
/// When the database does not answer.
pub async fn postpone_lookup(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: &str,
    at: DateTime<Utc>,
    trouble: &str,
) -> Result<()> {
    sqlx::query!(
        "UPDATE connector.grants
         SET lookup_at = $3, lookup_failures = lookup_failures + 1,
             stuck_since = coalesce(stuck_since, connector.now()), stuck_reason = $4
         WHERE connector_id = $1 AND grant_id = $2 AND lookup_at IS NOT NULL
           AND revoked_at IS NULL",
        connector.as_str(),
        id,
        at,
        trouble
    )
    .execute(conn)
    .await?;
    Ok(())
}
