//! Leases groups and reads them, several at once, for as long as the process lives.
//!
//! Groups are leased in batches, some more than can be begun at once, so that a free slot
//! need not wait for the database.
//!
//! Invariant: a group is read only while its lease lasts. Heartbeats extend the leases
//! of groups that are leased or being read, and of no others: one whose reading failed
//! runs out, and is leased again by whoever comes first. When the database does not answer
//! in time, every write is refused by the fence, so nothing has to be called back; but
//! readers of groups that are not ours any more, as those of a cancelled sync, are stopped
//! so that AWS is not asked for nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};

use super::{Crawler, Error, group, known::Known, recorder::Recorder};
use crate::{
    base::{chain::Chain, clock, stopper::Stopper},
    model::{ids::ConnectorId, scope::Group, sync::SyncState},
    store::{self, Db, groups::Wish},
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
/// When a reader or the recorder panics; the process goes down with it, and its leases run out.
pub async fn run(crawler: Crawler, stopper: Stopper) -> Result<(), store::Error> {
    use SyncState::{Failed, Succeeded, SucceededWithProblems};
    for state in [Succeeded, SucceededWithProblems, Failed] {
        // What has not happened yet shows as nothing, so that the first time is an increase.
        metrics::counter!("connector_syncs_total", "state" => state.as_str()).increment(0);
    }
    let (recorder, recording) = Recorder::new(crawler.db.clone());
    let mut background = JoinSet::new();
    background.spawn(recording);
    let leased = Leased::default();
    background.spawn(beat(crawler.clone(), leased.clone()));
    let mut runner = Runner {
        slots: Arc::new(Semaphore::new(crawler.config.groups_at_once)),
        places: places(&crawler),
        waiting: VecDeque::new(),
        readers: JoinSet::new(),
        background,
        known: Known::default(),
        recorder,
        leased,
        shares: shares(&crawler),
        crawler,
    };
    runner.work(&stopper).await;
    tokio::select! {
        () = async { while runner.readers.join_next().await.is_some() {} } => {}
        () = stopper.leaving() => {}
    }
    Ok(())
}

struct Runner {
    crawler: Crawler,
    recorder: Recorder,
    known: Known,
    slots: Arc<Semaphore>,
    /// Of the slots, those that each connector may take.
    places: HashMap<ConnectorId, Arc<Semaphore>>,
    leased: Leased,
    /// The database, as the readers of each connector use it.
    shares: HashMap<ConnectorId, Db>,
    /// Leased, and not begun for want of a slot.
    waiting: VecDeque<Begun>,
    readers: JoinSet<()>,
    /// The recorder and the heart, which run for ever.
    background: JoinSet<()>,
}

impl Runner {
    async fn work(&mut self, stopper: &Stopper) {
        // Whether there may be more groups than were leased last time.
        let mut may_be_more = true;
        loop {
            while let Some(done) = self.readers.try_join_next() {
                done.expect("a reader does not panic");
            }
            if may_be_more && self.has_few() {
                may_be_more = match self.lease().await {
                    Ok(may_be_more) => may_be_more,
                    Err(error) => {
                        warn!(error = %Chain(&error), "failed to lease groups; trying again");
                        false
                    }
                };
            }
            tokio::select! {
                biased;
                () = stopper.stopping() => break,
                Some(ended) = self.background.join_next() => {
                    ended.expect("neither the recorder nor the heart panics");
                }
                // Also a free slot for which nothing is leased yet is a reason to look again.
                slot = Arc::clone(&self.slots).acquire_owned(),
                    if (may_be_more && self.has_few()) || self.next().is_some() =>
                {
                    if let (Some((at, place)), Ok(slot)) = (self.next(), slot)
                        && let Some(begun) = self.waiting.remove(at)
                    {
                        self.begin(begun, (slot, place));
                    }
                }
                () = self.crawler.groups.wait(self.crawler.config.poll) => may_be_more = true,
            }
        }
        let unbegun: Vec<Group> = self.waiting.drain(..).map(|begun| begun.group.clone()).collect();
        let released = async {
            let mut conn = self.crawler.db.conn().await?;
            store::groups::release(&mut conn, &unbegun).await
        };
        if let Err(error) = released.await {
            warn!(error = %Chain(&error), "failed to give leases back; they run out");
        }
    }

    /// Leases as many groups as there are slots for, and some more. Whether there may be
    /// others: not when none came, until one of ours ends or some are planned.
    async fn lease(&mut self) -> store::Result<bool> {
        let config = &self.crawler.config;
        let ahead = config.groups_at_once.div_ceil(2);
        let limit =
            group::count(self.slots.available_permits() + ahead - self.waiting.len().min(ahead));
        let held = self.leased.by_connector();
        let held: Vec<(ConnectorId, i64)> = self
            .crawler
            .connectors
            .iter()
            .map(|connector| (connector.clone(), held.get(connector).copied().unwrap_or_default()))
            .collect();
        let wish = Wish {
            owner: self.crawler.replica,
            held: &held,
            limit,
            limit_per_connector: group::count(
                config.groups_at_once_per_connector
                    + config.groups_at_once_per_connector.div_ceil(2),
            ),
            length: config.lease,
        };
        let mut conn = self.crawler.db.conn().await?;
        let groups = store::groups::lease(&mut conn, wish).await?;
        drop(conn);
        metrics::counter!("connector_groups_leased_total").increment(groups.len() as u64);
        let may_be_more = !groups.is_empty();
        self.waiting.extend(groups.into_iter().map(|group| self.leased.begin(group)));
        Ok(may_be_more)
    }

    /// Whether so few groups wait that more should be leased.
    fn has_few(&self) -> bool {
        self.waiting.len() * 4 < self.crawler.config.groups_at_once
    }

    /// The first group that waits and whose connector has a place left, with that place.
    fn next(&self) -> Option<(usize, OwnedSemaphorePermit)> {
        self.waiting.iter().enumerate().find_map(|(at, begun)| {
            let places = self.places.get(&begun.group.connector)?;
            Some((at, Arc::clone(places).try_acquire_owned().ok()?))
        })
    }

    fn begin(&mut self, begun: Begun, slot: (OwnedSemaphorePermit, OwnedSemaphorePermit)) {
        let span = info_span!("group", sync.id = %begun.group.sync, place = %begun.group.place);
        let mut crawler = self.crawler.clone();
        if let Some(share) = self.shares.get(&begun.group.connector) {
            crawler.db = share.clone();
        }
        let (recorder, known) = (self.recorder.clone(), self.known.clone());
        let reading = async move {
            let place = begun.group.place.clone();
            let lost = begun.lost.clone();
            let read = async {
                let batch = group::read(&crawler, &recorder, &known, &begun.group).await?;
                // There is room for the batch, so the next group may be read.
                let written = recorder.hand_in(batch, Some(begun)).await;
                drop(slot);
                crawler.groups.poke();
                let written = written.await.unwrap_or(Err(store::Error::Fenced));
                // Its lease counts no more, so another group may be leased.
                crawler.groups.poke();
                Ok(written?)
            };
            let read = tokio::select! {
                read = read => read,
                () = lost.cancelled() => Err(Error::Store(store::Error::Fenced)),
            };
            match read {
                Ok(()) => {}
                Err(Error::Store(store::Error::Fenced)) => warn!(
                    "the lease of {place} was lost; another replica reads it, or the sync was cancelled"
                ),
                Err(error) => warn!(
                    error = %Chain(&error),
                    "failed to read {place}; it is read again when its lease has run out"
                ),
            }
        };
        self.readers.spawn(reading.instrument(span));
    }
}

fn places(crawler: &Crawler) -> HashMap<ConnectorId, Arc<Semaphore>> {
    let places = || Arc::new(Semaphore::new(crawler.config.groups_at_once_per_connector));
    crawler.connectors.iter().map(|connector| (connector.clone(), places())).collect()
}

fn shares(crawler: &Crawler) -> HashMap<ConnectorId, Db> {
    let connections = crawler.config.connections_per_connector;
    let share = |connector: &ConnectorId| (connector.clone(), crawler.db.share(connections));
    crawler.connectors.iter().map(share).collect()
}

/// The groups whose leases this process holds. Clones share the list.
#[derive(Clone, Debug, Default)]
struct Leased(Arc<Mutex<HashMap<u64, Lease>>>);

#[derive(Clone, Debug)]
struct Lease {
    group: Group,
    lost: CancellationToken,
}

impl Leased {
    /// Notes a group until the answer is dropped.
    fn begin(&self, group: Group) -> Begun {
        let lost = CancellationToken::new();
        let mut leases = self.lock();
        let number = leases.keys().max().map_or(0, |last| last + 1);
        leases.insert(number, Lease { group: group.clone(), lost: lost.clone() });
        metrics::gauge!("connector_groups_held").set(count(leases.len()));
        Begun { leased: self.clone(), number, group, lost }
    }

    fn all(&self) -> Vec<Lease> {
        self.lock().values().cloned().collect()
    }

    fn by_connector(&self) -> HashMap<ConnectorId, i64> {
        let mut held = HashMap::new();
        for lease in self.lock().values() {
            *held.entry(lease.group.connector.clone()).or_default() += 1;
        }
        held
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn count(number: usize) -> f64 {
    number as f64
}

/// A group that is leased: its lease is extended until this is dropped.
#[derive(Debug)]
pub(super) struct Begun {
    leased: Leased,
    number: u64,
    group: Group,
    /// The lease is not ours any more.
    lost: CancellationToken,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut leases = self.leased.lock();
        leases.remove(&self.number);
        metrics::gauge!("connector_groups_held").set(count(leases.len()));
    }
}

async fn beat(crawler: Crawler, leased: Leased) {
    loop {
        clock::sleep(crawler.config.heartbeat).await;
        let leases = leased.all();
        if leases.is_empty() {
            continue;
        }
        let groups: Vec<Group> = leases.iter().map(|lease| lease.group.clone()).collect();
        let beaten = async {
            let mut conn = crawler.db.conn().await?;
            store::groups::heartbeat(&mut conn, &groups, crawler.config.lease).await
        };
        match tokio::time::timeout(crawler.config.lease / 3, beaten).await {
            Ok(Ok(lost)) => {
                metrics::counter!("connector_leases_lost_total").increment(lost.len() as u64);
                for at in lost {
                    leases[at].lost.cancel();
                }
            }
            Ok(Err(error)) => {
                warn!(error = %Chain(&error), "failed to extend leases; trying again");
            }
            Err(_) => warn!("the database did not extend leases in time; trying again"),
        }
    }
}
