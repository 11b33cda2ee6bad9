//! Leases groups and reads them, several at once, for as long as the process lives.
//!
//! Invariant: a group is read only while its lease lasts. Heartbeats extend the leases
//! of groups that are being read, and of no others: one whose reading failed runs out,
//! and is leased again by whoever comes first. When the database does not answer in
//! time, every write is refused by the fence, so nothing has to be called back.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{sync::Semaphore, task::JoinSet};
use tracing::{Instrument as _, info_span, warn};

use super::{Crawler, Error, group};
use crate::{
    base::{chain::Chain, clock, stopper::Stopper},
    model::scope::Group,
    store,
};

/// Runs until it is asked to stop; then finishes what is being read, or leaves it when
/// asked again.
///
/// # Errors
///
/// Never by itself: what fails is tried again at the next wake-up.
///
/// # Panics
///
/// When a reader panics; the process goes down with it, and its leases run out.
pub async fn run(crawler: Crawler, stopper: Stopper) -> Result<(), store::Error> {
    let slots = Arc::new(Semaphore::new(crawler.config.groups_at_once));
    let reading = Reading::default();
    let mut readers = JoinSet::new();
    let mut heart = JoinSet::new();
    heart.spawn(beat(crawler.clone(), reading.clone()));
    while !stopper.is_stopping() {
        let leased = lease(&crawler, &slots).await.unwrap_or_else(|error| {
            warn!(error = %Chain(&error), "failed to lease groups; trying again");
            Vec::new()
        });
        let is_busy = !leased.is_empty();
        for group in leased {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            let (crawler, begun) = (crawler.clone(), reading.begin(&group));
            let span = info_span!("group", sync.id = %group.sync, place = %group.place);
            let reader = async move {
                read(&crawler, &group).await;
                // A free slot, and maybe new groups: look again.
                drop((slot, begun));
                crawler.groups.poke();
            };
            readers.spawn(reader.instrument(span));
        }
        while let Some(done) = readers.try_join_next() {
            done.expect("a reader does not panic");
        }
        if !is_busy {
            tokio::select! {
                () = crawler.groups.wait(crawler.config.poll) => {}
                () = stopper.stopping() => {}
            }
        }
    }
    tokio::select! {
        () = async { while readers.join_next().await.is_some() {} } => {}
        () = stopper.leaving() => {}
    }
    Ok(())
}

/// The groups that this process reads right now. Clones share the list.
#[derive(Clone, Default)]
struct Reading(Arc<Mutex<Vec<Group>>>);

impl Reading {
    /// Notes a group until the answer is dropped.
    fn begin(&self, group: &Group) -> Begun {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(group.clone());
        Begun { reading: self.clone(), group: group.clone() }
    }

    fn all(&self) -> Vec<Group> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A group that is being read.
struct Begun {
    reading: Reading,
    group: Group,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut reading = self.reading.0.lock().unwrap_or_else(PoisonError::into_inner);
        reading.retain(|group| group != &self.group);
    }
}

async fn lease(crawler: &Crawler, slots: &Semaphore) -> Result<Vec<Group>, store::Error> {
    let free = i64::try_from(slots.available_permits()).unwrap_or_default();
    if free == 0 {
        return Ok(Vec::new());
    }
    let mut conn = crawler.db.conn().await?;
    let (owner, length) = (crawler.replica, crawler.config.lease);
    store::groups::lease(&mut conn, &crawler.connectors, owner, length, free).await
}

async fn beat(crawler: Crawler, reading: Reading) {
    loop {
        clock::sleep(crawler.config.heartbeat).await;
        let groups = reading.all();
        if groups.is_empty() {
            continue;
        }
        let beaten = async {
            let mut conn = crawler.db.conn().await?;
            store::groups::heartbeat(&mut conn, &groups, crawler.config.lease).await
        };
        match tokio::time::timeout(crawler.config.lease / 3, beaten).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                warn!(error = %Chain(&error), "failed to extend leases; trying again");
            }
            Err(_) => warn!("the database did not extend leases in time; trying again"),
        }
    }
}

async fn read(crawler: &Crawler, leased: &Group) {
    let place = &leased.place;
    match group::read(crawler, leased).await {
        Ok(()) => {}
        Err(Error::Store(store::Error::Fenced)) => {
            warn!(
                "the lease of {place} was lost; another replica reads it, or the sync was cancelled"
            );
        }
        Err(error) => {
            warn!(error = %Chain(&error), "failed to read {place}; it is read again when its lease has run out");
        }
    }
}
