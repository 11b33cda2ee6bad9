//! How many live resources there are of each kind, for whoever looks for some.

use sqlx::PgConnection;

use super::Result;
use crate::model::ids::{ConnectorId, IntegrationId};

/// One value of a property, and how many resources have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// The value.
    pub value: String,
    /// Its name for people; empty: the value says it.
    pub name: String,
    /// Live resources.
    pub resources: i64,
}

/// Counts by each property, the most frequent first.
#[derive(Clone, Debug, Default)]
pub struct Facets {
    /// By type.
    pub types: Vec<Facet>,
    /// By account.
    pub accounts: Vec<Facet>,
    /// By region; empty: global.
    pub regions: Vec<Facet>,
    /// By root and organizational unit, with everything below.
    pub units: Vec<Facet>,
    /// By tag key.
    pub tag_keys: Vec<Facet>,
}

/// Counts the live resources of an integration.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    limit: i64,
) -> Result<Facets> {
    macro_rules! counted {
        ($query:literal) => {
            sqlx::query_as!(Facet, $query, connector.as_str(), integration.0, limit)
                .fetch_all(&mut *conn)
                .await?
        };
    }
    Ok(Facets {
        types: counted!(
            r#"SELECT type AS value, '' AS "name!", count(*) AS "resources!"
               FROM connector.resources
               WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
               GROUP BY type ORDER BY count(*) DESC, type LIMIT $3"#
        ),
        accounts: counted!(
            r#"SELECT r.account_id AS value, coalesce(min(a.name), '') AS "name!",
                 count(*) AS "resources!"
               FROM connector.resources r
               LEFT JOIN connector.accounts a USING (connector_id, integration_id, account_id)
               WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.gone_at IS NULL
               GROUP BY r.account_id ORDER BY count(*) DESC, r.account_id LIMIT $3"#
        ),
        regions: counted!(
            r#"SELECT region AS value, '' AS "name!", count(*) AS "resources!"
               FROM connector.resources
               WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
               GROUP BY region ORDER BY count(*) DESC, region LIMIT $3"#
        ),
        units: counted!(
            r#"WITH held AS (
                 SELECT account_id, count(*) AS resources FROM connector.resources
                 WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
                 GROUP BY account_id)
               SELECT u.ou_id AS value, u.name AS "name!", sum(held.resources)::bigint AS "resources!"
               FROM held
               JOIN connector.accounts a
                 ON a.connector_id = $1 AND a.integration_id = $2 AND a.account_id = held.account_id
               JOIN connector.organizational_units u
                 ON u.connector_id = $1 AND u.integration_id = $2 AND u.ou_id = ANY (a.path)
               WHERE u.gone_at IS NULL
               GROUP BY u.ou_id, u.name ORDER BY 3 DESC, u.ou_id LIMIT $3"#
        ),
        tag_keys: counted!(
            r#"SELECT key AS "value!", '' AS "name!", count(*) AS "resources!"
               FROM connector.resources, jsonb_object_keys(tags) AS key
               WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
               GROUP BY key ORDER BY count(*) DESC, key LIMIT $3"#
        ),
    })
}
