//! What was done with the access that was given.

use std::{io::Read as _, time::Duration};

use apono_connector_proto::v1::{
    self, AuditCoverage, AuditDoubt, AuditEvent, AuditedCall, AuditedResource, AuditedSession,
    ErasePrincipalRequest, ErasePrincipalResponse, GetAuditSummaryRequest, GetAuditSummaryResponse,
    ListAuditEventsRequest, ListAuditEventsResponse, VerifyActsRequest, VerifyActsResponse,
    audit_service_server::AuditService,
};
use chrono::{DateTime, Utc};
use flate2::read::GzDecoder;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    Api,
    auth::caller,
    page::{self, Page},
    status, words,
};
use crate::{
    audit,
    base::{backoff::Backoff, clock},
    model::{attribution::Ambiguity, ids::ConnectorId},
    store::{
        self, PgConnection,
        audit_events::{self, Event, Filter, Of},
        audit_places::{self, Reach},
    },
};

mod administration;

/// The longest that a caller waits for a reading.
const REFRESH_MAX: Duration = Duration::from_secs(30);
/// What was read within this time is not read again because somebody asks.
const FRESH: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Backoff =
    Backoff { first: Duration::from_millis(50), max: Duration::from_secs(1) };

/// Calls, sessions and resources of a summary.
const SUMMED_UP: i64 = 50;
/// The longest record that is sent.
const RECORD_BYTES_MAX: u64 = 1024 * 1024;

/// What is not seen, whatever the source.
const BLIND_SPOTS: [&str; 3] = [
    "What was typed in a shell on an instance is not in CloudTrail; Session Manager logs it where the account's preferences say so.",
    "What is done in a role that was assumed with the access is not looked for; that it was assumed is.",
    "CloudTrail delivers most events within 15 minutes; what comes up to a day late is found, too.",
];
/// What is not seen without a trail.
const WITHOUT_TRAIL: &str = "The event history has management events alone: reads and writes of S3 objects, items, messages and invocations are not in it.";
/// What may not be seen with one.
const WITH_TRAIL: &str = "Reads and writes of S3 objects, items, messages and invocations are in the trail only as far as it logs data events.";
/// Where nothing is looked for.
const NOT_AUDITED: &str = "The use of this grant is not looked for: audit_enabled was off when it was granted, or its recipient is a group or a user of IAM, or it was given by a group.";

#[tonic::async_trait]
impl AuditService for Api {
    async fn get_audit_summary(
        &self,
        request: Request<GetAuditSummaryRequest>,
    ) -> Result<Response<GetAuditSummaryResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let granted_at = granted_at(&mut conn, &connector, &request.grant_id).await?;
        let of = Of { connector: &connector, grant: &request.grant_id, granted_at };
        if request.refresh {
            drop(conn);
            self.refresh(of).await?;
            conn = self.conn().await?;
        }
        let summed_up = sum_up(&mut conn, of).await;
        Ok(Response::new(summed_up.map_err(|error| status::store(&error))?))
    }

    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("audit_events", request.page_size, &request.page_token)?;
        let after = page.after.as_deref().map(place).transpose()?;
        status::refuse_nul("account_id", &request.account_id)?;
        let time = |time: Option<prost_types::Timestamp>, field| {
            time.map(|time| words::time(time, field)).transpose()
        };
        let filter = Filter {
            account: request.account_id,
            failed_only: request.failed_only,
            ambiguous_only: request.ambiguous_only,
            since: time(request.since_time, "since_time")?,
            until: time(request.until_time, "until_time")?,
        };
        let mut conn = self.conn().await?;
        let granted_at = granted_at(&mut conn, &connector, &request.grant_id).await?;
        let of = Of { connector: &connector, grant: &request.grant_id, granted_at };
        let after = after.as_ref().map(|(at, id, account)| (*at, id.as_str(), account.as_str()));
        let found = audit_events::list(&mut conn, of, &filter, after, page.limit())
            .await
            .map_err(|error| status::store(&error))?;
        let mut found: Vec<_> = found.into_iter().map(|one| (place_of(&one), shown(one))).collect();
        let fits = page::fitting(&found, |(_, event)| event.encoded_len());
        let next_page_token = page.cut_at(fits, &mut found, |(place, _)| place.clone());
        let events = found.into_iter().map(|(_, event)| event).collect();
        Ok(Response::new(ListAuditEventsResponse { events, next_page_token }))
    }

    async fn verify_acts(
        &self,
        request: Request<VerifyActsRequest>,
    ) -> Result<Response<VerifyActsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let kept = (!request.head.is_empty()).then(|| request.head.parse()).transpose();
        let kept = kept.map_err(|reason: String| status::bad_request("head", reason))?;
        // Others wait in line.
        let place = self.verifications.acquire().await;
        let verified = self.verify(&connector, kept).await;
        drop(place);
        Ok(Response::new(verified.map_err(|error| status::store(&error))?))
    }

    async fn erase_principal(
        &self,
        request: Request<ErasePrincipalRequest>,
    ) -> Result<Response<ErasePrincipalResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let grant_ids = self.erase(&caller, &connector, &request).await?;
        Ok(Response::new(ErasePrincipalResponse { grant_ids }))
    }
}

impl Api {
    /// Has the sources of a grant read, and waits for that as long as a caller does.
    async fn refresh(&self, of: Of<'_>) -> Result<(), Status> {
        let mut conn = self.conn().await?;
        let hurried = audit_places::hurry(&mut conn, of.connector, of.grant, FRESH).await;
        hurried.map_err(|error| status::store(&error))?;
        drop(conn);
        self.audits.poke();
        let read = async {
            for looks in 1.. {
                clock::sleep(BETWEEN_LOOKS.after(looks)).await;
                let mut conn = self.conn().await?;
                let is_due = audit_places::is_due(&mut conn, of.connector, of.grant).await;
                if !is_due.map_err(|error| status::store(&error))? {
                    break;
                }
            }
            Ok(())
        };
        // What was not read in time shows in the coverage.
        tokio::time::timeout(REFRESH_MAX, read).await.unwrap_or(Ok(()))
    }
}

fn place_of(event: &Event) -> String {
    format!("{} {} {}", event.at.timestamp_micros(), event.account, event.id)
}

/// Where a page begins: behind the event of a time, id and account.
fn place(token: &str) -> Result<(DateTime<Utc>, String, String), Status> {
    let mut parts = token.splitn(3, ' ');
    let mut place = || {
        let at = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
        let account = parts.next()?.to_owned();
        Some((at, parts.next()?.to_owned(), account))
    };
    place().ok_or_else(page::damaged)
}

/// When a grant was granted: nothing was done with it before.
async fn granted_at(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    id: &str,
) -> Result<DateTime<Utc>, Status> {
    status::refuse_nul("grant_id", id)?;
    let found = store::grants::get(conn, connector, id).await;
    let found = found.map_err(|error| status::store(&error))?;
    found.map(|grant| grant.created_at).ok_or_else(|| status::not_found("grant", id))
}

async fn sum_up(conn: &mut PgConnection, of: Of<'_>) -> store::Result<GetAuditSummaryResponse> {
    let totals = audit_events::totals(conn, of).await?;
    let calls = audit_events::calls(conn, of, SUMMED_UP).await?;
    let sessions = audit_events::sessions(conn, of, SUMMED_UP).await?;
    let resources = audit_events::resources(conn, of, SUMMED_UP).await?;
    let doubts = audit_events::doubts(conn, of).await?;
    let reaches = audit_places::reaches(conn, of.connector, of.grant).await?;
    let has_trail = reaches.iter().any(|reach| reach.source == audit::TRAIL);
    let of_data = if has_trail { WITH_TRAIL } else { WITHOUT_TRAIL };
    let blind_spots = if reaches.is_empty() {
        vec![NOT_AUDITED]
    } else {
        [&[of_data][..], &BLIND_SPOTS].concat()
    };
    Ok(GetAuditSummaryResponse {
        grant_id: of.grant.to_owned(),
        calls: totals.calls,
        failed_calls: totals.failed,
        first_time: totals.first_at.map(words::timestamp),
        last_time: totals.last_at.map(words::timestamp),
        by_call: calls.into_iter().map(call).collect(),
        sessions: sessions.into_iter().map(session).collect(),
        resources: resources
            .into_iter()
            .map(|(arn, count)| AuditedResource { arn, count })
            .collect(),
        doubts: doubts
            .into_iter()
            .map(|(why, calls)| AuditDoubt {
                ambiguity: ambiguity(Some(why)).into(),
                reason: why.words().to_owned(),
                calls,
            })
            .collect(),
        coverage: reaches.into_iter().map(coverage).collect(),
        blind_spots: blind_spots.into_iter().map(str::to_owned).collect(),
    })
}

fn call(call: audit_events::Call) -> AuditedCall {
    AuditedCall {
        service: call.service,
        name: call.name,
        read_only: call.is_read_only,
        error_code: call.error_code,
        count: call.count,
        last_time: Some(words::timestamp(call.last_at)),
    }
}

fn session(used: audit_events::Used) -> AuditedSession {
    AuditedSession {
        account_id: used.account,
        name: used.name,
        role_id: used.role_id,
        access_key_id: used.access_key,
        create_time: Some(words::timestamp(used.created_at)),
        last_time: Some(words::timestamp(used.last_at)),
        calls: used.calls,
        source_addresses: used.addresses,
        user_agents: used.agents,
    }
}

fn coverage(reach: Reach) -> AuditCoverage {
    AuditCoverage {
        account_id: reach.account,
        region: reach.region,
        source: reach.source,
        read_until_time: reach.read_until.map(words::timestamp),
        complete: reach.is_done,
        trouble: reach.trouble,
    }
}

fn shown(event: Event) -> AuditEvent {
    let mut record = String::new();
    // What was stored whole is read whole; a damaged one is told without it.
    let _ = GzDecoder::new(event.raw.as_slice()).take(RECORD_BYTES_MAX).read_to_string(&mut record);
    AuditEvent {
        id: event.id,
        event_time: Some(words::timestamp(event.at)),
        account_id: event.account,
        region: event.region,
        service: event.service,
        name: event.name,
        read_only: event.is_read_only,
        error_code: event.error_code,
        source_address: event.address,
        user_agent: event.agent,
        resources: event.resources,
        session_name: event.session_name,
        role_id: event.role_id,
        access_key_id: event.access_key,
        session_create_time: Some(words::timestamp(event.session_created_at)),
        grant_ids: event.attribution.grants,
        ambiguity: ambiguity(event.attribution.ambiguity).into(),
        source: event.source,
        record,
    }
}

fn ambiguity(ambiguity: Option<Ambiguity>) -> v1::AuditAmbiguity {
    match ambiguity {
        None => v1::AuditAmbiguity::Unspecified,
        Some(Ambiguity::SeveralGrants) => v1::AuditAmbiguity::SeveralGrants,
        Some(Ambiguity::AccessWasThere) => v1::AuditAmbiguity::AccessWasThere,
        Some(Ambiguity::RoleUnknown) => v1::AuditAmbiguity::RoleUnknown,
        Some(Ambiguity::RoleReplaced) => v1::AuditAmbiguity::RoleReplaced,
        Some(Ambiguity::OutsideAccess) => v1::AuditAmbiguity::OutsideAccess,
    }
}
