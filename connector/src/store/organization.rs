//! Organizational units and accounts, as the last complete walk saw them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, stored};
use crate::model::{
    ids::{AccountId, ConnectorId, IntegrationId, OuId},
    integration::Settings,
    organization::{Coverage, Walk},
    scope::Group,
};

/// A root or organizational unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// `r-…` or `ou-…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Parent; empty: the root.
    pub parent_id: String,
}

/// An account with what is known of its reading.
#[derive(Clone, Debug)]
pub struct Account {
    /// Twelve digits.
    pub id: AccountId,
    /// Name.
    pub name: String,
    /// E-mail of its root user.
    pub email: String,
    /// State, as AWS writes it.
    pub state: String,
    /// From the root down.
    pub path: Vec<String>,
    /// Whether it is crawled.
    pub coverage: Coverage,
    /// When it was first seen.
    pub first_seen_at: DateTime<Utc>,
    /// Live resources in it.
    pub resources: i64,
}

struct Row {
    account_id: String,
    name: String,
    email: String,
    state: String,
    path: Vec<String>,
    coverage: String,
    first_seen_at: DateTime<Utc>,
    resources: i64,
}

impl TryFrom<Row> for Account {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: stored("accounts", "account_id", row.account_id.parse())?,
            name: row.name,
            email: row.email,
            state: row.state,
            path: row.path,
            coverage: stored("accounts", "coverage", row.coverage.parse())?,
            first_seen_at: row.first_seen_at,
            resources: row.resources,
        })
    }
}

/// Stores a complete walk. What it did not meet is gone: the walk is the proof. What lay
/// in a unit that is still excluded, and now lies outside, is announced.
///
/// # Errors
///
/// When the database does not answer.
pub async fn record_walk(
    conn: &mut PgConnection,
    group: &Group,
    walk: &Walk,
    settings: &Settings,
) -> Result<()> {
    record_units(&mut *conn, group, walk).await?;
    record_accounts(conn, group, walk, settings).await
}

async fn record_units(conn: &mut PgConnection, group: &Group, walk: &Walk) -> Result<()> {
    let ids: Vec<String> = walk.units().iter().map(|unit| unit.id.to_string()).collect();
    let names: Vec<String> = walk.units().iter().map(|unit| unit.name.clone()).collect();
    let parents: Vec<String> = walk
        .units()
        .iter()
        .map(|unit| unit.parent.as_ref().map_or_else(String::new, ToString::to_string))
        .collect();
    sqlx::query!(
        "INSERT INTO connector.organizational_units AS u
             (connector_id, integration_id, ou_id, name, parent_id)
         SELECT $1, $2, ou_id, name, parent_id
         FROM unnest($3::text[], $4::text[], $5::text[]) AS t(ou_id, name, parent_id)
         ON CONFLICT (connector_id, integration_id, ou_id) DO UPDATE
         SET name = excluded.name, parent_id = excluded.parent_id, gone_at = NULL
         WHERE (u.name, u.parent_id) IS DISTINCT FROM (excluded.name, excluded.parent_id)
            OR u.gone_at IS NOT NULL",
        group.connector.as_str(),
        group.integration.0,
        &ids,
        &names,
        &parents
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE connector.organizational_units SET gone_at = connector.now()
         WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
           AND ou_id <> ALL ($3)",
        group.connector.as_str(),
        group.integration.0,
        &ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn record_accounts(
    conn: &mut PgConnection,
    group: &Group,
    walk: &Walk,
    settings: &Settings,
) -> Result<()> {
    let accounts = walk.accounts();
    let ids: Vec<String> = accounts.iter().map(|account| account.id.to_string()).collect();
    let excluded: Vec<String> = settings.excluded_ou_ids.iter().map(ToString::to_string).collect();
    let rows: Vec<serde_json::Value> = accounts
        .iter()
        .map(|account| {
            serde_json::json!({
                "account_id": account.id,
                "arn": account.arn,
                "name": account.name,
                "email": account.email,
                "state": account.state.as_str(),
                "path": account.paths.first(),
                "coverage": Coverage::of(account, settings).as_str(),
            })
        })
        .collect();
    sqlx::query!(
        "INSERT INTO connector.accounts AS a
             (connector_id, integration_id, account_id, arn, name, email, state, path, coverage)
         SELECT $1, $2, t.account_id, t.arn, t.name, t.email, t.state, t.path, t.coverage
         FROM jsonb_to_recordset($3) AS t(account_id text, arn text, name text, email text,
             state text, path text[], coverage text)
         ON CONFLICT (connector_id, integration_id, account_id) DO UPDATE
         SET arn = excluded.arn, name = excluded.name, email = excluded.email,
             state = excluded.state, path = excluded.path, gone_at = NULL,
             coverage = CASE
                 WHEN a.coverage = 'excluded' AND excluded.coverage = 'crawled' AND a.path && $4
                 THEN 'announced' ELSE excluded.coverage END
         WHERE (a.arn, a.name, a.email, a.state, a.path, a.coverage)
             IS DISTINCT FROM (excluded.arn, excluded.name, excluded.email, excluded.state,
                 excluded.path, excluded.coverage)",
        group.connector.as_str(),
        group.integration.0,
        serde_json::Value::Array(rows),
        &excluded
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE connector.accounts a SET coverage = 'gone', gone_at = connector.now()
         WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
           AND NOT EXISTS (
               SELECT FROM unnest($3::text[]) AS there(account_id)
               WHERE there.account_id = a.account_id)",
        group.connector.as_str(),
        group.integration.0,
        &ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Units that are there, parents before children.
///
/// # Errors
///
/// When the database does not answer.
pub async fn units(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Vec<Unit>> {
    Ok(sqlx::query_as!(
        Unit,
        r#"WITH RECURSIVE tree AS (
             SELECT ou_id, name, parent_id, 0 AS depth
             FROM connector.organizational_units
             WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
               AND parent_id = ''
             UNION ALL
             SELECT u.ou_id, u.name, u.parent_id, tree.depth + 1
             FROM connector.organizational_units u
             JOIN tree ON tree.ou_id = u.parent_id
             WHERE u.connector_id = $1 AND u.integration_id = $2 AND u.gone_at IS NULL)
           SELECT ou_id AS "id!", name AS "name!", parent_id AS "parent_id!"
           FROM tree ORDER BY depth, ou_id"#,
        connector.as_str(),
        integration.0
    )
    .fetch_all(conn)
    .await?)
}

/// Whether a unit was ever met, gone or not.
///
/// # Errors
///
/// When the database does not answer.
pub async fn unit_was_seen(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    unit: &OuId,
) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM connector.organizational_units
             WHERE connector_id = $1 AND integration_id = $2 AND ou_id = $3) AS "seen!""#,
        connector.as_str(),
        integration.0,
        unit.as_str()
    )
    .fetch_one(conn)
    .await?)
}

/// One account, without the count of its resources.
///
/// # Errors
///
/// When the database does not answer.
pub async fn account(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    id: &AccountId,
) -> Result<Option<Account>> {
    let found = sqlx::query_as!(
        Row,
        r#"SELECT account_id, name, email, state, path, coverage, first_seen_at,
             0::bigint AS "resources!"
           FROM connector.accounts
           WHERE connector_id = $1 AND integration_id = $2 AND account_id = $3"#,
        connector.as_str(),
        integration.0,
        id.as_str()
    )
    .fetch_optional(conn)
    .await?;
    found.map(TryInto::try_into).transpose()
}

/// Accounts after an id, by id.
///
/// # Errors
///
/// When the database does not answer.
pub async fn accounts(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    after: &str,
    limit: i64,
) -> Result<Vec<Account>> {
    sqlx::query_as!(
        Row,
        r#"SELECT a.account_id, a.name, a.email, a.state, a.path, a.coverage, a.first_seen_at,
             (SELECT count(*) FROM connector.resources r
              WHERE r.connector_id = $1 AND r.integration_id = $2
                AND r.account_id = a.account_id AND r.gone_at IS NULL) AS "resources!"
           FROM connector.accounts a
           WHERE a.connector_id = $1 AND a.integration_id = $2 AND a.account_id > $3
           ORDER BY a.account_id LIMIT $4"#,
        connector.as_str(),
        integration.0,
        after,
        limit
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(TryInto::try_into)
    .collect()
}

/// The accounts of one coverage, by id.
///
/// # Errors
///
/// When the database does not answer.
pub async fn covered(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    coverage: Coverage,
) -> Result<Vec<AccountId>> {
    sqlx::query_scalar!(
        "SELECT account_id FROM connector.accounts
         WHERE connector_id = $1 AND integration_id = $2 AND coverage = $3
         ORDER BY account_id",
        connector.as_str(),
        integration.0,
        coverage.as_str()
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|id| stored("accounts", "account_id", id.parse()))
    .collect()
}

/// The accounts whose state this version does not know, with the state.
///
/// # Errors
///
/// When the database does not answer.
pub async fn unknown_states(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<Vec<(String, String)>> {
    Ok(sqlx::query!(
        "SELECT account_id, state FROM connector.accounts
         WHERE connector_id = $1 AND integration_id = $2 AND coverage = 'unknown_state'
         ORDER BY account_id",
        connector.as_str(),
        integration.0
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| (row.account_id, row.state))
    .collect())
}

/// Seconds since an account was first seen, if that was after the first complete
/// sync; none: it was there from the beginning, or is not known.
///
/// # Errors
///
/// When the database does not answer.
pub async fn seconds_since_joining(
    conn: &mut PgConnection,
    group: &Group,
    account: &AccountId,
) -> Result<Option<f64>> {
    Ok(sqlx::query_scalar!(
        r#"SELECT extract(epoch FROM connector.now() - a.first_seen_at)::float8 AS "age!"
           FROM connector.accounts a
           JOIN connector.integrations i
             ON i.connector_id = a.connector_id AND i.id = a.integration_id
           WHERE a.connector_id = $1 AND a.integration_id = $2 AND a.account_id = $3
             AND a.first_seen_at > i.initialized_at"#,
        group.connector.as_str(),
        group.integration.0,
        account.as_str()
    )
    .fetch_optional(conn)
    .await?)
}
