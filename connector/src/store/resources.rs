//! Discovered things: reading them.
//!
//! Writing stands in [`super::inventory`].

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, QueryBuilder};
use uuid::Uuid;

use super::{
    ONE_MOMENT, Result,
    filter::{Meant, Terms},
};
use crate::model::{
    feed::Cursor,
    ids::{ConnectorId, IntegrationId},
    resource::value_size,
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
}

impl Stored {
    /// About how many bytes it takes in a message.
    #[must_use]
    pub fn size(&self) -> usize {
        let values = value_size(&self.tags) + value_size(&self.attributes);
        self.arn.len() + self.name.len() + values + 200
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
                      ELSE 'NOT_COVERED' END AS "stale_reason?"
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

/// Rows that are looked at in their order, at most.
const WALK_ROWS_MAX: f64 = 20_000.0;
/// So many times more rows than expected are looked at before that is given up.
const WALK_MARGIN: f64 = 8.0;

/// Those that a filter means, after a key, by integration and ARN.
///
/// What is common is found soon in the order of a page; what is rare is found by an index, and
/// then put in order. PostgreSQL is asked which of them a filter is. Left to choose by
/// itself, it trusts that what is meant is spread evenly, and walks through a million rows
/// where it lies at their end: so a walk that takes too long is given up here. Of what has no
/// statistics, a walk is tried first.
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
    let all = estimate(&mut tx, meant, after, false).await?;
    let some = estimate(&mut tx, meant, after, true).await?;
    let expected = f64::from(i32::try_from(limit).unwrap_or(i32::MAX)) * all / some;
    let mut keys = Vec::new();
    if expected < some || meant.condition.is_guessed() {
        #[expect(clippy::cast_possible_truncation, reason = "it is small")]
        let rows = (WALK_MARGIN * expected).min(WALK_ROWS_MAX) as i64;
        keys = self::keys(&mut tx, meant, after, limit, Some(rows)).await?;
    }
    if i64::try_from(keys.len()).is_ok_and(|found| found < limit) {
        keys = self::keys(&mut tx, meant, after, limit, None).await?;
    }
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

/// About how many rows come after a key: all, or those that are meant.
async fn estimate(
    tx: &mut PgConnection,
    meant: &Meant<'_>,
    after: (Uuid, &str),
    only_meant: bool,
) -> Result<f64> {
    let mut query = QueryBuilder::new("EXPLAIN (FORMAT JSON) SELECT FROM ");
    meant.push_place(&mut query, Some(after));
    if only_meant {
        query.push(" AND ");
        meant.push_condition(&mut query, Terms::Plain);
    }
    let plan: Value = query.build_query_scalar().persistent(false).fetch_one(tx).await?;
    Ok(plan[0]["Plan"]["Plan Rows"].as_f64().unwrap_or_default().max(1.0))
}

/// The keys of a page: of what is meant among so many rows in their order, or of all of it.
async fn keys(
    tx: &mut PgConnection,
    meant: &Meant<'_>,
    after: (Uuid, &str),
    limit: i64,
    rows: Option<i64>,
) -> Result<Vec<(Uuid, String)>> {
    // Of one integration, for whose rows an index has the order.
    let order = if meant.only.is_some() { "r.arn" } else { "r.integration_id, r.arn" };
    let mut query = QueryBuilder::new("SELECT r.integration_id, r.arn FROM ");
    if let Some(rows) = rows {
        query.push("(SELECT * FROM ");
        meant.push_place(&mut query, Some(after));
        query.push(" ORDER BY ").push(order).push(" LIMIT ").push_bind(rows).push(") r WHERE ");
        meant.push_condition(&mut query, Terms::Plain);
        query.push(" ORDER BY ").push(order);
    } else {
        meant.push_place(&mut query, Some(after));
        query.push(" AND ");
        meant.push_condition(&mut query, Terms::WithType);
        // The same order, but no index has it.
        query.push(" ORDER BY ").push(order).push(" || ''");
    }
    query.push(" LIMIT ").push_bind(limit);
    Ok(query.build_query_as().persistent(false).fetch_all(tx).await?)
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
