//! Objects in AWS that grants hold: what is remembered of each, and when to look at it next.
//!
//! Lock order: the lease of the instance ([`super::identity_centers::lock`]), then the target, then
//! its units. The API writes wishes into grants, then wakes their targets, and never holds a target
//! while it waits for a grant.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Result, expect_one, identity_centers::Held, stored};
use crate::model::{
    errand::Errand,
    ids::{ConnectorId, IntegrationId, TargetId},
    object::Object,
    target::{Doubt, Intent, Origin, Target},
};

const TABLE: &str = "targets";

/// A target as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Id.
    pub id: TargetId,
    /// What kind of object it is.
    pub mechanism: String,
    /// What tells it from others.
    pub key: String,
    /// As its mechanism names it.
    pub object: serde_json::Value,
    /// What one change at a time is made of: an account, a group.
    pub place: String,
    /// What is remembered.
    pub target: Target,
    /// Looks or calls in a row that failed.
    pub failures: i32,
    /// What AWS has told of it that others need.
    pub facts: serde_json::Value,
}

struct Row {
    id: Uuid,
    mechanism: String,
    object_key: String,
    object: serde_json::Value,
    place: String,
    origin: Option<String>,
    intent_verb: Option<String>,
    intent_since: Option<DateTime<Utc>>,
    intent_request: Option<String>,
    intent_settled_before: Option<DateTime<Utc>>,
    intent_origin_before: Option<String>,
    settles_at: Option<DateTime<Utc>>,
    doubt_create: bool,
    doubt_delete: bool,
    missing_since: Option<DateTime<Utc>>,
    is_adopted: bool,
    failures: i32,
    facts: serde_json::Value,
}

fn origin(column: &'static str, text: Option<&str>) -> Result<Option<Origin>> {
    let parsed = match text {
        None => Ok(None),
        Some("found") => Ok(Some(Origin::Found)),
        Some("made") => Ok(Some(Origin::Made)),
        Some(other) => Err(format!("unknown origin {other:?}")),
    };
    stored(TABLE, column, parsed)
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Found => "found",
        Origin::Made => "made",
    }
}

impl TryFrom<Row> for Stored {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        let intent = match (row.intent_verb, row.intent_since) {
            (Some(word), Some(since)) => Some(Intent {
                verb: stored(TABLE, "intent_verb", word.parse())?,
                since,
                request: row.intent_request,
                settled_before: row.intent_settled_before,
                origin_before: origin("intent_origin_before", row.intent_origin_before.as_deref())?,
            }),
            _ => None,
        };
        Ok(Self {
            id: TargetId(row.id),
            mechanism: row.mechanism,
            key: row.object_key,
            object: row.object,
            place: row.place,
            target: Target {
                origin: origin("origin", row.origin.as_deref())?,
                intent,
                settles_at: row.settles_at,
                doubt: Doubt { create: row.doubt_create, delete: row.doubt_delete },
                missing_since: row.missing_since,
                is_adopted: row.is_adopted,
            },
            failures: row.failures,
            facts: row.facts,
        })
    }
}

/// Makes sure of a target, due at once. Its id.
///
/// # Errors
///
/// When the database does not answer.
pub async fn ensure(
    conn: &mut PgConnection,
    (connector, integration): (&ConnectorId, IntegrationId),
    fresh: TargetId,
    object: &Object,
) -> Result<TargetId> {
    let id = sqlx::query_scalar!(
        "INSERT INTO connector.targets AS t
             (connector_id, id, integration_id, mechanism, object_key, object, place, next_at,
              errand)
         VALUES ($1, $2, $3, $4, $5, $6, $7, connector.now(), $8)
         ON CONFLICT (connector_id, integration_id, mechanism, object_key) DO UPDATE
         SET next_at = least(t.next_at, excluded.next_at),
             errand = CASE WHEN t.next_at IS NULL THEN excluded.errand
                 ELSE least(t.errand, excluded.errand) END,
             -- Nobody has looked at it since a removal was given up: what is there by now may be
             -- anybody's, and is taken for found.
             origin = CASE WHEN t.next_at IS NULL THEN NULL ELSE t.origin END,
             doubt_create = t.doubt_create AND (t.next_at IS NOT NULL
                 OR coalesce(t.settles_at > connector.now(), false)),
             doubt_delete = t.doubt_delete AND (t.next_at IS NOT NULL
                 OR coalesce(t.settles_at > connector.now(), false)),
             missing_since = CASE WHEN t.next_at IS NOT NULL THEN t.missing_since END,
             is_adopted = t.is_adopted AND t.next_at IS NOT NULL
         RETURNING id",
        connector.as_str(),
        fresh.0,
        integration.0,
        object.mechanism,
        object.key,
        object.object,
        object.place,
        Errand::Grant.number()
    )
    .fetch_one(conn)
    .await?;
    Ok(TargetId(id))
}

/// A target that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// Id.
    pub id: TargetId,
    /// What one change at a time is made of: an account, a group.
    pub place: String,
    /// What for.
    pub errand: Errand,
    /// Whether a call on it is under way.
    pub is_under_way: bool,
    /// Whether AWS works only on so many like it at once.
    pub is_limited: bool,
    /// Limited calls that are under way, those of [`Search::calls`] among them.
    pub calls: i64,
}

/// Which targets to look for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// But those that are being looked at.
    pub but: &'a [TargetId],
    /// In these places something else is about to begin.
    pub busy: &'a [String],
    /// Limited calls that are under way for those that are being looked at, or may come of it.
    pub calls: i64,
    /// Also those that nobody waits for.
    pub with_audits: bool,
    /// The mechanisms whose calls are limited.
    pub limited: &'a [String],
    /// Of them, so many at once in the instance.
    pub calls_at_once: i64,
    /// Of each errand at most.
    pub limit: i64,
}

/// Targets of an instance that are due, the most urgent first. What would begin where another call is
/// under way in the place, or as many as AWS takes at once in the instance, waits.
///
/// # Errors
///
/// When the database does not answer.
pub async fn due(conn: &mut PgConnection, held: &Held, search: Search<'_>) -> Result<Vec<Due>> {
    let errands: Vec<i16> = Errand::ALL
        .into_iter()
        .filter(|errand| search.with_audits || *errand != Errand::Audit)
        .map(Errand::number)
        .collect();
    let but: Vec<Uuid> = search.but.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"WITH busy AS MATERIALIZED (
             SELECT array_agg(place) || $7::text[] AS places,
               count(*) FILTER (WHERE id <> ALL ($3) AND mechanism = ANY ($9)) + $8 AS calls
             FROM connector.targets
             WHERE connector_id = $1 AND integration_id = $2 AND intent_verb IS NOT NULL)
           SELECT t.id AS "id!", t.place AS "place!", t.errand AS "errand!",
             t.is_under_way AS "is_under_way!",
             t.mechanism = ANY ($9) AS "is_limited!", busy.calls AS "calls!"
           FROM busy
           CROSS JOIN LATERAL (
             (SELECT id, mechanism, place, 0::smallint AS errand, unwanted_at AS since,
                intent_verb IS NOT NULL AS is_under_way
              FROM connector.targets
              WHERE connector_id = $1 AND integration_id = $2 AND errand > 0
                AND next_at IS NOT NULL AND unwanted_at <= connector.now()
                AND intent_verb IS DISTINCT FROM 'delete' AND id <> ALL ($3)
                AND (intent_verb IS NOT NULL
                     OR ((busy.calls < $5 OR mechanism <> ALL ($9))
                         AND place <> ALL (busy.places)))
              ORDER BY unwanted_at LIMIT $4)
             UNION ALL
             SELECT due.* FROM unnest($6::smallint[]) AS e(errand)
             CROSS JOIN LATERAL (
               SELECT id, mechanism, place, errand, next_at AS since,
                 intent_verb IS NOT NULL AS is_under_way
               FROM connector.targets
               WHERE connector_id = $1 AND integration_id = $2 AND errand = e.errand
                 AND next_at <= connector.now() AND id <> ALL ($3)
                 AND (e.errand = 0 OR intent_verb IS NOT DISTINCT FROM 'delete'
                      OR coalesce(unwanted_at > connector.now(), true))
                 AND (intent_verb IS NOT NULL OR e.errand = 3
                      OR ((busy.calls < $5 OR mechanism <> ALL ($9))
                         AND place <> ALL (busy.places)))
               ORDER BY next_at LIMIT $4) AS due) AS t
           ORDER BY t.errand, t.since, t.id"#,
        held.connector.as_str(),
        held.integration.0,
        &but,
        search.limit,
        search.calls_at_once,
        &errands,
        search.busy,
        search.calls,
        search.limited
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Due {
                id: TargetId(row.id),
                place: row.place,
                is_limited: row.is_limited,
                errand: Errand::ALL
                    .into_iter()
                    .find(|errand| errand.number() == row.errand)
                    .unwrap_or(Errand::Revoke),
                is_under_way: row.is_under_way,
                calls: row.calls,
            })
        })
        .collect()
}

/// One target.
///
/// # Errors
///
/// When the database does not answer.
pub async fn get(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: TargetId,
) -> Result<Option<Stored>> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, mechanism, object_key, object, place, origin, intent_verb,
             intent_since, intent_request, intent_settled_before, intent_origin_before,
             settles_at, doubt_create, doubt_delete, missing_since, is_adopted, failures, facts
         FROM connector.targets WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Locks a target whose lease is locked, and marks it with the fence. None: somebody has given it
/// up since the step began.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock(conn: &mut PgConnection, held: &Held, id: TargetId) -> Result<Option<Stored>> {
    let row = sqlx::query_as!(
        Row,
        "UPDATE connector.targets SET fence = $3
         WHERE connector_id = $1 AND id = $2 AND next_at IS NOT NULL
         RETURNING id, mechanism, object_key, object, place, origin, intent_verb,
             intent_since, intent_request, intent_settled_before, intent_origin_before,
             settles_at, doubt_create, doubt_delete, missing_since, is_adopted, failures, facts",
        held.connector.as_str(),
        id.0,
        held.fence
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// How many calls of a target's mechanism are under way in an instance, and how many calls of any in
/// the target's place, but for those on the target.
///
/// # Errors
///
/// When the database does not answer.
pub async fn under_way(
    conn: &mut PgConnection,
    held: &Held,
    stored: &Stored,
) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE mechanism = $3) AS "all!",
             count(*) FILTER (WHERE place = $4) AS "here!"
           FROM connector.targets
           WHERE connector_id = $1 AND integration_id = $2 AND intent_verb IS NOT NULL AND id <> $5"#,
        held.connector.as_str(),
        held.integration.0,
        stored.mechanism,
        stored.place,
        stored.id.0
    )
    .fetch_one(conn)
    .await?;
    Ok((row.all, row.here))
}

/// How a target gets on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Going {
    /// It is as it should be, or as it may be.
    Well,
    /// Something was begun, of which nobody knows yet whether it leads anywhere.
    On,
    /// It does not get on, for this reason.
    Badly(String),
}

/// When a target is looked at next, and how it gets on.
#[derive(Clone, Debug)]
pub struct Course {
    /// When; none: nothing is to be done.
    pub next_at: Option<DateTime<Utc>>,
    /// Whether it was seen in AWS just now.
    pub is_observed: bool,
    /// How it gets on.
    pub going: Going,
}

/// What comes of a target by itself.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    /// What it is due for, when it is.
    pub errand: Errand,
    /// From when on nobody wants it; none: nobody does.
    pub unwanted_at: Option<DateTime<Utc>>,
}

/// Writes what is remembered of a locked target.
///
/// # Errors
///
/// When it is gone.
pub async fn write(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: TargetId,
    target: &Target,
    course: &Course,
    outlook: Outlook,
) -> Result<()> {
    let intent = target.intent.as_ref();
    let trouble = match &course.going {
        Going::Badly(why) => Some(why.as_str()),
        Going::Well | Going::On => None,
    };
    let done = sqlx::query!(
        "UPDATE connector.targets
         SET origin = $3, intent_verb = $4, intent_since = $5, intent_request = $6,
             intent_settled_before = $7, intent_origin_before = $8, settles_at = $9,
             doubt_create = $10, doubt_delete = $11, missing_since = $12, is_adopted = $13,
             next_at = $14,
             observed_at = CASE WHEN $15 THEN connector.now() ELSE observed_at END,
             failures = CASE WHEN $17 THEN failures WHEN $16::text IS NULL THEN 0
                 ELSE failures + 1 END,
             stuck_since = CASE WHEN $17 THEN stuck_since
                 WHEN $16::text IS NOT NULL THEN coalesce(stuck_since, connector.now()) END,
             stuck_reason = CASE WHEN $17 THEN stuck_reason ELSE coalesce($16, '') END,
             errand = $18, unwanted_at = $19
         WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0,
        target.origin.map(origin_word),
        intent.map(|intent| intent.verb.as_str()),
        intent.map(|intent| intent.since),
        intent.and_then(|intent| intent.request.as_deref()),
        intent.and_then(|intent| intent.settled_before),
        intent.and_then(|intent| intent.origin_before).map(origin_word),
        target.settles_at,
        target.doubt.create,
        target.doubt.delete,
        target.missing_since,
        target.is_adopted,
        course.next_at,
        course.is_observed,
        trouble,
        course.going == Going::On,
        outlook.errand.number(),
        outlook.unwanted_at
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Notes what AWS has told of a locked target that others need.
///
/// # Errors
///
/// When it is gone.
pub async fn note_facts(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: TargetId,
    facts: &serde_json::Value,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE connector.targets SET facts = $3 WHERE connector_id = $1 AND id = $2",
        connector.as_str(),
        id.0,
        facts
    )
    .execute(conn)
    .await?;
    expect_one(&done)
}

/// Wakes the targets of a grant's units, for an errand.
///
/// # Errors
///
/// When the database does not answer.
pub async fn wake(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    grant: &str,
    errand: Errand,
) -> Result<()> {
    sqlx::query!(
        r#"UPDATE connector.targets t SET next_at = connector.now(), errand = least(t.errand, $3)
         FROM (
             SELECT id FROM connector.targets
             WHERE connector_id = $1 AND id IN (
                 SELECT target_id FROM connector.holdings
                 WHERE connector_id = $1 AND grant_id = $2
                   AND state NOT IN ('ENDED', 'FAILED'))
             ORDER BY object_key COLLATE "C", id FOR UPDATE) AS held
         WHERE t.connector_id = $1 AND t.id = held.id"#,
        connector.as_str(),
        grant,
        errand.number()
    )
    .execute(conn)
    .await?;
    Ok(())
}
