//! Settings that wait to be tried in AWS, and what was found.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, expect_one, integrations::settings_json, stored};
use crate::model::{
    ids::{AccountId, ConnectorId, OrganizationId, ValidationId},
    integration::Settings,
    validation::Step,
};

/// A finished validation is kept for whoever still asks; then it goes.
const KEPT_S: f64 = 3600.0;

/// What was found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The management account and the organization, where they were found.
    pub pins: Option<(AccountId, OrganizationId)>,
}

/// A validation that this replica has to do.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The tenant.
    pub connector: ConnectorId,
    /// Id.
    pub id: ValidationId,
    /// What to try.
    pub settings: Settings,
    /// Proves the lease.
    pub lease: Uuid,
}

/// Asks for a validation.
///
/// # Errors
///
/// When the database does not answer.
pub async fn insert(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: ValidationId,
    settings: &Settings,
) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO connector.validations (connector_id, id, settings) VALUES ($1, $2, $3)",
        connector.as_str(),
        id.0,
        settings_json(settings)?
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Takes the oldest validation of these connectors that nobody is doing.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lease(
    conn: &mut PgConnection,
    connectors: &[ConnectorId],
    lease: Uuid,
    length: Duration,
) -> Result<Option<Leased>> {
    let row = sqlx::query!(
        "UPDATE connector.validations v
         SET lease_token = $1, leased_until = connector.now() + make_interval(secs => $2)
         FROM (
             SELECT connector_id, id FROM connector.validations
             WHERE finished_at IS NULL AND connector_id = ANY ($3)
               AND (leased_until IS NULL OR leased_until < connector.now())
             ORDER BY requested_at LIMIT 1
             FOR UPDATE SKIP LOCKED) AS open
         WHERE v.connector_id = open.connector_id AND v.id = open.id
         RETURNING v.connector_id, v.id, v.settings",
        lease,
        length.as_secs_f64(),
        &super::texts(connectors)
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Leased {
            connector: stored("validations", "connector_id", row.connector_id.parse())?,
            id: ValidationId(row.id),
            settings: stored("validations", "settings", serde_json::from_value(row.settings))?,
            lease,
        })
    })
    .transpose()
}

/// Stores what was found, if the lease is still ours.
///
/// # Errors
///
/// When the lease was lost.
pub async fn finish(conn: &mut PgConnection, leased: &Leased, findings: &Findings) -> Result<()> {
    let (account, organization) = findings.pins.clone().unzip();
    let done = sqlx::query!(
        "UPDATE connector.validations
         SET finished_at = connector.now(), steps = $4,
             management_account_id = $5, organization_id = $6
         WHERE connector_id = $1 AND id = $2 AND lease_token = $3 AND finished_at IS NULL",
        leased.connector.as_str(),
        leased.id.0,
        leased.lease,
        stored("validations", "steps", serde_json::to_value(&findings.steps))?,
        account.map(String::from),
        organization.map(String::from)
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// What was found; none: not finished.
///
/// # Errors
///
/// When the database does not answer.
pub async fn findings(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: ValidationId,
) -> Result<Option<Findings>> {
    let row = sqlx::query!(
        "SELECT steps, management_account_id, organization_id FROM connector.validations
         WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0
    )
    .fetch_optional(conn)
    .await?;
    let Some((steps, row)) = row.and_then(|row| row.steps.clone().map(|steps| (steps, row))) else {
        return Ok(None);
    };
    let pins = match (row.management_account_id, row.organization_id) {
        (Some(account), Some(organization)) => Some((
            stored("validations", "management_account_id", account.parse())?,
            stored("validations", "organization_id", organization.parse())?,
        )),
        _ => None,
    };
    Ok(Some(Findings {
        steps: stored("validations", "steps", serde_json::from_value(steps))?,
        pins,
    }))
}

/// Removes validations that nobody will ask for any more.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(conn: &mut PgConnection) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM connector.validations
         WHERE requested_at < connector.now() - make_interval(secs => $1)",
        KEPT_S
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
