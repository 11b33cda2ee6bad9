//! How much there is of what AWS gives so many of: what was discovered, and what is ours by now.

use sqlx::PgConnection;

use super::Result;
use crate::model::ids::{AccountId, ConnectorId, IntegrationId};

/// What one more permission set of ours, assigned in an account, is counted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Permission sets of the instance.
    pub sets: i64,
    /// Whether that of the name is among them.
    pub has_set: bool,
    /// Permission sets in the account.
    pub sets_in_account: i64,
    /// Roles in the account, as far as they were discovered.
    pub roles_in_account: i64,
    /// Whether the set has its role there.
    pub is_in_account: bool,
}

/// Counts, for a permission set of ours in an account. Ours are those that are held, the others those that
/// were discovered.
///
/// # Errors
///
/// When the database does not answer.
pub async fn counts(
    conn: &mut PgConnection,
    (connector, integration): (&ConnectorId, IntegrationId),
    set: &str,
    account: &AccountId,
) -> Result<Counts> {
    let row = sqlx::query!(
        r#"WITH ours AS (
             SELECT t.object_key AS name, EXISTS (
                 SELECT FROM connector.holdings h
                 WHERE h.connector_id = t.connector_id AND h.target_id = t.id
                   AND h.state NOT IN ('ENDED', 'FAILED')) AS is_held
             FROM connector.targets t
             WHERE t.connector_id = $1 AND t.integration_id = $2
               AND t.mechanism IN ('aws-generated-permission-set', 'aws-generated-inline-set')),
           ours_here AS (
             SELECT DISTINCT split_part(t.object_key, '/', 2) AS name
             FROM connector.units u
             JOIN connector.holdings h USING (connector_id, grant_id, number)
             JOIN connector.targets t
               ON t.connector_id = h.connector_id AND t.id = h.target_id
             WHERE u.connector_id = $1 AND u.account_id = $4 AND t.integration_id = $2
               AND h.state NOT IN ('ENDED', 'FAILED') AND t.mechanism = 'aws-account-assignment'
               AND starts_with(t.object_key, $4 || '/apono-')),
           -- Those of ours that are gone may still be among what was discovered.
           theirs AS (
             SELECT r.name, r.attributes->'accounts' ? $4 AS is_here
             FROM connector.resources r
             WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.gone_at IS NULL
               AND r.type = 'aws-identity-center-permission-set'
               AND r.name NOT IN (SELECT name FROM ours)),
           roles AS (
             SELECT FROM connector.resources r
             WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.gone_at IS NULL
               AND r.type = 'aws-iam-role' AND r.account_id = $4
               AND coalesce(substring(r.name FROM '^AWSReservedSSO_(.*)_[0-9a-f]{16}$'), '') <> ALL (
                 SELECT name FROM ours))
           SELECT
             (SELECT count(*) FROM theirs)
               + (SELECT count(*) FROM ours WHERE is_held) AS "sets!",
             EXISTS (SELECT FROM ours WHERE is_held AND name = $3) AS "has_set!",
             (SELECT count(*) FROM theirs WHERE is_here)
               + (SELECT count(*) FROM ours_here) AS "here!",
             (SELECT count(*) FROM roles) + (SELECT count(*) FROM ours_here) AS "roles!",
             EXISTS (SELECT FROM ours_here WHERE name = $3) AS "is_here!""#,
        connector.as_str(),
        integration.0,
        set,
        account.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(Counts {
        sets: row.sets,
        has_set: row.has_set,
        sets_in_account: row.here,
        roles_in_account: row.roles,
        is_in_account: row.is_here,
    })
}
