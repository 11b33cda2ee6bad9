//! Discovered things.
//!
//! Invariant: a row whose content did not change is not written, not even to say
//! that it was seen again: its `xmin` and `ctid` stay. Freshness stands on the scope.
//!
//! Invariant: `gone_at` is set by [`remove_unseen`] alone, which takes a proof.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, stored};
use crate::model::{
    ids::{ConnectorId, IntegrationId},
    proof::Complete,
    resource::Resource,
    scope::Scope,
};

/// Writes a page of a scope: what is new or has changed. Returns how many rows that
/// were. A field that could not be read keeps its stored value.
///
/// # Errors
///
/// When the database does not answer.
pub async fn write(conn: &mut PgConnection, scope: &Scope, page: Vec<Resource>) -> Result<u64> {
    // Sorted by key, so that two writers cannot deadlock; one row per key, because a
    // list may show a thing twice while it changes.
    let mut page: BTreeMap<String, Resource> =
        page.into_iter().map(|resource| (resource.arn.clone(), resource)).collect();
    keep_unread(&mut *conn, scope, &mut page).await?;

    let rows: Vec<Value> = page
        .values()
        .map(|resource| {
            serde_json::json!({
                "arn": resource.arn,
                "type": resource.kind,
                "account_id": resource.account,
                "region": resource.region.as_ref().map_or("", |region| region.as_str()),
                "name": resource.name,
                "tags": resource.tags,
                "attributes": resource.attributes,
                "unread": resource.unread_json(),
                "content_hash": hex::encode(resource.content_hash()),
            })
        })
        .collect();
    let done = sqlx::query!(
        "INSERT INTO connector.resources AS r
             (connector_id, integration_id, arn, type, account_id, region, scope_account_id,
              scope_region, collector, name, tags, attributes, unread, content_hash)
         SELECT $1, $2, p.arn, p.type, p.account_id, p.region, $3, $4, $5, p.name, p.tags,
             p.attributes, p.unread, decode(p.content_hash, 'hex')
         FROM jsonb_to_recordset($6) AS p(arn text, type text, account_id text, region text,
             name text, tags jsonb, attributes jsonb, unread jsonb, content_hash text)
         LEFT JOIN connector.resources old
           ON old.connector_id = $1 AND old.integration_id = $2 AND old.arn = p.arn
         WHERE old.arn IS NULL OR old.gone_at IS NOT NULL
            OR old.content_hash <> decode(p.content_hash, 'hex')
            OR (old.scope_account_id, old.scope_region, old.collector)
                IS DISTINCT FROM ($3, $4, $5)
         ORDER BY p.arn
         ON CONFLICT (connector_id, integration_id, arn) DO UPDATE
         SET type = excluded.type, account_id = excluded.account_id, region = excluded.region,
             scope_account_id = excluded.scope_account_id, scope_region = excluded.scope_region,
             collector = excluded.collector, name = excluded.name, tags = excluded.tags,
             attributes = excluded.attributes, unread = excluded.unread,
             content_hash = excluded.content_hash, changed_at = connector.now(), gone_at = NULL",
        scope.group.connector.as_str(),
        scope.group.integration.0,
        scope.group.place.account_key(),
        scope.group.place.region_key(),
        scope.collector,
        Value::Array(rows)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Fills unread fields with what is stored of them.
async fn keep_unread(
    conn: &mut PgConnection,
    scope: &Scope,
    page: &mut BTreeMap<String, Resource>,
) -> Result<()> {
    let arns: Vec<String> = page
        .values()
        .filter(|resource| !resource.unread.is_empty())
        .map(|resource| resource.arn.clone())
        .collect();
    if arns.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query!(
        "SELECT arn, tags, attributes FROM connector.resources
         WHERE connector_id = $1 AND integration_id = $2 AND arn = ANY ($3)",
        scope.group.connector.as_str(),
        scope.group.integration.0,
        &arns
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let tags = stored("resources", "tags", serde_json::from_value(row.tags))?;
        let attributes = stored("resources", "attributes", serde_json::from_value(row.attributes))?;
        if let Some(resource) = page.get_mut(&row.arn) {
            resource.keep_unread(&tags, &attributes);
        }
    }
    Ok(())
}

/// The live keys of a scope that its proof did not see.
///
/// # Errors
///
/// When the database does not answer.
pub async fn unseen(conn: &mut PgConnection, proof: &Complete) -> Result<BTreeSet<String>> {
    let scope = proof.scope();
    let seen: Vec<String> = proof.seen().iter().cloned().collect();
    Ok(sqlx::query_scalar!(
        "SELECT r.arn FROM connector.resources r
         LEFT JOIN unnest($6::text[]) AS seen(arn) ON seen.arn = r.arn
         WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.collector = $3
           AND r.scope_account_id = $4 AND r.scope_region = $5 AND r.gone_at IS NULL
           AND seen.arn IS NULL",
        scope.group.connector.as_str(),
        scope.group.integration.0,
        scope.collector,
        scope.group.place.account_key(),
        scope.group.place.region_key(),
        &seen
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .collect())
}

/// Live rows of the proof's scope, and of its whole integration.
///
/// # Errors
///
/// When the database does not answer.
pub async fn live_counts(conn: &mut PgConnection, scope: &Scope) -> Result<(usize, usize)> {
    let row = sqlx::query!(
        r#"SELECT
             count(*) AS "integration!",
             count(*) FILTER (WHERE collector = $3 AND scope_account_id = $4
                 AND scope_region = $5) AS "scope!"
           FROM connector.resources
           WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL"#,
        scope.group.connector.as_str(),
        scope.group.integration.0,
        scope.collector,
        scope.group.place.account_key(),
        scope.group.place.region_key()
    )
    .fetch_one(conn)
    .await?;
    let count = |n: i64| usize::try_from(n).unwrap_or_default();
    Ok((count(row.scope), count(row.integration)))
}

/// Marks the live keys of a scope that its proof did not see as gone. Returns how
/// many rows that were.
///
/// # Errors
///
/// When the database does not answer.
pub async fn remove_unseen(conn: &mut PgConnection, proof: &Complete) -> Result<u64> {
    let scope = proof.scope();
    let seen: Vec<String> = proof.seen().iter().cloned().collect();
    let done = sqlx::query!(
        "UPDATE connector.resources r
         SET gone_at = connector.now(), changed_at = connector.now()
         WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.collector = $3
           AND r.scope_account_id = $4 AND r.scope_region = $5 AND r.gone_at IS NULL
           AND NOT EXISTS (SELECT FROM unnest($6::text[]) AS seen(arn) WHERE seen.arn = r.arn)",
        scope.group.connector.as_str(),
        scope.group.integration.0,
        scope.collector,
        scope.group.place.account_key(),
        scope.group.place.region_key(),
        &seen
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

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
    /// When its scope was last read whole.
    pub fresh_at: Option<DateTime<Utc>>,
    /// Why its scope could not be read last time.
    pub stale_reason: Option<String>,
}

/// Which resources to list; empty texts are no condition.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Integration.
    pub integration: Option<IntegrationId>,
    /// Type id.
    pub kind: String,
    /// Account.
    pub account_id: String,
    /// Region.
    pub region: String,
    /// Part of name or ARN, in any case.
    pub text: String,
}

/// Live resources after a key, by integration and ARN.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    filter: &Filter,
    after: (Uuid, &str),
    limit: i64,
) -> Result<Vec<Stored>> {
    Ok(sqlx::query_as!(
        Stored,
        r#"SELECT r.integration_id, r.arn, r.type AS kind, r.account_id, r.region, r.name,
             r.tags, r.attributes, r.unread, r.first_seen_at, r.changed_at,
             s.complete_at AS "fresh_at?",
             s.reason AS "stale_reason?"
           FROM connector.resources r
           LEFT JOIN connector.scopes s
             ON s.connector_id = r.connector_id AND s.integration_id = r.integration_id
            AND s.account_id = r.scope_account_id AND s.region = r.scope_region
            AND s.collector = r.collector
           WHERE r.connector_id = $1 AND r.gone_at IS NULL
             AND (r.integration_id, r.arn) > ($2, $3)
             AND ($4::uuid IS NULL OR r.integration_id = $4)
             AND ($5 = '' OR r.type = $5)
             AND ($6 = '' OR r.account_id = $6)
             AND ($7 = '' OR r.region = $7)
             AND ($8 = '' OR strpos(lower(r.name), lower($8)) > 0
                 OR strpos(lower(r.arn), lower($8)) > 0)
           ORDER BY r.integration_id, r.arn LIMIT $9"#,
        connector.as_str(),
        after.0,
        after.1,
        filter.integration.map(|id| id.0),
        filter.kind,
        filter.account_id,
        filter.region,
        filter.text,
        limit
    )
    .fetch_all(conn)
    .await?)
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
    Ok(sqlx::query_as!(
        Stored,
        r#"SELECT r.integration_id, r.arn, r.type AS kind, r.account_id, r.region, r.name,
             r.tags, r.attributes, r.unread, r.first_seen_at, r.changed_at,
             s.complete_at AS "fresh_at?",
             s.reason AS "stale_reason?"
           FROM connector.resources r
           LEFT JOIN connector.scopes s
             ON s.connector_id = r.connector_id AND s.integration_id = r.integration_id
            AND s.account_id = r.scope_account_id AND s.region = r.scope_region
            AND s.collector = r.collector
           WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.arn = $3
             AND r.gone_at IS NULL"#,
        connector.as_str(),
        integration.0,
        arn
    )
    .fetch_optional(conn)
    .await?)
}
