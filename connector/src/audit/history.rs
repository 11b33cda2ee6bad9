//! CloudTrail's event history, by `LookupEvents`: management events of an account and region of the last 90
//! days, by one attribute. What it does not have: data events, such as reads of S3 objects.
//!
//! It tells events some minutes after they happened, in no order. So each reading begins some minutes before
//! the end of the one before; once a day, and a day after nobody can do anything any more, one begins a day
//! before the last such. Source: the API reference of CloudTrail (`LookupEvents`), which also says that it
//! takes two calls a second in an account and region.

use std::{io::Write as _, time::Duration};

use aws_sdk_cloudtrail::types::{Event, LookupAttribute, LookupAttributeKey};
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, TimeDelta, Utc};
use flate2::{Compression, write::GzEncoder};
use tracing::warn;

use super::{Auditor, Error, REMEMBERED, note_problems, trouble};
use crate::{
    aws::{Access, ApiError},
    base::{backoff::Backoff, chain::Chain},
    catalog::reach,
    model::{
        attribution::{Candidate, attribute},
        failure::{Lane, Reason, ReasonCode},
        record::Record,
    },
    store::{
        self,
        audit_events::New,
        audit_places::{self, Came, Leased},
        integrations,
    },
};

pub(super) const LOOKUP_EVENTS: &str = "cloudtrail:LookupEvents";

/// How long a reader may work between two things that it stores.
pub(super) const LEASE: Duration = Duration::from_mins(5);
/// From one reading of a place to the next.
const EVERY: TimeDelta = TimeDelta::minutes(5);
/// Within this time CloudTrail delivers nearly everything.
const DELIVERED_WITHIN: TimeDelta = TimeDelta::minutes(15);
/// What is delivered later is found by a reading that looks back so far: one in such a time.
const LATE: TimeDelta = TimeDelta::days(1);
/// What is read before it is noted how far.
const WINDOW: TimeDelta = TimeDelta::hours(6);
/// The most that a page holds.
const PAGE_ITEMS: i32 = 50;
/// The longest record that is taken; CloudTrail writes none that is longer.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// After a reading that failed.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(10), max: Duration::from_mins(15) };

/// How it is told of, in rows and in the API.
pub const SOURCE: &str = "cloudtrail-event-history";

/// Reads a place up to now.
pub(super) async fn read(auditor: &Auditor, place: &Leased) -> store::Result<()> {
    let reading = Box::pin(read_on(auditor, place)).await;
    let (came, trouble, next) = match reading {
        Ok(Some(read)) => {
            let came = Came { is_read: true, is_swept: read.is_swept, trouble: "" };
            let words = || trouble(&Reason::new(ReasonCode::UnreadableAnswer, LOOKUP_EVENTS, ""));
            let trouble = if read.malformed > 0 { words() } else { String::new() };
            (came, trouble, next_reading(place))
        }
        Ok(None) => (Came::default(), String::new(), again(place, EVERY)),
        // Another daemon goes on at once.
        Err(Error::Stopping) => (Came::default(), String::new(), Some(place.now)),
        Err(Error::Store(error)) => return Err(error),
        Err(error) => {
            let Leased { account, region, .. } = place;
            warn!(error = %Chain(&error), "session audit of {account} {region} cannot be read");
            let wait = AFTER_FAILURE.after(place.failures.saturating_add(1));
            let wait = TimeDelta::from_std(wait).unwrap_or(EVERY);
            (Came::default(), error.trouble().unwrap_or_default(), again(place, wait))
        }
    };
    let trouble = match next {
        None if !came.is_read && trouble.is_empty() => ReasonCode::NotCovered.to_string(),
        _ => trouble,
    };
    let mut tx = auditor.db.begin().await?;
    audit_places::end(&mut tx, place, next, Came { trouble: &trouble, ..came }).await?;
    if place.failures > 0 || !trouble.is_empty() {
        note_problems(&mut tx, &place.connector, place.integration).await?;
    }
    tx.commit().await
}

/// When to read a place next that was read: while somebody can do something there, a last time for what
/// comes late, and then never.
fn next_reading(place: &Leased) -> Option<DateTime<Utc>> {
    let Some(over_at) = place.over_at else { return Some(place.now + EVERY) };
    let (soon, last) = (over_at + DELIVERED_WITHIN, over_at + LATE);
    if place.now < soon {
        Some(soon.min(place.now + EVERY))
    } else {
        (place.now < last).then_some(last)
    }
}

/// When to try a place again that was not read; none: CloudTrail does not tell any more what was done there.
fn again(place: &Leased, wait: TimeDelta) -> Option<DateTime<Utc>> {
    let is_remembered = place.over_at.is_none_or(|at| place.now - at < REMEMBERED);
    is_remembered.then_some(place.now + wait)
}

/// A reading that came to its end.
struct Read {
    /// It looked back as far as anything may be late.
    is_swept: bool,
    /// Records that could not be understood.
    malformed: usize,
}

/// Reads on from where the last reading ended; none: nobody wants to know.
async fn read_on(auditor: &Auditor, place: &Leased) -> Result<Option<Read>, Error> {
    let is_last = place.over_at.is_some_and(|at| at + LATE <= place.now);
    let is_swept = is_last || place.now - place.swept_until >= LATE;
    let soon = place.read_until - DELIVERED_WITHIN;
    let mut from = if is_swept { soon.min(place.swept_until - LATE) } else { soon };
    let mut conn = auditor.db.conn().await?;
    let integration = integrations::get(&mut conn, &place.connector, place.integration).await?;
    let Some(integration) = integration.filter(|one| one.settings.audit_enabled) else {
        return Ok(None);
    };
    let candidates = audit_places::candidates(&mut conn, place, from).await?;
    drop(conn);
    let (account, region) = (Some(&place.account), Some(&place.region));
    let access = reach::access(&auditor.aws, &integration, account, region, Lane::Audit);
    let kept = TimeDelta::from_std(integration.settings.audit_retention).unwrap_or(TimeDelta::MAX);
    let since = place.now.checked_sub_signed(kept).unwrap_or(DateTime::UNIX_EPOCH);
    let reading = Reading { auditor, place, access: &access, candidates: &candidates, since };
    let asking = async {
        let mut malformed = 0;
        while from < place.now {
            let until = (from + WINDOW).min(place.now);
            malformed += reading.window(from, until).await?;
            from = until;
        }
        Ok(Some(Read { is_swept, malformed }))
    };
    super::ask(&access, asking).await
}

struct Reading<'a> {
    auditor: &'a Auditor,
    place: &'a Leased,
    access: &'a Access,
    candidates: &'a [Candidate],
    /// What is older is not kept.
    since: DateTime<Utc>,
}

impl Reading<'_> {
    /// Stores what was done between two times. How many records could not be understood.
    async fn window(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Result<usize, Error> {
        let by_name = LookupAttribute::builder()
            .attribute_key(LookupAttributeKey::Username)
            .attribute_value(&self.place.session_name)
            .build()
            .map_err(|error| ApiError::answered(LOOKUP_EVENTS, "", &error.to_string(), 400))?;
        let mut pages = self
            .access
            .cloudtrail()
            .lookup_events()
            .lookup_attributes(by_name)
            .start_time(SdkTime::from_secs(from.timestamp()))
            .end_time(SdkTime::from_secs(until.timestamp() + 1))
            .max_results(PAGE_ITEMS)
            .into_paginator()
            .send();
        let mut malformed = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| ApiError::of(LOOKUP_EVENTS, &error))?;
            let mut new = Vec::new();
            for event in page.events() {
                match self.understood(event) {
                    Ok(Some(event)) => new.push(event),
                    Ok(None) => {}
                    Err(words) => {
                        warn!(error = words, "a record of CloudTrail is passed over");
                        malformed += 1;
                    }
                }
            }
            self.store(&new, self.place.read_until).await?;
            if self.auditor.stopper.is_stopping() {
                return Err(Error::Stopping);
            }
        }
        self.store(&[], until).await?;
        Ok(malformed)
    }

    async fn store(&self, new: &[New], read_until: DateTime<Utc>) -> store::Result<()> {
        let mut tx = self.auditor.db.begin().await?;
        audit_places::store(&mut tx, self.place, SOURCE, new, read_until, LEASE).await?;
        tx.commit().await
    }

    /// What was done, and with whose access; none: with nobody's that we gave.
    fn understood(&self, event: &Event) -> Result<Option<New>, String> {
        let text = event.cloud_trail_event().unwrap_or_default();
        if text.len() > RECORD_BYTES_MAX {
            return Err(format!("it has {} bytes", text.len()));
        }
        let Some(record) = Record::parse(text).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let Record { session, .. } = &record;
        let is_here = record.at >= self.since
            && session.account == self.place.account.as_str()
            && session.name == self.place.session_name;
        let Some(attribution) = attribute(&record, self.candidates).filter(|_| is_here) else {
            return Ok(None);
        };
        let raw = compressed(text).map_err(|error| error.to_string())?;
        Ok(Some(New { record, attribution, raw }))
    }
}

fn compressed(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}
