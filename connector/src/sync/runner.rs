//! Leases groups and reads them, several at once, for as long as the process lives.
//!
//! Invariant: a group is read only while its lease lasts. Heartbeats extend the leases
//! of this replica as long as the database answers; when it does not answer in time,
//! every write is refused by the fence, so nothing has to be called back.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};
use tracing::{Instrument as _, info_span, warn};

use super::{Crawler, Error, group};
use crate::{
    base::{chain::Chain, stopper::Stopper},
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
    let mut readers = JoinSet::new();
    let heart = tokio::spawn(beat(crawler.clone()));
    while !stopper.is_stopping() {
        match lease(&crawler, &slots).await {
            Ok(groups) if !groups.is_empty() => {
                for group in groups {
                    let crawler = crawler.clone();
                    let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                        break;
                    };
                    let span = info_span!("group", sync.id = %group.sync, place = %group.place);
                    readers.spawn(
                        async move {
                            read(&crawler, &group).await;
                            // A free slot, and maybe new groups: look again.
                            drop(slot);
                            crawler.groups.poke();
                        }
                        .instrument(span),
                    );
                }
                continue;
            }
            Ok(_) => {}
            Err(error) => warn!(error = %Chain(&error), "failed to lease groups; trying again"),
        }
        while let Some(done) = readers.try_join_next() {
            done.expect("a reader does not panic");
        }
        tokio::select! {
            () = crawler.groups.wait(crawler.config.poll) => {}
            () = stopper.stopping() => {}
        }
    }
    tokio::select! {
        () = async { while readers.join_next().await.is_some() {} } => {}
        () = stopper.leaving() => readers.abort_all(),
    }
    heart.abort();
    Ok(())
}

async fn lease(crawler: &Crawler, slots: &Semaphore) -> Result<Vec<Group>, store::Error> {
    let free = i64::try_from(slots.available_permits()).unwrap_or_default();
    if free == 0 {
        return Ok(Vec::new());
    }
    let mut conn = crawler.db.conn().await?;
    store::groups::lease(&mut conn, crawler.replica, crawler.config.lease, free).await
}

async fn beat(crawler: Crawler) {
    loop {
        crate::base::clock::sleep(crawler.config.heartbeat).await;
        let beaten = async {
            let mut conn = crawler.db.conn().await?;
            store::groups::heartbeat(&mut conn, crawler.replica, crawler.config.lease).await
        };
        if let Err(error) = beaten.await {
            warn!(error = %Chain(&error), "failed to extend leases; they run out unless the next try succeeds");
        }
    }
}

async fn read(crawler: &Crawler, leased: &Group) {
    match group::read(crawler, leased).await {
        Ok(()) => {}
        Err(Error::Store(store::Error::Fenced)) => {
            warn!(
                "the lease of {} was lost; another replica reads it, or the sync was cancelled",
                leased.place
            );
        }
        Err(error) => {
            warn!(error = %Chain(&error), "failed to read {}; it will be read again", leased.place);
        }
    }
}
