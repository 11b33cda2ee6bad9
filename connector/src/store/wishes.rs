//! What callers want of grants: written with the wish alone, for the engine to make true.
//!
//! Every wish about a grant first takes the lock of its id, also where there is no such grant yet:
//! of a grant and a revoke that come at once, one is first.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, expect_one, grants::Grant};
use crate::model::{
    assignment::Principal,
    errand::Errand,
    grant::Recipient,
    ids::{AccountId, ConnectorId, IntegrationId},
};

/// Takes the lock of a grant's id, until the transaction ends.
///
/// # Errors
///
/// When it is not had in time.
pub async fn lock_id(conn: &mut PgConnection, connector: &ConnectorId, id: &str) -> Result<()> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 7))",
        format!("{connector}/{id}")
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Whether a revoke came before the grant of this id.
///
/// # Errors
///
/// When the database does not answer.
pub async fn is_revoked_before(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: &str,
) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM connector.revoked_before
               WHERE connector_id = $1 AND grant_id = $2) AS "is!""#,
        connector.as_str(),
        id
    )
    .fetch_one(conn)
    .await?)
}

/// Remembers that the grant of this id has ended before it came.
///
/// # Errors
///
/// When the database does not answer.
pub async fn revoke_before(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: &str,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO connector.revoked_before (connector_id, grant_id) VALUES ($1, $2)
         ON CONFLICT DO NOTHING",
        connector.as_str(),
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a locked grant now, if it has not ended. Whether it had not.
///
/// # Errors
///
/// When the database does not answer.
pub async fn revoke(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grant: &Grant,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE connector.grants
         SET revoked_at = connector.now(), desired_version = desired_version + 1,
             lookup_at = CASE WHEN lookup_at IS NOT NULL THEN connector.now() END
         WHERE connector_id = $1 AND grant_id = $2 AND revoked_at IS NULL
           AND expires_at > connector.now()",
        connector.as_str(),
        grant.id
    )
    .execute(&mut *conn)
    .await?;
    super::targets::wake(conn, connector, &grant.id, Errand::Revoke).await?;
    Ok(done.rows_affected() == 1)
}

/// Moves the end of a locked grant that has not ended.
///
/// # Errors
///
/// When it has.
pub async fn move_end(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grant: &Grant,
    end: DateTime<Utc>,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.grants
         SET expires_at = $3, desired_version = desired_version + 1,
             lookup_at = CASE WHEN lookup_at IS NOT NULL THEN least(lookup_at, $3) END
         WHERE connector_id = $1 AND grant_id = $2 AND revoked_at IS NULL
           AND expires_at > connector.now()",
        connector.as_str(),
        grant.id,
        end
    )
    .execute(&mut *conn)
    .await?;
    expect_one(&done)?;
    super::targets::wake(conn, connector, &grant.id, Errand::Grant).await
}

/// Which grants to end; what is given counts together.
#[derive(Clone, Debug, Default)]
pub struct Whose {
    /// Of this integration.
    pub integration: Option<IntegrationId>,
    /// Of this recipient: as it was named, or by the id that was found for it.
    pub recipient: Option<Recipient>,
    /// With a unit in this account.
    pub account: Option<AccountId>,
}

/// The ids of grants that have not ended and are meant, in order.
///
/// # Errors
///
/// When the database does not answer.
pub async fn live(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    whose: &Whose,
) -> Result<Vec<String>> {
    let recipient = whose.recipient.as_ref();
    let named = recipient.map(serde_json::to_value).transpose();
    let named = super::stored("grants", "request", named)?;
    let id = recipient.and_then(|recipient| {
        let name = || recipient.name().to_owned();
        match recipient {
            Recipient::UserEmail(_) | Recipient::UserName(_) | Recipient::UserId(_) => {
                Some(Principal::User(name()))
            }
            Recipient::GroupName(_) | Recipient::GroupId(_) => Some(Principal::Group(name())),
            // An ARN is no id, but what they are named by.
            Recipient::IamUser(_) => None,
        }
    });
    let id = super::stored("grants", "principal", id.map(serde_json::to_value).transpose())?;
    Ok(sqlx::query_scalar!(
        "SELECT grant_id FROM connector.grants g
         WHERE connector_id = $1 AND revoked_at IS NULL AND expires_at > connector.now()
           AND ($2::uuid IS NULL OR integration_id = $2)
           AND ($3::jsonb IS NULL OR request->'recipient' = $3 OR principal = $4
                -- By another name of the same.
                OR coalesce(principal #> '{iam_user,id}', principal) IN (
                    SELECT coalesce(same.principal #> '{iam_user,id}', same.principal)
                    FROM connector.grants same
                    WHERE same.connector_id = g.connector_id
                      AND same.integration_id = g.integration_id
                      AND same.request->'recipient' = $3))
           AND ($5::text IS NULL OR EXISTS (
               SELECT FROM connector.units u
               WHERE u.connector_id = g.connector_id AND u.grant_id = g.grant_id
                 AND u.state NOT IN ('ENDED', 'FAILED')
                 AND (u.account_id = $5
                      OR u.openings @> jsonb_build_array(jsonb_build_object('account', $5)))))
         ORDER BY grant_id",
        connector.as_str(),
        whose.integration.map(|id| id.0),
        named,
        id,
        whose.account.as_ref().map(AccountId::as_str)
    )
    .fetch_all(conn)
    .await?)
}
