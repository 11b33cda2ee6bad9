//! What was done with access that was given, each event once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Result, audit_places::Leased, stored};
use crate::model::{
    attribution::{Ambiguity, Attribution},
    ids::ConnectorId,
    record::Record,
};

mod rows;

use rows::Rows;

/// Something that was done, and with whose access.
#[derive(Clone, Debug)]
pub struct New {
    /// What was done.
    pub record: Record,
    /// Whose access it was.
    pub attribution: Attribution,
    /// As CloudTrail wrote it, compressed.
    pub raw: Vec<u8>,
}

/// Stores what was done, each event once.
pub(super) async fn insert(conn: &mut PgConnection, place: &Leased, events: &[New]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut months: Vec<DateTime<Utc>> = events.iter().map(|event| event.record.at).collect();
    months.sort_unstable();
    months.dedup_by_key(|at| at.format("%Y-%m").to_string());
    for month in months {
        sqlx::query!("SELECT connector.make_audit_month($1)", month).execute(&mut *conn).await?;
    }
    let mut rows = Rows::default();
    for event in events {
        rows.push(event);
    }
    rows.insert(conn, place).await
}

/// Makes the tables of this month and the next, so that nobody waits for them.
///
/// # Errors
///
/// When the database does not answer.
pub async fn make_room(conn: &mut PgConnection) -> Result<()> {
    sqlx::query!(
        "SELECT connector.make_audit_month(connector.now()),
             connector.make_audit_month(connector.now() + interval '1 month')"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// Its id.
    pub id: String,
    /// Account that received the call.
    pub account: String,
    /// Region.
    pub region: String,
    /// Which source told it.
    pub source: String,
    /// Id of the role.
    pub role_id: String,
    /// Name of the session.
    pub session_name: String,
    /// When the session was made.
    pub session_created_at: DateTime<Utc>,
    /// Access key.
    pub access_key: String,
    /// Service.
    pub service: String,
    /// Name of the event.
    pub name: String,
    /// Whether it changed nothing.
    pub is_read_only: bool,
    /// Why it failed; empty: it did not.
    pub error_code: String,
    /// Address.
    pub address: String,
    /// Program.
    pub agent: String,
    /// ARNs of what it was done to.
    pub resources: Vec<String>,
    /// Whose access it was.
    pub attribution: Attribution,
    /// As CloudTrail wrote it, compressed with gzip.
    pub raw: Vec<u8>,
}

/// A grant whose events are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The tenant.
    pub connector: &'a ConnectorId,
    /// The grant.
    pub grant: &'a str,
    /// When it was granted: nothing was done with it before, so what is older is not looked at.
    pub granted_at: DateTime<Utc>,
}

/// Which events are asked for.
#[derive(Clone, Debug)]
pub struct Filter {
    /// In this account; empty: in any.
    pub account: String,
    /// Only those that failed.
    pub failed_only: bool,
    /// Only those whose grant is not certain.
    pub ambiguous_only: bool,
    /// At or after this time.
    pub since: Option<DateTime<Utc>>,
    /// Before this time.
    pub until: Option<DateTime<Utc>>,
}

/// Events, the newest first, after one that was told by its time, id and account.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    conn: &mut PgConnection,
    of: Of<'_>,
    filter: &Filter,
    after: Option<(DateTime<Utc>, &str, &str)>,
    limit: i64,
) -> Result<Vec<Event>> {
    let (at, id, account) =
        after.map_or((None, "", ""), |(at, id, account)| (Some(at), id, account));
    let rows = sqlx::query!(
        r#"SELECT at, event_id, account_id, region, source, role_id, session_name,
             session_created_at, access_key, service, name, is_read_only, error_code, address,
             agent, resources, grant_ids, ambiguity, record
           FROM connector.audit_events
           WHERE connector_id = $1 AND grant_ids @> ARRAY[$2]
             AND at >= date_trunc('second', $12::timestamptz)
             AND ($3 = '' OR account_id = $3)
             AND (NOT $4 OR error_code <> '') AND (NOT $5 OR ambiguity <> '')
             AND ($6::timestamptz IS NULL OR at >= $6) AND ($7::timestamptz IS NULL OR at < $7)
             AND ($8::timestamptz IS NULL OR (at, event_id, account_id) < ($8, $9, $10))
           ORDER BY at DESC, event_id DESC, account_id DESC LIMIT $11"#,
        of.connector.as_str(),
        of.grant,
        filter.account,
        filter.failed_only,
        filter.ambiguous_only,
        filter.since,
        filter.until,
        at,
        id,
        account,
        limit,
        of.granted_at
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Event {
                at: row.at,
                id: row.event_id,
                account: row.account_id,
                region: row.region,
                source: row.source,
                role_id: row.role_id,
                session_name: row.session_name,
                session_created_at: row.session_created_at,
                access_key: row.access_key,
                service: row.service,
                name: row.name,
                is_read_only: row.is_read_only,
                error_code: row.error_code,
                address: row.address,
                agent: row.agent,
                resources: row.resources,
                attribution: Attribution {
                    grants: row.grant_ids,
                    ambiguity: ambiguity(&row.ambiguity)?,
                },
                raw: row.record,
            })
        })
        .collect()
}

fn ambiguity(text: &str) -> Result<Option<Ambiguity>> {
    let known = (!text.is_empty()).then(|| text.parse()).transpose();
    stored("audit_events", "ambiguity", known)
}

/// Removes events that are older than their integration keeps them, at most so many; of integrations
/// that are gone, those that are older than `otherwise`.
///
/// # Errors
///
/// When the database does not answer.
pub async fn purge(conn: &mut PgConnection, otherwise: Duration, rows_max: i64) -> Result<u64> {
    let done = sqlx::query!(
        "WITH kept AS (
             SELECT connector_id, id AS integration_id,
                 coalesce((settings #>> '{audit_retention,secs}')::double precision, $1) AS seconds
             FROM connector.integrations
             UNION ALL
             SELECT DISTINCT a.connector_id, a.integration_id, $1
             FROM connector.audited_units a
             WHERE NOT EXISTS (
                 SELECT FROM connector.integrations i
                 WHERE i.connector_id = a.connector_id AND i.id = a.integration_id)),
         old AS (
             SELECT o.connector_id, o.integration_id, o.at, o.event_id, o.account_id
             FROM kept CROSS JOIN LATERAL (
                 SELECT e.connector_id, e.integration_id, e.at, e.event_id, e.account_id
                 FROM connector.audit_events e
                 WHERE e.connector_id = kept.connector_id
                   AND e.integration_id = kept.integration_id
                   AND e.at < connector.now() - make_interval(secs => kept.seconds)
                 ORDER BY e.at LIMIT $2) AS o
             LIMIT $2)
         DELETE FROM connector.audit_events e USING old
         WHERE (e.connector_id, e.integration_id, e.at, e.event_id, e.account_id)
             = (old.connector_id, old.integration_id, old.at, old.event_id, old.account_id)",
        otherwise.as_secs_f64(),
        rows_max
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What events of a grant have come to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Calls.
    pub calls: i64,
    /// Those that failed.
    pub failed: i64,
    /// The first.
    pub first_at: Option<DateTime<Utc>>,
    /// The last.
    pub last_at: Option<DateTime<Utc>>,
}

/// Counts the events of a grant.
///
/// # Errors
///
/// When the database does not answer.
pub async fn totals(conn: &mut PgConnection, of: Of<'_>) -> Result<Totals> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "calls!", count(*) FILTER (WHERE error_code <> '') AS "failed!",
             min(at) AS first_at, max(at) AS last_at
           FROM connector.audit_events WHERE connector_id = $1 AND grant_ids @> ARRAY[$2]
             AND at >= date_trunc('second', $3::timestamptz)"#,
        of.connector.as_str(),
        of.grant,
        of.granted_at
    )
    .fetch_one(conn)
    .await?;
    Ok(Totals {
        calls: row.calls,
        failed: row.failed,
        first_at: row.first_at,
        last_at: row.last_at,
    })
}

/// How often a call was made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Service.
    pub service: String,
    /// Name of the event.
    pub name: String,
    /// Whether it changed nothing.
    pub is_read_only: bool,
    /// Why it failed; empty: it did not.
    pub error_code: String,
    /// How often.
    pub count: i64,
    /// When last.
    pub last_at: DateTime<Utc>,
}

/// What was called with a grant: first what failed, then the most frequent.
///
/// # Errors
///
/// When the database does not answer.
pub async fn calls(conn: &mut PgConnection, of: Of<'_>, limit: i64) -> Result<Vec<Call>> {
    let rows = sqlx::query!(
        r#"SELECT service, name, is_read_only, error_code, count(*) AS "count!", max(at) AS "last_at!"
           FROM connector.audit_events WHERE connector_id = $1 AND grant_ids @> ARRAY[$2]
             AND at >= date_trunc('second', $3::timestamptz)
           GROUP BY service, name, is_read_only, error_code
           ORDER BY error_code = '', 5 DESC, service, name LIMIT $4"#,
        of.connector.as_str(),
        of.grant,
        of.granted_at,
        limit
    )
    .fetch_all(conn)
    .await?;
    let calls = rows.into_iter().map(|row| Call {
        service: row.service,
        name: row.name,
        is_read_only: row.is_read_only,
        error_code: row.error_code,
        count: row.count,
        last_at: row.last_at,
    });
    Ok(calls.collect())
}

/// A session that a grant was used with.
#[derive(Clone, Debug)]
pub struct Used {
    /// Account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Id of its role.
    pub role_id: String,
    /// Access key.
    pub access_key: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The last call.
    pub last_at: DateTime<Utc>,
    /// Calls.
    pub calls: i64,
    /// Addresses that they came from.
    pub addresses: Vec<String>,
    /// Programs that made them.
    pub agents: Vec<String>,
}

/// The sessions that a grant was used with, the newest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn sessions(conn: &mut PgConnection, of: Of<'_>, limit: i64) -> Result<Vec<Used>> {
    let rows = sqlx::query!(
        r#"SELECT account_id, session_name, role_id, access_key, session_created_at,
             count(*) AS "calls!", max(at) AS "last_at!",
             array_agg(DISTINCT address) AS "addresses!", array_agg(DISTINCT agent) AS "agents!"
           FROM connector.audit_events WHERE connector_id = $1 AND grant_ids @> ARRAY[$2]
             AND at >= date_trunc('second', $3::timestamptz)
           GROUP BY account_id, session_name, role_id, access_key, session_created_at
           ORDER BY session_created_at DESC, access_key LIMIT $4"#,
        of.connector.as_str(),
        of.grant,
        of.granted_at,
        limit
    )
    .fetch_all(conn)
    .await?;
    let sessions = rows.into_iter().map(|row| Used {
        account: row.account_id,
        name: row.session_name,
        role_id: row.role_id,
        access_key: row.access_key,
        created_at: row.session_created_at,
        last_at: row.last_at,
        calls: row.calls,
        addresses: row.addresses,
        agents: row.agents,
    });
    Ok(sessions.collect())
}

/// What a grant was used on, by how often.
///
/// # Errors
///
/// When the database does not answer.
pub async fn resources(
    conn: &mut PgConnection,
    of: Of<'_>,
    limit: i64,
) -> Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT resource AS "resource!", count(*) AS "count!"
           FROM connector.audit_events CROSS JOIN unnest(resources) AS resource
           WHERE connector_id = $1 AND grant_ids @> ARRAY[$2]
             AND at >= date_trunc('second', $3::timestamptz)
           GROUP BY resource ORDER BY 2 DESC, resource LIMIT $4"#,
        of.connector.as_str(),
        of.grant,
        of.granted_at,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.resource, row.count)).collect())
}

/// The doubts about whose the events of a grant are, and how many have them.
///
/// # Errors
///
/// When the database does not answer.
pub async fn doubts(conn: &mut PgConnection, of: Of<'_>) -> Result<Vec<(Ambiguity, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT ambiguity, count(*) AS "count!" FROM connector.audit_events
           WHERE connector_id = $1 AND grant_ids @> ARRAY[$2]
             AND at >= date_trunc('second', $3::timestamptz) AND ambiguity <> ''
           GROUP BY ambiguity ORDER BY 2 DESC, ambiguity"#,
        of.connector.as_str(),
        of.grant,
        of.granted_at
    )
    .fetch_all(conn)
    .await?;
    let doubts = rows.into_iter().map(|row| {
        let doubt = stored("audit_events", "ambiguity", row.ambiguity.parse())?;
        Ok((doubt, row.count))
    });
    doubts.collect()
}
