//! Writes what readers have found: the batches of many groups in one transaction.
//!
//! A crawl of thousands of accounts ends thousands of groups a minute, each with little to
//! say. Readers hand their batches in here; what has gathered while one transaction ran
//! goes into the next, one transaction for each sync. A reader that has handed in its last
//! batch is free, so AWS is read while PostgreSQL writes; but it hands in only as much as
//! there is room for, so a slow PostgreSQL slows the reading down.
//!
//! Invariant: a transaction first locks the rows of its groups and compares the fences.
//! Batches of a group that is not ours any more are dropped, the others are written.
//!
//! Invariant: whoever ends the last group of a sync ends the sync, in the same
//! transaction. Locks are taken in one order everywhere: groups, feed, resources, scopes,
//! Identity Center, sync, integration; who removes something locks the sync behind the feed
//! already.
//!
//! Crash safety: a batch is written whole or not at all; one that was not is read again by
//! whoever leases its group next.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::warn;

use super::{finish, runner::Begun};
use crate::{
    base::chain::Chain,
    model::{
        failure::{Reason, ReasonCode},
        ids::{AccountId, IntegrationId, Region, SyncId},
        scope::Group,
    },
    store::{self, Db, inventory::Reading, scopes::Ended, syncs::Counts},
};

/// Batches that one transaction takes.
const BATCHES_MAX: usize = 256;
/// Memory that batches may take until they are written.
const BYTES_MAX: usize = 48 * 1024 * 1024;
/// What a batch takes beside its resources.
const BATCH_BYTES: usize = 1024;

/// What a reader has found in a group since its last batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// The group.
    pub(super) group: Group,
    /// Resources that are new or have changed.
    pub(super) readings: Vec<Reading>,
    /// Scopes whose read has ended.
    pub(super) ended: Vec<Ended>,
    /// Regions to read next.
    pub(super) regions: Vec<(AccountId, Region)>,
    /// An account that cannot be opened, so that none of its regions is tried.
    pub(super) closed: Option<(AccountId, Reason)>,
    /// What it adds to the sync.
    pub(super) counts: Counts,
    /// Whether the group is done.
    pub(super) is_last: bool,
    bytes: usize,
}

impl Batch {
    pub(super) fn new(group: &Group) -> Self {
        Self {
            group: group.clone(),
            readings: Vec::new(),
            ended: Vec::new(),
            regions: Vec::new(),
            closed: None,
            counts: Counts::default(),
            is_last: false,
            bytes: BATCH_BYTES,
        }
    }

    /// Takes in a resource.
    pub(super) fn push(&mut self, reading: Reading) {
        self.bytes += reading.resource.size();
        self.readings.push(reading);
    }

    /// Takes in the end of a scope. What has gone was counted when it went.
    pub(super) fn end(&mut self, ended: Ended) {
        count_outcome(&ended);
        self.counts.seen += ended.run().seen;
        self.counts.written += ended.run().written;
        if ended.is_complete() {
            self.counts.complete += 1;
        } else {
            self.counts.incomplete += 1;
        }
        self.ended.push(ended);
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Leaves an empty batch of the same group behind.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::new(&self.group);
        std::mem::replace(self, empty)
    }
}

/// Where readers hand in their batches. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    queue: mpsc::Sender<Entry>,
    room: Arc<Semaphore>,
}

/// A batch that waits.
#[derive(Debug)]
struct Entry {
    batch: Batch,
    answer: oneshot::Sender<store::Result<()>>,
    _room: OwnedSemaphorePermit,
    _begun: Option<Begun>,
}

impl Recorder {
    /// A recorder, and the work that must run for it.
    pub(super) fn new(db: Db) -> (Self, impl Future<Output = ()>) {
        let (queue, entries) = mpsc::channel(BATCHES_MAX);
        let room = Arc::new(Semaphore::new(BYTES_MAX));
        (Self { queue, room }, run(db, entries))
    }

    /// Writes a batch and waits until it is written.
    ///
    /// # Errors
    ///
    /// When it was not: the lease was lost, or the database is away.
    pub(super) async fn write(&self, batch: Batch) -> store::Result<()> {
        self.hand_in(batch, None).await.await.unwrap_or(Err(store::Error::Fenced))
    }

    /// Hands in a batch; the answer tells when it is written. The lease is kept until
    /// then by what proves that its group is being read.
    pub(super) async fn hand_in(
        &self,
        batch: Batch,
        begun: Option<Begun>,
    ) -> oneshot::Receiver<store::Result<()>> {
        let bytes = u32::try_from(batch.bytes().min(BYTES_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        let room = room.expect("the room is never closed");
        let (answer, answered) = oneshot::channel();
        // Without a recorder the process ends, and the answer with it.
        let _ = self.queue.send(Entry { batch, answer, _room: room, _begun: begun }).await;
        answered
    }
}

/// Every sync has one transaction under way at most, and none waits for that of another:
/// what has gathered for it meanwhile goes into its next one.
async fn run(db: Db, mut entries: mpsc::Receiver<Entry>) {
    let mut waiting: HashMap<SyncId, VecDeque<Entry>> = HashMap::new();
    let mut busy: HashSet<SyncId> = HashSet::new();
    let mut writing = FuturesUnordered::new();
    let mut gathered = Vec::with_capacity(BATCHES_MAX);
    let mut is_open = true;
    while is_open || !writing.is_empty() {
        tokio::select! {
            count = entries.recv_many(&mut gathered, BATCHES_MAX), if is_open => {
                is_open = count > 0;
            }
            Some(sync) = writing.next() => {
                busy.remove(&sync);
            }
        }
        for entry in gathered.drain(..) {
            waiting.entry(entry.batch.group.sync).or_default().push_back(entry);
        }
        for (sync, entries) in &mut waiting {
            if !entries.is_empty() && busy.insert(*sync) {
                let (sync, db) = (*sync, &db);
                let entries: Vec<Entry> = entries.drain(..entries.len().min(BATCHES_MAX)).collect();
                metrics::histogram!("connector_sync_batches").record(count(entries.len()));
                writing.push(async move {
                    write_all(db, entries).await;
                    sync
                });
            }
        }
        waiting.retain(|_, entries| !entries.is_empty());
    }
}

fn count_outcome(ended: &Ended) {
    let outcome = match (ended.is_complete(), ended.code()) {
        (true, _) => "COMPLETE",
        (false, code) => code.map_or("INTERNAL", ReasonCode::as_str),
    };
    metrics::counter!("connector_scopes_total", "collector" => ended.collector(), "outcome" => outcome)
        .increment(1);
    metrics::histogram!("connector_scope_seconds", "collector" => ended.collector())
        .record(ended.run().took);
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Writes batches of one sync together; if that fails, each by itself, so that one that
/// cannot be written costs no other.
async fn write_all(db: &Db, entries: Vec<Entry>) {
    let batches: Vec<&Batch> = entries.iter().map(|entry| &entry.batch).collect();
    let mut answers = match write(db, &batches).await {
        Ok(held) => held.into_iter().map(answer).collect(),
        Err(error) if entries.len() == 1 => vec![Err(error)],
        Err(error) => {
            warn!(error = %Chain(&error), "failed to write {} batches together; trying each by itself", entries.len());
            let mut answers = Vec::with_capacity(entries.len());
            for batch in batches {
                let written = write(db, &[batch]).await;
                answers.push(written.and_then(|held| answer(held == [true])));
            }
            answers
        }
    };
    for Entry { answer, _begun: begun, .. } in entries.into_iter().rev() {
        // Before anybody is told, so that its place among the leases is free by then.
        drop(begun);
        // The reader may be gone.
        let _ = answer.send(answers.pop().unwrap_or(Err(store::Error::Fenced)));
    }
}

fn answer(was_written: bool) -> store::Result<()> {
    if was_written { Ok(()) } else { Err(store::Error::Fenced) }
}

/// Writes batches of one sync in one transaction. Answers for each whether its lease was
/// still ours.
async fn write(db: &Db, batches: &[&Batch]) -> store::Result<Vec<bool>> {
    let mut tx = db.begin().await?;
    let groups: Vec<&Group> = batches.iter().map(|batch| &batch.group).collect();
    let held = store::groups::lock_all(&mut tx, &groups).await?;
    let ours: Vec<&Batch> =
        batches.iter().zip(&held).filter(|(_, ours)| **ours).map(|(batch, _)| *batch).collect();
    let Some(Group { connector, integration, sync, generation, .. }) =
        ours.first().map(|batch| &batch.group)
    else {
        return Ok(held);
    };
    let (integration, sync): (IntegrationId, SyncId) = (*integration, *sync);
    let of_generation = (connector, integration, *generation);

    let readings = || ours.iter().flat_map(|batch| &batch.readings);
    if readings().next().is_some() {
        let revision = store::feeds::advance(&mut tx, connector, integration).await?;
        store::inventory::write(&mut tx, connector, integration, revision, readings()).await?;
    }
    let ended = || ours.iter().flat_map(|batch| &batch.ended);
    if ended().next().is_some() {
        store::scopes::record(&mut tx, of_generation, ended()).await?;
    }
    for (account, reason) in ours.iter().filter_map(|batch| batch.closed.as_ref()) {
        store::scopes::record_regions_incomplete(&mut tx, of_generation, account, reason).await?;
    }
    let mut counts = Counts::default();
    let regions = || ours.iter().flat_map(|batch| &batch.regions).map(|(a, r)| (a, r));
    if regions().next().is_some() {
        let of_sync = (connector, integration, sync);
        counts.groups += store::groups::plan_regions(&mut tx, of_sync, regions()).await?;
    }
    let last: Vec<&Group> =
        ours.iter().filter(|batch| batch.is_last).map(|batch| &batch.group).collect();
    if !last.is_empty() {
        store::groups::finish(&mut tx, &last).await?;
        counts.groups -= i64::try_from(last.len()).unwrap_or_default();
    }
    for batch in &ours {
        counts += batch.counts;
    }
    let open = store::syncs::add(&mut tx, connector, sync, counts).await?;
    if open == 0 {
        finish::sync(&mut tx, of_generation, sync).await?;
    }
    tx.commit().await?;
    Ok(held)
}
