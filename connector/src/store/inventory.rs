//! Discovered things: writing them.
//!
//! Invariant: a row whose content did not change is not written, not even to say that
//! it was seen again: its `xmin` and `ctid` stay. What is stored of a place is read once
//! as digests ([`live`]), and readings are compared with those, so that an unchanged
//! place costs one query, whatever its size. Only the holder of a place's lease writes
//! its rows, so that picture stays true while it reads.
//!
//! Invariant: `gone_at` is set by [`Missing`] alone, which is made from a proof.
//!
//! What a change replaces or removes becomes history in the same statement.

use std::collections::{BTreeMap, HashMap};

use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::PgConnection;

use super::{Result, stored};
use crate::model::{
    breaker::READS_TO_RELEASE,
    history::OF_USE,
    ids::{ConnectorId, IntegrationId},
    organization::Walk,
    proof::{Complete, KeyDigest},
    resource::Resource,
    scope::{Group, Place},
};

/// What is stored of the live resources of one place, by collector.
#[derive(Debug, Default)]
pub struct Live(HashMap<String, HashMap<KeyDigest, Known>>);

#[derive(Debug)]
struct Known {
    content_hash: [u8; 32],
    is_missing: bool,
}

impl Live {
    /// Whether a reading says something that is not stored.
    #[must_use]
    pub fn differs(&self, collector: &str, key: KeyDigest, content_hash: [u8; 32]) -> bool {
        self.0.get(collector).and_then(|known| known.get(&key)).is_none_or(|known| {
            // One that was missing is there again.
            known.is_missing || known.content_hash != content_hash
        })
    }

    /// How many resources a collector has here.
    #[must_use]
    pub fn count(&self, collector: &str) -> usize {
        self.0.get(collector).map_or(0, HashMap::len)
    }

    /// Whether a proof missed any of them.
    #[must_use]
    pub fn has_missing(&self, proof: &Complete) -> bool {
        let known = self.0.get(proof.scope().collector);
        known.is_some_and(|known| known.keys().any(|key| !proof.saw(*key)))
    }
}

/// Reads what is stored of some types in a group's place.
///
/// # Errors
///
/// When the database does not answer.
pub async fn live(conn: &mut PgConnection, group: &Group, types: &[String]) -> Result<Live> {
    let mut rows = sqlx::query!(
        "SELECT collector, arn, content_hash, missing_reads FROM connector.resources
         WHERE connector_id = $1 AND integration_id = $2 AND scope_account_id = $3
           AND scope_region = $4 AND gone_at IS NULL AND type = ANY ($5)",
        group.connector.as_str(),
        group.integration.0,
        group.place.account_key(),
        group.place.region_key(),
        types
    )
    .fetch(conn);
    let mut live = Live::default();
    while let Some(row) = rows.try_next().await? {
        let content_hash = stored(
            "resources",
            "content_hash",
            row.content_hash.try_into().map_err(|_| "it is not 32 bytes long"),
        )?;
        let known = Known { content_hash, is_missing: row.missing_reads > 0 };
        match live.0.get_mut(&row.collector) {
            Some(rows) => {
                rows.insert(KeyDigest::of(&row.arn), known);
            }
            None => {
                live.0.insert(row.collector, HashMap::from([(KeyDigest::of(&row.arn), known)]));
            }
        }
    }
    Ok(live)
}

/// Fills the unread fields of readings with what is stored of them.
///
/// # Errors
///
/// When the database does not answer.
pub async fn keep_unread(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    page: &mut [Resource],
) -> Result<()> {
    let mut unread: HashMap<String, &mut Resource> = page
        .iter_mut()
        .filter(|resource| !resource.unread.is_empty())
        .map(|resource| (resource.arn.clone(), resource))
        .collect();
    let arns: Vec<String> = unread.keys().cloned().collect();
    let rows = sqlx::query!(
        "SELECT arn, name, tags, attributes FROM connector.resources
         WHERE connector_id = $1 AND integration_id = $2 AND arn = ANY ($3)",
        connector.as_str(),
        integration.0,
        &arns
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let tags = stored("resources", "tags", serde_json::from_value(row.tags))?;
        let attributes = stored("resources", "attributes", serde_json::from_value(row.attributes))?;
        if let Some(resource) = unread.get_mut(&row.arn) {
            resource.keep_unread(&row.name, &tags, &attributes);
        }
    }
    Ok(())
}

/// A resource that a collector read in a place.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where.
    pub place: Place,
    /// Who read it.
    pub collector: &'static str,
    /// What was read.
    pub resource: Resource,
    /// Its hash.
    pub content_hash: [u8; 32],
}

/// Writes readings that differ from what is stored, as one revision of the feed.
///
/// # Errors
///
/// When the database does not answer.
pub async fn write<'a>(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    revision: i64,
    readings: impl IntoIterator<Item = &'a Reading>,
) -> Result<()> {
    // Sorted by key, so that two writers cannot deadlock; one row per key, because a
    // list may show a thing twice while it changes.
    let rows: BTreeMap<&str, &Reading> =
        readings.into_iter().map(|row| (row.resource.arn.as_str(), row)).collect();
    let rows: Vec<&Reading> = rows.into_values().collect();
    let texts = |text: fn(&Reading) -> &str| -> Vec<String> {
        rows.iter().map(|row| text(row).to_owned()).collect()
    };
    let tags: Vec<Value> = rows.iter().map(|row| serde_json::json!(row.resource.tags)).collect();
    let attributes: Vec<Value> =
        rows.iter().map(|row| Value::Object(row.resource.attributes.clone())).collect();
    let unread: Vec<Value> = rows.iter().map(|row| row.resource.unread_json()).collect();
    let hashes: Vec<Vec<u8>> = rows.iter().map(|row| row.content_hash.to_vec()).collect();
    sqlx::query!(
        "WITH given AS (
             SELECT * FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                 $9::text[], $10::text[], $11::text[], $12::jsonb[], $13::jsonb[], $14::jsonb[],
                 $15::bytea[])
             AS given (arn, type, account_id, region, scope_account_id, scope_region, collector,
                 name, tags, attributes, unread, content_hash)),
         -- Each is looked up by its key, however small the table was when this was planned.
         -- Mere use makes no version, nor does what could not be read before.
         compared AS (
             SELECT given.*, r.old, r.arn IS NOT NULL AND r.gone_at IS NULL AS is_there,
                 coalesce(r.version_revision, r.revision) AS version_revision,
                 coalesce(r.version_began_at, r.changed_at) AS version_began_at,
                 (r.type, r.account_id, r.region) IS DISTINCT FROM
                     (given.type, given.account_id, given.region)
                 OR (r.name <> given.name AND NOT r.unread ? 'name')
                 OR (r.tags <> given.tags AND NOT r.unread ? 'tags')
                 OR r.attributes - $16::text[] - ARRAY(SELECT jsonb_object_keys(r.unread))
                     <> given.attributes - $16::text[] - ARRAY(SELECT jsonb_object_keys(r.unread))
                 AS is_other
             FROM given
             LEFT JOIN LATERAL (
                 SELECT *, resources AS old FROM connector.resources
                 WHERE connector_id = $1 AND integration_id = $2 AND arn = given.arn
                 LIMIT 1) r ON true),
         replaced AS (
             INSERT INTO connector.resource_history
                 (connector_id, integration_id, arn, revision, type, account_id, region, name,
                  tags, attributes, began_at, ended_at, went)
             SELECT $1, $2, arn, version_revision, (old).type, (old).account_id, (old).region,
                 (old).name, (old).tags, (old).attributes, version_began_at, connector.now(),
                 false
             FROM compared WHERE is_there AND is_other)
         INSERT INTO connector.resources AS r
             (connector_id, integration_id, revision, arn, type, account_id, region,
              scope_account_id, scope_region, collector, name, tags, attributes, unread,
              content_hash, version_began_at, version_revision)
         SELECT $1, $2, $3, arn, type, account_id, region, scope_account_id, scope_region,
             collector, name, tags, attributes, unread, content_hash,
             CASE WHEN is_there AND NOT is_other THEN version_began_at END,
             CASE WHEN is_there AND NOT is_other THEN version_revision END
         FROM compared
         ON CONFLICT (connector_id, integration_id, arn) DO UPDATE
         SET revision = excluded.revision, type = excluded.type,
             account_id = excluded.account_id, region = excluded.region,
             scope_account_id = excluded.scope_account_id, scope_region = excluded.scope_region,
             collector = excluded.collector, name = excluded.name, tags = excluded.tags,
             attributes = excluded.attributes, unread = excluded.unread,
             content_hash = excluded.content_hash, changed_at = connector.now(),
             version_began_at = excluded.version_began_at,
             version_revision = excluded.version_revision,
             gone_at = NULL, missing_reads = 0, missing_generation = NULL",
        connector.as_str(),
        integration.0,
        revision,
        &texts(|row| &row.resource.arn),
        &texts(|row| row.resource.kind),
        &texts(|row| row.resource.account.as_str()),
        &texts(|row| row.resource.region.as_ref().map_or("", |region| region.as_str())),
        &texts(|row| row.place.account_key()),
        &texts(|row| row.place.region_key()),
        &texts(|row| row.collector),
        &texts(|row| &row.resource.name),
        &tags,
        &attributes,
        &unread,
        &hashes,
        &OF_USE.map(str::to_owned)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which missing resources to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that are there still.
    All,
    /// Those that enough syncs in a row have missed, this one with them.
    Agreed,
}

/// Live resources that a proof says are not there. Only a proof makes them.
#[derive(Debug)]
pub struct Missing {
    connector: ConnectorId,
    integration: IntegrationId,
    generation: i64,
    arns: Vec<String>,
}

impl Missing {
    /// Those of a scope that was read whole, of the types that it was read for.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn of_scope(
        conn: &mut PgConnection,
        proof: &Complete,
        types: &[String],
    ) -> Result<Self> {
        let scope = proof.scope();
        let mut rows = sqlx::query_scalar!(
            "SELECT arn FROM connector.resources
             WHERE connector_id = $1 AND integration_id = $2 AND scope_account_id = $3
               AND scope_region = $4 AND collector = $5 AND gone_at IS NULL
               AND type = ANY ($6)",
            scope.group.connector.as_str(),
            scope.group.integration.0,
            scope.group.place.account_key(),
            scope.group.place.region_key(),
            scope.collector,
            types
        )
        .fetch(conn);
        let mut arns = Vec::new();
        while let Some(arn) = rows.try_next().await? {
            if !proof.saw(KeyDigest::of(&arn)) {
                arns.push(arn);
            }
        }
        Ok(Self::new(&scope.group, arns))
    }

    /// Those in accounts that are not in the organization any more, as a whole walk
    /// shows.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn of_walk(conn: &mut PgConnection, group: &Group, walk: &Walk) -> Result<Self> {
        let accounts: Vec<String> =
            walk.accounts().iter().map(|account| account.id.to_string()).collect();
        let arns = sqlx::query_scalar!(
            "SELECT arn FROM connector.resources r
             WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
               AND scope_account_id <> ''
               AND NOT EXISTS (
                   SELECT FROM unnest($3::text[]) AS there(account_id)
                   WHERE there.account_id = r.scope_account_id)",
            group.connector.as_str(),
            group.integration.0,
            &accounts
        )
        .fetch_all(conn)
        .await?;
        Ok(Self::new(group, arns))
    }

    fn new(group: &Group, mut arns: Vec<String>) -> Self {
        arns.sort_unstable();
        let (integration, generation) = (group.integration, group.generation);
        Self { connector: group.connector.clone(), integration, generation, arns }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.arns.len()
    }

    /// Removes them. Returns how many went. The feed's revision must have been taken before.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn remove(
        &self,
        conn: &mut PgConnection,
        revision: i64,
        which: Which,
    ) -> Result<i64> {
        let done = sqlx::query!(
            "WITH missing AS (
                 SELECT arn, coalesce(version_revision, revision) AS revision,
                     coalesce(version_began_at, changed_at) AS began_at
                 FROM connector.resources
                 WHERE connector_id = $1 AND integration_id = $2 AND arn = ANY ($3)
                   AND gone_at IS NULL AND (NOT $5 OR $6 <= missing_reads
                       + CASE WHEN missing_generation = $7 THEN 0 ELSE 1 END)
                 FOR UPDATE),
             gone AS (
                 UPDATE connector.resources r
                 SET gone_at = connector.now(), changed_at = connector.now(), revision = $4,
                     missing_reads = 0, missing_generation = NULL, version_began_at = NULL,
                     version_revision = NULL
                 FROM missing
                 WHERE r.connector_id = $1 AND r.integration_id = $2 AND r.arn = missing.arn
                 RETURNING r.arn, missing.revision, r.type, r.account_id, r.region, r.name,
                     r.tags, r.attributes, missing.began_at, r.gone_at)
             INSERT INTO connector.resource_history
                 (connector_id, integration_id, arn, revision, type, account_id, region, name,
                  tags, attributes, began_at, ended_at, went)
             SELECT $1, $2, gone.*, true FROM gone",
            self.connector.as_str(),
            self.integration.0,
            &self.arns,
            revision,
            which == Which::Agreed,
            i32::from(READS_TO_RELEASE),
            self.generation
        )
        .execute(conn)
        .await?;
        Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
    }

    /// Counts one more sync that missed those that are still there. Returns how many
    /// that are.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn hold(&self, conn: &mut PgConnection) -> Result<u64> {
        let done = sqlx::query!(
            "UPDATE connector.resources
             SET missing_reads = missing_reads
                     + CASE WHEN missing_generation = $4 THEN 0 ELSE 1 END,
                 missing_generation = $4
             WHERE connector_id = $1 AND integration_id = $2 AND arn = ANY ($3)
               AND gone_at IS NULL",
            self.connector.as_str(),
            self.integration.0,
            &self.arns,
            self.generation
        )
        .execute(conn)
        .await?;
        Ok(done.rows_affected())
    }
}

/// Releases held removals: the next complete read that misses a resource removes it.
/// Empty texts are no condition. Returns how many resources that concerns.
///
/// # Errors
///
/// When the database does not answer.
pub async fn release(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    account_id: &str,
    kind: &str,
) -> Result<u64> {
    let done = sqlx::query!(
        "UPDATE connector.resources SET missing_reads = $5, missing_generation = NULL
         WHERE connector_id = $1 AND integration_id = $2 AND gone_at IS NULL
           AND missing_reads > 0 AND ($3 = '' OR account_id = $3) AND ($4 = '' OR type = $4)",
        connector.as_str(),
        integration.0,
        account_id,
        kind,
        READS_TO_RELEASE
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
