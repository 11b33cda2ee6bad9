//! Connected organizations.

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{Result, all, expect_one, found, stored};
use crate::model::{
    arn::{MEMBER_ROLE_NAME, RoleArn},
    ids::{AccountId, ConnectorId, IntegrationId, OrganizationId},
    integration::Settings,
};

/// The unique key of an integration's name.
pub const NAME_KEY: &str = "integrations_connector_id_name_key";
/// The unique key of an organization.
pub const ORGANIZATION_KEY: &str = "integrations_one_per_organization";

/// One connected organization.
#[derive(Clone, Debug)]
pub struct Integration {
    /// The tenant.
    pub connector: ConnectorId,
    /// Id.
    pub id: IntegrationId,
    /// Checked settings.
    pub settings: Settings,
    /// Pinned management account.
    pub management_account: AccountId,
    /// Pinned organization.
    pub organization: OrganizationId,
    /// Switched on.
    pub enabled: bool,
    /// Version of the settings.
    pub version: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When the settings last changed.
    pub updated_at: DateTime<Utc>,
    /// When the next sync is due; none: disabled.
    pub next_sync_at: Option<DateTime<Utc>>,
    /// End of the last sync that did not fail.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// When every scope had been tried once.
    pub initialized_at: Option<DateTime<Utc>>,
    /// Since when it is being removed.
    pub deleting_at: Option<DateTime<Utc>>,
}

impl Integration {
    /// The role by which an account is reached. The StackSet never reaches the management account, so
    /// that one is reached by the management role.
    #[must_use]
    pub fn role_in(&self, account: &AccountId) -> RoleArn {
        let management = &self.settings.management_role_arn;
        if *account == self.management_account {
            return management.clone();
        }
        management.partition().role(account, MEMBER_ROLE_NAME)
    }
}

struct Row {
    connector_id: String,
    id: Uuid,
    settings: serde_json::Value,
    management_account_id: String,
    organization_id: String,
    enabled: bool,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    next_sync_at: Option<DateTime<Utc>>,
    last_sync_at: Option<DateTime<Utc>>,
    initialized_at: Option<DateTime<Utc>>,
    deleting_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Integration {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        const TABLE: &str = "integrations";
        Ok(Self {
            connector: stored(TABLE, "connector_id", row.connector_id.parse())?,
            id: IntegrationId(row.id),
            settings: stored(TABLE, "settings", serde_json::from_value(row.settings))?,
            management_account: stored(
                TABLE,
                "management_account_id",
                row.management_account_id.parse(),
            )?,
            organization: stored(TABLE, "organization_id", row.organization_id.parse())?,
            enabled: row.enabled,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            next_sync_at: row.next_sync_at,
            last_sync_at: row.last_sync_at,
            initialized_at: row.initialized_at,
            deleting_at: row.deleting_at,
        })
    }
}

/// A checked query for whole rows, by what follows the table's name.
macro_rules! select {
    ($rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Row,
            "SELECT connector_id, id, settings, management_account_id, organization_id, enabled,
                 version, created_at, updated_at, next_sync_at, last_sync_at, initialized_at,
                 deleting_at
             FROM connector.integrations " + $rest,
            $($argument),+
        )
    };
}

/// The settings as they are stored.
pub(super) fn settings_json(settings: &Settings) -> Result<serde_json::Value> {
    stored("integrations", "settings", serde_json::to_value(settings))
}

/// Stores a validated integration, due at once.
///
/// # Errors
///
/// A duplicate of [`NAME_KEY`] or [`ORGANIZATION_KEY`]; or no answer.
pub async fn insert(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
    settings: &Settings,
    management_account: &AccountId,
    organization: &OrganizationId,
) -> Result<Integration> {
    sqlx::query_as!(
        Row,
        "INSERT INTO connector.integrations
             (connector_id, id, settings, management_account_id, organization_id, next_sync_at)
         VALUES ($1, $2, $3, $4, $5, connector.now())
         RETURNING connector_id, id, settings, management_account_id, organization_id, enabled,
             version, created_at, updated_at, next_sync_at, last_sync_at, initialized_at,
                 deleting_at",
        connector.as_str(),
        id.0,
        settings_json(settings)?,
        management_account.as_str(),
        organization.as_str()
    )
    .fetch_one(conn)
    .await?
    .try_into()
}

/// One integration.
///
/// # Errors
///
/// When the database does not answer.
pub async fn get(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
) -> Result<Option<Integration>> {
    found(
        select!("WHERE connector_id = $1 AND id = $2", connector.as_str(), id.0)
            .fetch_optional(conn)
            .await?,
    )
}

/// One integration by its name.
///
/// # Errors
///
/// When the database does not answer.
pub async fn get_by_name(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    name: &str,
) -> Result<Option<Integration>> {
    found(
        select!("WHERE connector_id = $1 AND name = $2", connector.as_str(), name)
            .fetch_optional(conn)
            .await?,
    )
}

/// Integrations after a name, by name.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    after_name: &str,
    limit: i64,
) -> Result<Vec<Integration>> {
    all(select!(
        "WHERE connector_id = $1 AND name > $2
         ORDER BY name LIMIT $3",
        connector.as_str(),
        after_name,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// The enabled integrations of these connectors whose sync is due, the longest waiting first. They stay
/// locked until the transaction ends; what another replica holds is passed over.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock_due(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
    limit: i64,
) -> Result<Vec<Integration>> {
    all(select!(
        "WHERE next_sync_at <= connector.now() AND connector_id = ANY ($2)
         ORDER BY next_sync_at LIMIT $1
         FOR UPDATE SKIP LOCKED",
        limit,
        &super::texts(connectors)
    )
    .fetch_all(conn)
    .await?)
}

/// Sets when the next sync is due.
///
/// # Errors
///
/// When the integration is gone or disabled.
pub async fn set_next_sync(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
    at: DateTime<Utc>,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.integrations SET next_sync_at = $3
         WHERE connector_id = $1 AND id = $2 AND enabled",
        connector.as_str(),
        id.0,
        at
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Writes settings over those of the version that the caller has read. None: that
/// version is old.
///
/// # Errors
///
/// A duplicate of [`NAME_KEY`]; or no answer.
pub async fn update(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
    version: i64,
    settings: &Settings,
    next_sync_at: Option<DateTime<Utc>>,
) -> Result<Option<Integration>> {
    sqlx::query_as!(
        Row,
        "UPDATE connector.integrations
         SET settings = $4, version = version + 1, updated_at = connector.now(),
             next_sync_at = $5
         WHERE connector_id = $1 AND id = $2 AND version = $3
         RETURNING connector_id, id, settings, management_account_id, organization_id, enabled,
             version, created_at, updated_at, next_sync_at, last_sync_at, initialized_at,
                 deleting_at",
        connector.as_str(),
        id.0,
        version,
        settings_json(settings)?,
        next_sync_at
    )
    .fetch_optional(conn)
    .await?
    .map(TryInto::try_into)
    .transpose()
}

/// Switches it on (due at once) or off.
///
/// # Errors
///
/// When the database does not answer.
pub async fn set_enabled(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
    enabled: bool,
) -> Result<Option<Integration>> {
    sqlx::query_as!(
        Row,
        "UPDATE connector.integrations
         SET enabled = $3,
             enabled_at = CASE WHEN $3 AND NOT enabled THEN connector.now() ELSE enabled_at END,
             next_sync_at = CASE WHEN $3 THEN coalesce(next_sync_at, connector.now()) END
         WHERE connector_id = $1 AND id = $2
         RETURNING connector_id, id, settings, management_account_id, organization_id, enabled,
             version, created_at, updated_at, next_sync_at, last_sync_at, initialized_at,
                 deleting_at",
        connector.as_str(),
        id.0,
        enabled
    )
    .fetch_optional(conn)
    .await?
    .map(TryInto::try_into)
    .transpose()
}

/// Notes the end of a sync that did not fail.
///
/// # Errors
///
/// When the integration is gone.
pub async fn note_sync_end(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.integrations
         SET last_sync_at = connector.now(),
             initialized_at = coalesce(initialized_at, connector.now())
         WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// By how many seconds the latest enabled integration of some connectors has missed its
/// interval.
///
/// # Errors
///
/// When the database does not answer.
pub async fn overdue_seconds(conn: &mut PgConnection, connectors: &[ConnectorId]) -> Result<f64> {
    let connectors: Vec<String> = connectors.iter().map(ToString::to_string).collect();
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(max(greatest(0, extract(epoch FROM
               connector.now() - greatest(last_sync_at, enabled_at)
               - make_interval(secs => (settings -> 'sync_interval' ->> 'secs')::float8)
           ))), 0)::float8 AS "seconds!"
           FROM connector.integrations WHERE enabled AND connector_id = ANY ($1)"#,
        &connectors
    )
    .fetch_one(conn)
    .await?)
}

/// Locks an integration, so that nothing is granted in it until the transaction ends.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
) -> Result<Option<Integration>> {
    found(
        select!("WHERE connector_id = $1 AND id = $2 FOR UPDATE", connector.as_str(), id.0)
            .fetch_optional(conn)
            .await?,
    )
}

/// Holds an integration as it is until the transaction ends: it can be neither changed nor removed.
///
/// # Errors
///
/// When the database does not answer.
pub async fn hold(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
) -> Result<Option<Integration>> {
    found(
        select!("WHERE connector_id = $1 AND id = $2 FOR SHARE", connector.as_str(), id.0)
            .fetch_optional(conn)
            .await?,
    )
}

/// Notes that a locked integration is removed once its access is gone.
///
/// # Errors
///
/// When it is gone.
pub async fn set_deleting(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.integrations
         SET deleting_at = coalesce(deleting_at, connector.now()), enabled = false,
             next_sync_at = NULL
         WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// The integrations of these connectors that are being removed.
///
/// # Errors
///
/// When the database does not answer.
pub async fn deleting(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
) -> Result<Vec<Integration>> {
    all(select!(
        "WHERE connector_id = ANY ($1) AND deleting_at IS NOT NULL ORDER BY deleting_at",
        &super::texts(connectors)
    )
    .fetch_all(conn)
    .await?)
}

/// Removes it with everything that was discovered through it. Says whether it was
/// there in this version (none: any).
///
/// # Errors
///
/// When the database does not answer.
pub async fn delete(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: IntegrationId,
    version: Option<i64>,
) -> Result<bool> {
    let mut tx = conn.begin().await?;
    // What was discovered of a large organization takes its time to go.
    sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(&mut *tx).await?;
    let done = sqlx::query!(
        "DELETE FROM connector.integrations
         WHERE connector_id = $1 AND id = $2 AND ($3::bigint IS NULL OR version = $3)",
        connector.as_str(),
        id.0,
        version
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}
