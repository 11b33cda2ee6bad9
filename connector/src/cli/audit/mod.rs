//! What was done with access that was given.

use std::collections::BTreeMap;

use anyhow::ensure;
use apono_connector_proto::v1::{
    AuditAmbiguity, AuditCoverage, AuditEvent, GetAuditSummaryRequest, GetAuditSummaryResponse,
    ListAuditEventsRequest, ListAuditEventsResponse, VerifyActsRequest,
    audit_service_client::AuditServiceClient,
};
use chrono::{DateTime, FixedOffset, Utc};
use prost_types::Timestamp;

use super::{
    connect::{Client, Way},
    output::{Format, print_table, say, time, word},
};

mod export;

use export::Export;

type Api = AuditServiceClient<Way>;

/// Lines of each part of a summary for people.
const LINES_MAX: usize = 8;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Audit {
    /// Tells what a grant was used for, on one screen: first what failed.
    Show {
        /// Id of the grant.
        grant: String,
        /// Reads CloudTrail now, and waits for that; else it is told what was read within the last minutes.
        #[arg(long)]
        refresh: bool,
    },
    /// Lists what was done with a grant, the newest first.
    List(List),
    /// Writes all that was done with a grant for other tools, the newest first.
    Export(Export),
    /// Tells whether what was asked of the connector and what it did (`grants acts`) is as it was noted. Exit
    /// code 1: it is not.
    Verify {
        /// A head that an earlier run has printed, and that was kept where nobody who can write the database
        /// can: it must be in the chain.
        #[arg(long, default_value = "")]
        head: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Id of the grant.
    grant: String,
    /// Only in this account.
    #[arg(long, value_name = "ID", default_value = "")]
    account: String,
    /// Only calls that failed.
    #[arg(long)]
    failed: bool,
    /// Only those of which it is not certain that they were made with the grant.
    #[arg(long)]
    ambiguous: bool,
    /// Only at this time or later, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = DateTime::parse_from_rfc3339)]
    since: Option<DateTime<FixedOffset>>,
    /// Only before this time.
    #[arg(long, value_name = "TIME", value_parser = DateTime::parse_from_rfc3339)]
    until: Option<DateTime<FixedOffset>>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

impl Audit {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Show { grant, refresh } => show(client, grant, refresh).await,
            Self::List(list) => list.run(client).await,
            Self::Export(export) => export.run(client).await,
            Self::Verify { head } => verify(client, head).await,
        }
    }
}

async fn verify(client: &Client, head: String) -> anyhow::Result<()> {
    let mut api = Api::new(client.way.clone());
    let request = VerifyActsRequest { connector_id: client.connector_id.clone(), head };
    let answer = api.verify_acts(request).await?.into_inner();
    if client.format == Format::Json {
        client.print(&answer, &[], [])?;
    } else {
        let (acts, seals) = (answer.acts, answer.seals);
        say!("{acts} acts under {seals} seals are as they were noted; head {}", answer.head);
        if answer.erased_acts > 0 {
            say!("the details of {} were erased with a person", answer.erased_acts);
        }
        if answer.unsealed_acts > 0 {
            say!("{} newer ones are under none yet", answer.unsealed_acts);
        }
    }
    ensure!(answer.broken.is_empty(), "the acts are not as they were noted: {}", answer.broken);
    Ok(())
}

async fn show(client: &Client, grant_id: String, refresh: bool) -> anyhow::Result<()> {
    let mut api = Api::new(client.way.clone());
    let connector_id = client.connector_id.clone();
    let request = GetAuditSummaryRequest { connector_id, grant_id, refresh };
    let answer = api.get_audit_summary(request).await?.into_inner();
    match client.format {
        Format::Json => client.print(&answer, &[], []),
        Format::Table => {
            print(&answer);
            Ok(())
        }
    }
}

fn print(answer: &GetAuditSummaryResponse) {
    let failed = answer.failed_calls;
    match answer.calls {
        0 => say!("no use of {} is known", answer.grant_id),
        calls => say!(
            "{}: {calls} calls, {failed} failed, {} to {}",
            answer.grant_id,
            time(answer.first_time.as_ref()),
            time(answer.last_time.as_ref())
        ),
    }
    let calls = answer.by_call.iter().map(|call| {
        let access = if call.read_only { "read" } else { "write" };
        vec![
            called(&call.service, &call.name),
            access.to_owned(),
            outcome(&call.error_code),
            call.count.to_string(),
            time(call.last_time.as_ref()),
        ]
    });
    part(&["call", "access", "outcome", "times", "last"], calls.collect());
    let sessions = answer.sessions.iter().map(|session| {
        vec![
            format!("{} in {}", session.name, session.account_id),
            time(session.create_time.as_ref()),
            session.calls.to_string(),
            session.source_addresses.join(", "),
            session.user_agents.join(", "),
        ]
    });
    part(&["session", "began", "calls", "from", "with"], sessions.collect());
    let resources = answer.resources.iter().map(|one| vec![one.arn.clone(), one.count.to_string()]);
    part(&["resource", "times"], resources.collect());
    for doubt in &answer.doubts {
        say!("\nnot certain of {} calls: {}", doubt.calls, doubt.reason);
    }
    let coverage = covered(&answer.coverage);
    part(&["looked for in", "by", "regions", "known until"], coverage);
    if !answer.blind_spots.is_empty() {
        say!("");
    }
    answer.blind_spots.iter().for_each(|one| say!("- {one}"));
}

/// A part of the summary, if there is anything in it, and how much more there is.
fn part(headings: &[&str], mut rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    say!("");
    let more = rows.len().saturating_sub(LINES_MAX);
    rows.truncate(LINES_MAX);
    print_table(headings, rows);
    if more > 0 {
        say!("and {more} more: see --output json");
    }
}

/// Where the use is looked for: a line for each account and source, and for each trouble.
fn covered(coverage: &[AuditCoverage]) -> Vec<Vec<String>> {
    let mut folded: BTreeMap<(&str, &str, &str), Vec<&AuditCoverage>> = BTreeMap::new();
    for one in coverage {
        let key = (one.account_id.as_str(), one.source.as_str(), one.trouble.as_str());
        folded.entry(key).or_default().push(one);
    }
    let rows = folded.into_iter().map(|((account, source, trouble), places)| {
        // All is known until the time until which the least is.
        let until = places.iter().map(|one| one.read_until_time.as_ref());
        let until = time(until.min_by_key(|time| time.map_or(0, |time| time.seconds)).flatten());
        let known = match trouble {
            "" if places.iter().all(|one| one.complete) => "complete".to_owned(),
            "" => until,
            trouble => format!("{until}: {trouble}"),
        };
        let regions: Vec<&str> = places.iter().map(|one| one.region.as_str()).collect();
        let regions = match regions.as_slice() {
            [""] => "none yet".to_owned(),
            few if few.len() <= 3 => few.join(", "),
            many => many.len().to_string(),
        };
        vec![account.to_owned(), source.to_owned(), regions, known]
    });
    rows.collect()
}

/// `s3 ListBuckets`.
fn called(service: &str, name: &str) -> String {
    format!("{} {name}", service.trim_end_matches(".amazonaws.com"))
}

fn outcome(error_code: &str) -> String {
    if error_code.is_empty() { "ok".to_owned() } else { error_code.to_owned() }
}

impl List {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = Api::new(client.way.clone());
        let timestamp = |time: DateTime<FixedOffset>| {
            let time = time.with_timezone(&Utc);
            let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
            Timestamp { seconds: time.timestamp(), nanos }
        };
        let mut request = ListAuditEventsRequest {
            connector_id: client.connector_id.clone(),
            grant_id: self.grant,
            account_id: self.account,
            failed_only: self.failed,
            ambiguous_only: self.ambiguous,
            since_time: self.since.map(timestamp),
            until_time: self.until.map(timestamp),
            page_size: i32::try_from(self.limit.clamp(1, 500)).unwrap_or_default(),
            page_token: String::new(),
        };
        let mut answer = ListAuditEventsResponse::default();
        let is_cut = loop {
            let page = api.list_audit_events(request.clone()).await?.into_inner();
            answer.events.extend(page.events);
            if page.next_page_token.is_empty() || answer.events.len() >= self.limit {
                break !page.next_page_token.is_empty() || answer.events.len() > self.limit;
            }
            request.page_token = page.next_page_token;
        };
        answer.events.truncate(self.limit);
        let rows = answer.events.iter().map(row);
        let headings = ["time", "account", "region", "call", "outcome", "on", "from", "certain"];
        client.print(&answer, &headings, rows)?;
        if is_cut {
            eprintln!("there are more; raise --limit or narrow the conditions");
        }
        Ok(())
    }
}

fn row(event: &AuditEvent) -> Vec<String> {
    vec![
        time(event.event_time.as_ref()),
        event.account_id.clone(),
        event.region.clone(),
        called(&event.service, &event.name),
        outcome(&event.error_code),
        event.resources.join(", "),
        event.source_address.clone(),
        certain(event),
    ]
}

/// Whether it is certain whose it was; else why not.
fn certain(event: &AuditEvent) -> String {
    let doubt = event.ambiguity();
    let is_certain = doubt == AuditAmbiguity::Unspecified;
    word(if is_certain { "yes" } else { doubt.as_str_name() }, "AUDIT_AMBIGUITY_")
}
