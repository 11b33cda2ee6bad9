//! Reads a place by its source: from where the last reading ended, for whom, and when next.
//!
//! Sources tell some minutes after it happened. So each reading begins some minutes before the end of the one
//! before; once a day, and a day after nobody can do anything any more, one begins a day before the last such.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use super::{
    Auditor, Error, REMEMBERED,
    judge::Judge,
    note_problems,
    sources::{Reading, SOURCES},
    trouble,
};
use crate::{
    base::{backoff::Backoff, chain::Chain},
    model::failure::{Reason, ReasonCode},
    store::{
        self,
        audit_places::{self, Came, Leased},
        integrations::{self, Integration},
    },
};

/// How long a reader may work between two things that it stores.
pub(super) const LEASE: Duration = Duration::from_mins(5);
/// What has more to catch up with does not look back for what came late as well.
const BEHIND: TimeDelta = TimeDelta::hours(6);
/// After so long a reading leaves off, so that others have a turn.
pub(super) const TURN: Duration = Duration::from_mins(1);
/// From one reading of a place to the next.
pub(super) const EVERY: TimeDelta = TimeDelta::minutes(5);
/// Within this time CloudTrail delivers nearly everything.
pub(super) const DELIVERED_WITHIN: TimeDelta = TimeDelta::minutes(15);
/// What is delivered later is found by a reading that looks back so far: one in such a time.
const LATE: TimeDelta = TimeDelta::days(1);
/// After a reading that failed.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(10), max: Duration::from_mins(15) };

/// A reading that has stored something, or had nothing to store.
struct Read {
    /// From it to the next.
    every: TimeDelta,
    /// It looked back as far as anything may be late.
    is_swept: bool,
    /// What could not be understood.
    fault: Option<Reason>,
    /// After so long it was left off, or had too much before it to look back as well: it goes on at once.
    goes_on: Option<TimeDelta>,
}

/// Reads a place up to now.
pub(super) async fn read(auditor: &Auditor, place: &Leased) -> store::Result<()> {
    let reading = Box::pin(read_on(auditor, place)).await;
    let (came, trouble, next) = match reading {
        Ok(Some(read)) => {
            let is_swept = read.is_swept && read.goes_on.is_none();
            let next = match read.goes_on {
                // Whoever is free goes on, behind those that wait already.
                Some(after) => Some(place.now + after),
                None => next_reading(place, read.every),
            };
            (Came { is_read: true, is_swept, trouble: "" }, told(place, &read), next)
        }
        Ok(None) => (Came::default(), String::new(), again(place, EVERY)),
        Err(Error::Store(error)) => return Err(error),
        Err(error) => {
            let Leased { source, account, region, .. } = place;
            warn!(error = %Chain(&error), "{source} of {account} {region} cannot be read");
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
    let is_news = trouble != place.trouble || next.is_none();
    if is_news {
        // Before the place, as whoever changes the settings does.
        integrations::hold(&mut tx, &place.connector, place.integration).await?;
    }
    audit_places::end(&mut tx, place, next, Came { trouble: &trouble, ..came }).await?;
    if is_news {
        note_problems(&mut tx, &place.connector, place.integration).await?;
    }
    tx.commit().await
}

/// Why not all could be read. That a log file could not be is told until a reading looks back for what came late:
/// it is not read again.
fn told(place: &Leased, read: &Read) -> String {
    let of_file = |text: &&str| text.starts_with(ReasonCode::LogFileUnreadable.as_str());
    let before = Some(place.trouble.as_str())
        .filter(of_file)
        .filter(|_| !read.is_swept || read.goes_on.is_some());
    let now = read.fault.as_ref().map(trouble);
    now.or(before.map(str::to_owned)).unwrap_or_default()
}

/// When to read a place next that was read: while somebody can do something there, a last time for what
/// comes late, and then never.
fn next_reading(place: &Leased, every: TimeDelta) -> Option<DateTime<Utc>> {
    let Some(over_at) = place.over_at else { return Some(place.now + every) };
    let (soon, last) = (over_at + DELIVERED_WITHIN, over_at + LATE);
    if place.now < soon {
        Some(soon.min(place.now + every))
    } else {
        (place.now < last).then_some(last)
    }
}

/// When to try a place again that was not read; none: CloudTrail does not tell any more what was done there.
fn again(place: &Leased, wait: TimeDelta) -> Option<DateTime<Utc>> {
    let is_remembered = place.over_at.is_none_or(|at| place.now - at < REMEMBERED);
    is_remembered.then_some(place.now + wait)
}

/// Reads on from where the last reading ended; none: nobody wants to know.
async fn read_on(auditor: &Auditor, place: &Leased) -> Result<Option<Read>, Error> {
    let is_last = place.over_at.is_some_and(|at| at + LATE <= place.now);
    // One that is far behind catches up before it looks back.
    let is_behind = place.now - place.read_until > BEHIND;
    let is_due = is_last || place.now - place.swept_until >= LATE;
    let is_swept = is_due && !is_behind;
    let soon = place.read_until - DELIVERED_WITHIN;
    let from = if is_swept { soon.min(place.swept_until - LATE) } else { soon };
    let mut conn = auditor.db.conn().await?;
    let integration = integrations::get(&mut conn, &place.connector, place.integration).await?;
    let source = SOURCES.iter().find(|source| source.name() == place.source);
    let (Some(integration), Some(source)) = (integration, source) else { return Ok(None) };
    if !source.is_of(&integration.settings) {
        return Ok(None);
    }
    let since = kept(place, &integration);
    let from = from.max(since);
    // What is told from then on may have been done a while before.
    let candidates = audit_places::candidates(&mut conn, place, from - LATE).await?;
    drop(conn);
    let judge = Judge { account: place.account.clone(), candidates, since };
    let access = source.access(&auditor.aws, &integration, place);
    let reading = Reading {
        auditor,
        place,
        integration: &integration,
        access: &access,
        judge: Arc::new(judge),
        from,
        is_swept,
        fault: OnceLock::new(),
        began: Instant::now(),
    };
    let goes_on = match super::ask(&access, source.read(&reading)).await {
        Ok(()) => is_due && is_behind,
        Err(Error::LeftOff) => true,
        Err(error) => return Err(error),
    };
    let goes_on = goes_on.then(|| TimeDelta::from_std(reading.began.elapsed()).unwrap_or(EVERY));
    let every = source.every(&integration.settings);
    Ok(Some(Read { every, is_swept, fault: reading.fault.into_inner(), goes_on }))
}

/// What is older is not kept.
fn kept(place: &Leased, integration: &Integration) -> DateTime<Utc> {
    let kept = TimeDelta::from_std(integration.settings.audit_retention).unwrap_or(TimeDelta::MAX);
    place.now.checked_sub_signed(kept).unwrap_or(DateTime::UNIX_EPOCH)
}
