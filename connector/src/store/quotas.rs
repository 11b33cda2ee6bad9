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

/// Counts, for a permission set of ours in an account. What was discovered and what is held are one
/// where they have the same name.
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
        r#"WITH held AS (
             SELECT t.mechanism, t.object_key
             FROM connector.targets t
             WHERE t.connector_id = $1 AND t.integration_id = $2
               AND (t.mechanism = 'aws-generated-permission-set'
                 OR (t.mechanism = 'aws-account-assignment'
                   AND starts_with(t.object_key, $4 || '/apono-')))
               AND EXISTS (
                 SELECT FROM connector.holdings h
                 WHERE h.connector_id = t.connector_id AND h.target_id = t.id
                   AND h.state NOT IN ('ENDED', 'FAILED'))),
           discovered AS (
             SELECT r.type, r.name, r.account_id, r.attributes
             FROM connector.resources r
             WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.gone_at IS NULL
               AND (r.type = 'aws-identity-center-permission-set'
                 OR (r.type = 'aws-iam-role' AND r.account_id = $4))),
           sets AS (
             SELECT name FROM discovered WHERE type = 'aws-identity-center-permission-set'
             UNION
             SELECT object_key FROM held WHERE mechanism = 'aws-generated-permission-set'),
           ours_here AS (
             SELECT DISTINCT split_part(object_key, '/', 2) AS name FROM held
             WHERE mechanism = 'aws-account-assignment'),
           here AS (
             SELECT name FROM discovered
             WHERE type = 'aws-identity-center-permission-set' AND attributes->'accounts' ? $4
             UNION
             SELECT name FROM ours_here)
           SELECT
             (SELECT count(*) FROM sets) AS "sets!",
             EXISTS (SELECT FROM sets WHERE name = $3) AS "has_set!",
             (SELECT count(*) FROM here) AS "here!",
             (SELECT count(*) FROM discovered
               WHERE type = 'aws-iam-role' AND name NOT LIKE 'AWSReservedSSO\_apono-%')
               + (SELECT count(*) FROM ours_here) AS "roles!",
             EXISTS (SELECT FROM here WHERE name = $3) AS "is_here!""#,
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
