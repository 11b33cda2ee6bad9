//! Where it is told what was done, one file a source. The engine that leases the places in which a source is read,
//! finds out whose each call was, and stores it stands in [`super::places`], and knows no source by name.
//!
//! To add one: a file here, and a word in [`SOURCES`].

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Auditor, Error,
    judge::Judge,
    places::{EVERY, LEASE, TURN},
};
use crate::{
    aws::{Access, Aws},
    model::{failure::Reason, integration::Settings},
    store::{
        audit_events::New,
        audit_places::{self, Leased},
        integrations::Integration,
    },
};

mod history;
pub(super) mod trail;

pub(super) use history::LOOKUP_EVENTS;
pub use trail::{GET_OBJECT, LIST_BUCKET, NAME as TRAIL};

/// Every source.
pub(super) static SOURCES: &[&dyn Source] = &[&history::EventHistory, &trail::OrganizationTrail];

/// What tells of what was done.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// How it is told of, in rows and in the API.
    fn name(&self) -> &'static str;

    /// Whether it tells of sessions of one name at a time; else of all in an account.
    fn is_by_name(&self) -> bool;

    /// Whether an integration with these settings has it.
    fn is_of(&self, settings: &Settings) -> bool;

    /// From one reading of a place to the next.
    fn every(&self, _settings: &Settings) -> TimeDelta {
        EVERY
    }

    /// The reach by which a place is read.
    fn access(&self, aws: &Aws, integration: &Integration, place: &Leased) -> Access;

    /// Stores what was told from a time on, up to now, and how far that came.
    async fn read(&self, reading: &Reading<'_>) -> Result<(), Error>;
}

/// A reading of a place.
pub(super) struct Reading<'a> {
    pub(super) auditor: &'a Auditor,
    pub(super) place: &'a Leased,
    pub(super) integration: &'a Integration,
    pub(super) access: &'a Access,
    /// Tells whose each call was.
    pub(super) judge: Arc<Judge>,
    /// Where it begins.
    pub(super) from: DateTime<Utc>,
    /// Whether it looks back as far as anything may be late.
    pub(super) is_swept: bool,
    /// What could not be understood first, if anything.
    pub(super) fault: OnceLock<Reason>,
    /// When it began.
    pub(super) began: Instant,
}

impl Reading<'_> {
    /// Stores what was done.
    pub(super) async fn store(&self, new: &[New]) -> Result<(), Error> {
        self.note(new, self.place.read_until).await?;
        if self.auditor.stopper.is_stopping() { Err(Error::LeftOff) } else { Ok(()) }
    }

    /// Notes that all is stored that was told before a time. Leaves off when it has taken long, so that others
    /// have a turn: it goes on from there.
    pub(super) async fn come_to(&self, time: DateTime<Utc>) -> Result<(), Error> {
        self.note(&[], time).await?;
        let is_further = time > self.place.read_until && time < self.place.now;
        let is_long = self.began.elapsed() > TURN && is_further;
        if is_long || self.auditor.stopper.is_stopping() { Err(Error::LeftOff) } else { Ok(()) }
    }

    async fn note(&self, new: &[New], read_until: DateTime<Utc>) -> Result<(), Error> {
        let mut tx = self.auditor.db.begin().await?;
        audit_places::store(&mut tx, self.place, new, read_until, LEASE).await?;
        Ok(tx.commit().await?)
    }
}
