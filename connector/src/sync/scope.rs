//! Reads one scope: the loop over a collector's pages, and what follows from its end.
//!
//! Invariant: a loop that breaks off leaves the rows that it wrote, removes nothing, and
//! says why. What is missing after a loop that reached the end is removed in a transaction
//! of its own, which first locks the group's row and compares the fence.

use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Crawler, Error, Job,
    attempt::attempt,
    recorder::{Batch, Recorder},
};
use crate::{
    base::chain::Chain,
    catalog::{Collector, Ground},
    model::{
        breaker::Removal,
        failure::{Reason, ReasonCode},
        organization::{Account, Walk},
        proof::{Complete, KeyDigest, Next, PageLoop},
        resource::Resource,
        scope::{Group, Scope},
    },
    store::{
        self,
        inventory::{Live, Missing, Reading, Which},
        scopes::{Ended, Run},
        syncs::Counts,
    },
};

/// A batch that has grown to this is written before the next page is asked for.
const FLUSH_BYTES: usize = 1024 * 1024;

/// Where scopes of a group are read.
pub(super) struct Reader<'a> {
    pub(super) crawler: &'a Crawler,
    pub(super) recorder: &'a Recorder,
    pub(super) job: &'a Job,
    /// The types that are read: a collector may yield others too.
    pub(super) types: Vec<String>,
    /// What is stored of them in the place.
    pub(super) live: Live,
    pub(super) accounts: &'a [Account],
}

impl Reader<'_> {
    /// Reads a scope; its outcome, and what is new, goes into the batch.
    pub(super) async fn read(
        &self,
        collector: &'static dyn Collector,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let before = self.job.access.usage().so_far();
        let mut run = Run::default();
        let mut read = self.pages(collector, batch, &mut run).await;
        let (calls, throttles, waited) = self.job.access.usage().so_far();
        run.took = began.elapsed();
        run.calls = calls - before.0;
        run.throttles = throttles - before.1;
        run.waited = waited.saturating_sub(before.2);
        let mut held = None;
        if let Ok(proof) = &read
            && self.live.has_missing(proof)
        {
            match self.remove(proof).await {
                Ok((gone, reason)) => (run.gone, held) = (gone, reason),
                Err(error) => read = Err(error.into()),
            }
        }
        let ended = match read {
            Ok(proof) => match held {
                None => Ended::complete(&proof, run),
                Some(reason) => Ended::complete(&proof, run).with(reason),
            },
            Err(error) => {
                let Some(reason) = error.reason(collector.name()) else {
                    return Err(error);
                };
                let place = &self.job.group.place;
                warn!(error = %Chain(&error), "{} of {place} could not be read whole; its resources stay as they were", collector.name());
                Ended::incomplete(place.clone(), collector.name(), reason, run)
            }
        };
        batch.end(ended);
        Ok(())
    }

    async fn pages(
        &self,
        collector: &'static dyn Collector,
        batch: &mut Batch,
        run: &mut Run,
    ) -> Result<Complete, Error> {
        let ground = Ground {
            access: &self.job.access,
            place: &self.job.group.place,
            settings: &self.job.integration.settings,
            accounts: self.accounts,
        };
        let scope = Scope { group: self.job.group.clone(), collector: collector.name() };
        let mut walk = PageLoop::start(scope);
        let mut token = None;
        loop {
            let page = attempt(ground.access, || async {
                Ok(collector.page(&ground, token.as_ref()).await?)
            })
            .await?;
            run.pages += 1;
            run.seen += super::group::count(page.resources.len());
            let mut keys = self.compare(collector, page.resources, batch, run).await?;
            keys.extend(page.passed_over.iter().map(|arn| KeyDigest::of(arn)));
            if batch.bytes() > FLUSH_BYTES {
                self.recorder.write(batch.take()).await?;
            }
            match walk.page(keys, page.next)? {
                Next::More(rest, next) => (walk, token) = (rest, Some(next)),
                Next::End(proof) => return Ok(proof),
            }
        }
    }

    /// Puts what is new or has changed into the batch. Answers the keys of all.
    async fn compare(
        &self,
        collector: &'static dyn Collector,
        mut resources: Vec<Resource>,
        batch: &mut Batch,
        run: &mut Run,
    ) -> Result<Vec<KeyDigest>, Error> {
        let group = &self.job.group;
        if resources.iter().any(|resource| !resource.unread.is_empty()) {
            let mut conn = self.crawler.db.conn().await?;
            let (connector, id) = (&group.connector, group.integration);
            store::inventory::keep_unread(&mut conn, connector, id, &mut resources).await?;
        }
        let mut keys = Vec::with_capacity(resources.len());
        for resource in resources {
            let (key, content_hash) = (KeyDigest::of(&resource.arn), resource.content_hash());
            keys.push(key);
            if self.live.differs(collector.name(), key, content_hash) {
                run.written += 1;
                let place = group.place.clone();
                batch.push(Reading { place, collector: collector.name(), resource, content_hash });
            }
        }
        Ok(keys)
    }

    /// Removes what a proof did not see, unless that is so much that it is held. Answers
    /// how many went, and why others stay.
    async fn remove(&self, proof: &Complete) -> store::Result<(i64, Option<Reason>)> {
        let scope = proof.scope();
        let mut tx = self.crawler.db.begin().await?;
        store::groups::lock(&mut tx, &scope.group).await?;
        // Before the question what is missing: a bucket that was made anew in another account
        // has the same ARN, and whoever stores it there holds the feed.
        store::feeds::lock(&mut tx, &scope.group.connector, scope.group.integration).await?;
        let missing = Missing::of_scope(&mut tx, proof, &self.types).await?;
        let scope_rows = self.live.count(scope.collector);
        let removed = remove(&mut tx, &scope.group, &missing, scope_rows).await?;
        tx.commit().await?;
        info!("{scope}: {} seen, {} gone, {} held", proof.seen(), removed.gone, removed.held);
        Ok((removed.gone, removed.reason(scope.collector)))
    }
}

/// What became of a removal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removed {
    /// Resources that went.
    pub(super) gone: i64,
    /// Resources that are kept for now.
    pub(super) held: u64,
}

impl Removed {
    /// Why some are kept; none: none are.
    pub(super) fn reason(self, subject: &str) -> Option<Reason> {
        let held = self.held;
        let detail = format!("{held} resources are missing and kept until three reads agree");
        (held > 0).then(|| Reason::new(ReasonCode::RemovalHeld, subject, detail))
    }
}

/// Removes what accounts that have left the organization held; a whole walk proves that
/// they have.
pub(super) async fn remove_with_accounts(
    tx: &mut store::Tx,
    group: &Group,
    walk: &Walk,
) -> store::Result<Removed> {
    store::feeds::lock(tx, &group.connector, group.integration).await?;
    let missing = Missing::of_walk(tx, group, walk).await?;
    remove(tx, group, &missing, usize::MAX).await
}

/// Removes or holds, in a transaction that has locked the group.
async fn remove(
    tx: &mut store::Tx,
    group: &Group,
    missing: &Missing,
    scope_rows: usize,
) -> store::Result<Removed> {
    if missing.count() == 0 {
        return Ok(Removed { gone: 0, held: 0 });
    }
    let revision = store::feeds::advance(tx, &group.connector, group.integration).await?;
    let (before, integration_rows) =
        store::syncs::lock_removals(tx, &group.connector, group.sync).await?;
    // What was held long enough, or released, goes whatever else does.
    let agreed = missing.remove(tx, revision, Which::Agreed).await?;
    let rows = |count: i64| usize::try_from(count).unwrap_or_default();
    let removal = Removal {
        missing: missing.count() - rows(agreed),
        scope_rows: scope_rows.saturating_sub(rows(agreed)),
        gone_before: rows(before),
        integration_rows: rows(integration_rows - agreed),
    };
    let (unheld, held) = if removal.is_held() {
        (0, missing.hold(tx).await?)
    } else {
        (missing.remove(tx, revision, Which::All).await?, 0)
    };
    // At once, so that the next removal is measured with this one.
    let gone = agreed + unheld;
    let counts = Counts { gone, agreed, ..Counts::default() };
    store::syncs::add(tx, &group.connector, group.sync, counts).await?;
    Ok(Removed { gone, held })
}
