//! Discovered things: reading them.
//!
//! Writing stands in [`super::inventory`].

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, QueryBuilder};
use uuid::Uuid;

use super::{ONE_MOMENT, Result, filter::Meant};
use crate::model::{
    feed::Cursor,
    ids::{ConnectorId, IntegrationId},
};

/// A resource as it is stored, with the freshness of its scope.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its integration.
    pub integration_id: Uuid,
    /// ARN.
    pub arn: String,
    /// Type id.
    pub kind: String,
    /// Account.
    pub account_id: String,
    /// Region; empty: global.
    pub region: String,
    /// Name.
    pub name: String,
    /// Tags: an object of strings.
    pub tags: Value,
    /// Attributes: an object.
    pub attributes: Value,
    /// Field → reason: an object of strings.
    pub unread: Value,
    /// First seen.
    pub first_seen_at: DateTime<Utc>,
    /// Last changed.
    pub changed_at: DateTime<Utc>,
    /// When it went; none: it is there.
    pub gone_at: Option<DateTime<Utc>>,
    /// Revision of its last change.
    pub revision: i64,
    /// Complete reads in a row that missed it while its removal is held.
    pub missing_reads: i16,
    /// When its scope was last read whole.
    pub fresh_at: Option<DateTime<Utc>>,
    /// Why its scope could not be read last time.
    pub stale_reason: Option<String>,
    /// The owner tag of its integration, as settings have it.
    pub resource_owner: Option<Value>,
    /// The owner of its integration, as settings have it.
    pub integration_owner: Option<Value>,
}

impl Stored {
    /// About how many bytes it takes in a message.
    #[must_use]
    pub fn size(&self) -> usize {
        let json = |value: &Value| value.to_string().len();
        self.arn.len() + self.name.len() + json(&self.tags) + json(&self.attributes) + 200
    }
}

/// A checked query for whole rows, by the condition on the resource.
macro_rules! select {
    ($rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Stored,
            r#"SELECT r.integration_id, r.arn, r.type AS kind, r.account_id, r.region, r.name,
                 r.tags, r.attributes, r.unread, r.first_seen_at, r.changed_at, r.gone_at,
                 r.revision, r.missing_reads,
                 s.complete_at AS "fresh_at?",
                 -- A collector may go on for other types of its own.
                 CASE WHEN i.settings->'resource_types' ? r.type THEN s.unread_reason
                      ELSE 'NOT_COVERED' END AS "stale_reason?",
                 i.settings->'resource_owner' AS resource_owner,
                 i.settings->'integration_owner' AS integration_owner
               FROM connector.resources r
               JOIN connector.integrations i
                 ON i.connector_id = r.connector_id AND i.id = r.integration_id
               LEFT JOIN connector.scopes s
                 ON s.connector_id = r.connector_id AND s.integration_id = r.integration_id
                AND s.account_id = r.scope_account_id AND s.region = r.scope_region
                AND s.collector = r.collector
               WHERE r.connector_id = $1 "# + $rest,
            $($argument),+
        )
    };
}

/// Those that a filter means, after a key, by integration and ARN.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    meant: &Meant<'_>,
    after: (Uuid, &str),
    limit: i64,
) -> Result<Vec<Stored>> {
    // Which, then what they say: of one moment.
    let mut tx = conn.begin_with(ONE_MOMENT).await?;
    let mut query = QueryBuilder::new("SELECT r.integration_id, r.arn");
    meant.push(&mut query);
    match meant.only.map(|only| after.0.cmp(&only.0)) {
        None => {
            query.push(" AND (r.integration_id, r.arn) > (").push_bind(after.0);
            query.push(", ").push_bind(after.1).push(")");
        }
        Some(Ordering::Less) => {}
        Some(Ordering::Equal) => {
            query.push(" AND r.arn > ").push_bind(after.1);
        }
        Some(Ordering::Greater) => return Ok(Vec::new()),
    }
    query.push(" ORDER BY r.integration_id, r.arn LIMIT ").push_bind(limit);
    // Planned for its own values: rare and common tags are found in different ways.
    let keys: Vec<(Uuid, String)> =
        query.build_query_as().persistent(false).fetch_all(&mut *tx).await?;
    let (integrations, arns): (Vec<Uuid>, Vec<String>) = keys.into_iter().unzip();
    let found = select!(
        "AND r.gone_at IS NULL
           AND (r.integration_id, r.arn) IN (SELECT * FROM unnest($2::uuid[], $3::text[]))
         ORDER BY r.integration_id, r.arn",
        meant.connector.as_str(),
        &integrations,
        &arns
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(found)
}

/// One live resource.
///
/// # Errors
///
/// When the database does not answer.
pub async fn get(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    arn: &str,
) -> Result<Option<Stored>> {
    Ok(select!(
        "AND r.integration_id = $2 AND r.arn = $3 AND r.gone_at IS NULL",
        connector.as_str(),
        integration.0,
        arn
    )
    .fetch_optional(conn)
    .await?)
}

/// The resources whose newest change comes behind a place in the feed, in its order.
///
/// # Errors
///
/// When the database does not answer.
pub async fn changes(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    after: &Cursor,
    limit: i64,
) -> Result<Vec<Stored>> {
    Ok(select!(
        "AND r.integration_id = $2 AND r.revision >= $3
           AND (r.revision > $3 OR r.arn > $4)
           AND (r.gone_at IS NULL OR r.revision > $5)
         ORDER BY r.revision, r.arn LIMIT $6",
        connector.as_str(),
        integration.0,
        after.revision,
        // No ARN: all of the revision was sent, and nothing is greater than NULL.
        after.arn.as_deref(),
        after.gone_after(),
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// Live resources of an integration.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "live!" FROM connector.resources
           WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL"#,
        connector.as_str(),
        integration.0
    )
    .fetch_one(conn)
    .await?)
}
