//! Reads one leased group: opens its place, then its scopes one after another.
//!
//! What is found goes into one batch, which is handed in when the group is done. A group
//! that takes long hands in earlier what it has, so that little is read again after a
//! crash, and so that a sync shows how far it is.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{
    Crawler, Error, Job, OPEN_ACCOUNT, WALK, access,
    attempt::attempt,
    known::Known,
    organization,
    recorder::{Batch, Recorder},
    scope::Reader,
};
use crate::{
    catalog,
    model::{
        failure::{Reason, ReasonCode},
        ids::{AccountId, Region},
        organization::Account,
        proof::{KeyDigest, Next, PageLoop},
        scope::{Group, Place, Reach, Scope},
    },
    store::{
        self,
        scopes::{Ended, Run},
    },
};

/// Leases of one group in one sync. A group that was leased more often brings its
/// readers down, and is given up.
const LEASES_MAX: i64 = 10;
/// How long the member role of a new account may be missing before it is a problem.
const NEW_ACCOUNT_GRACE_S: f64 = 3600.0;
/// How long a batch may wait for the end of its group.
const BATCH_AGE_MAX: Duration = Duration::from_secs(5);

/// Reads a group to its end. Answers its last batch.
pub(super) async fn read(
    crawler: &Crawler,
    recorder: &Recorder,
    known: &Known,
    group: &Group,
) -> Result<Batch, Error> {
    let integration = known.of(&crawler.db, group).await?;
    let access = access(&crawler.aws, &integration, &group.place);
    let job = Job { group: group.clone(), integration, access };
    let visit = Visit { crawler, recorder, job: &job, tried: tried(crawler, group).await? };
    let mut batch = Batch::new(group);
    if group.fence > LEASES_MAX {
        let reason = Reason::new(ReasonCode::Internal, "sync", "its readers failed too often");
        visit.give_up(&mut batch, &reason);
    } else {
        match &group.place {
            Place::Organization => match organization::walk(crawler, &job).await? {
                Ok(walk) => visit.read_scopes(&mut batch, walk.accounts()).await?,
                Err(reason) => visit.give_up(&mut batch, &reason),
            },
            Place::Account(account) => match visit.open(&mut batch, account).await? {
                Ok(()) => visit.read_scopes(&mut batch, &[]).await?,
                Err(reason) => visit.give_up(&mut batch, &reason),
            },
            Place::Region(..) => visit.read_scopes(&mut batch, &[]).await?,
        }
    }
    batch.is_last = true;
    Ok(batch)
}

/// Collectors that were tried under an earlier lease of the group: they are not tried
/// again. Under its first lease there are none.
async fn tried(crawler: &Crawler, group: &Group) -> Result<Vec<String>, Error> {
    if group.fence == 1 {
        return Ok(Vec::new());
    }
    let mut conn = crawler.db.conn().await?;
    Ok(store::scopes::tried(&mut conn, group).await?)
}

struct Visit<'a> {
    crawler: &'a Crawler,
    recorder: &'a Recorder,
    job: &'a Job,
    tried: Vec<String>,
}

impl Visit<'_> {
    fn was_tried(&self, collector: &str) -> bool {
        self.tried.iter().any(|tried| tried == collector)
    }

    /// Reads the chosen collectors of the place that were not tried yet.
    async fn read_scopes(&self, batch: &mut Batch, accounts: &[Account]) -> Result<(), Error> {
        let group = &self.job.group;
        let settings = &self.job.integration.settings;
        let mut chosen: Vec<_> = catalog::chosen(settings, group.place.reach()).collect();
        chosen.retain(|collector| !self.was_tried(collector.name()));
        if chosen.is_empty() {
            return Ok(());
        }
        let mut conn = self.crawler.db.conn().await?;
        let types: Vec<String> = settings.resource_types.iter().cloned().collect();
        let live = store::inventory::live(&mut conn, group, &types).await?;
        drop(conn);
        let (crawler, recorder, job) = (self.crawler, self.recorder, self.job);
        let reader = Reader { crawler, recorder, job, types, live, accounts };
        let mut handed_in = Instant::now();
        for collector in chosen {
            if handed_in.elapsed() > BATCH_AGE_MAX {
                recorder.write(batch.take()).await?;
                handed_in = Instant::now();
            }
            reader.read(collector, batch).await?;
        }
        Ok(())
    }

    /// Gets the first credentials of an account, and plans its regions. The inner error
    /// is why nothing can be read there.
    async fn open(
        &self,
        batch: &mut Batch,
        account: &AccountId,
    ) -> Result<Result<(), Reason>, Error> {
        if self.was_tried(OPEN_ACCOUNT) {
            // An earlier lease has planned its regions; what it found stands.
            return Ok(Ok(()));
        }
        let job = self.job;
        let began = Instant::now();
        let opened =
            attempt(&job.access, || async { Ok(catalog::regions::enabled(&job.access).await?) });
        let enabled = match opened.await {
            Ok(enabled) => enabled,
            Err(error) => {
                let Some(reason) = error.reason(OPEN_ACCOUNT) else {
                    return Err(error);
                };
                return Ok(Err(self.soften(account, reason).await?));
            }
        };
        let (calls, throttles, waited) = job.access.usage().so_far();
        let run =
            Run { took: began.elapsed(), waited, calls, throttles, pages: 1, ..Run::default() };
        let settings = &job.integration.settings;
        let per_region: Vec<_> = catalog::chosen(settings, Reach::Region).collect();
        let wanted =
            |region: &&Region| settings.regions.is_empty() || settings.regions.contains(*region);
        if !per_region.is_empty() {
            let regions = enabled.iter().filter(wanted).cloned();
            batch.regions = regions.map(|region| (account.clone(), region)).collect();
        }
        // Chosen regions that the account has not enabled are coverage, not a failure.
        for region in settings.regions.iter().filter(|region| !enabled.contains(region)) {
            for collector in &per_region {
                let place = Place::Region(account.clone(), region.clone());
                let reason = Reason::new(ReasonCode::RegionNotEnabled, "", "");
                let ended = Ended::incomplete(place, collector.name(), reason, Run::default());
                batch.ended.push(ended);
            }
        }
        let scope = Scope { group: job.group.clone(), collector: OPEN_ACCOUNT };
        let keys = batch.regions.iter().map(|(_, region)| KeyDigest::of(region.as_str()));
        if let Ok(Next::End(proof)) = PageLoop::start(scope).page(keys, None) {
            batch.end(Ended::complete(&proof, run));
        }
        batch.counts.planned += count(1 + batch.regions.len() * per_region.len());
        // Others may read the regions while we read what the account has once.
        self.recorder.write(batch.take()).await?;
        self.crawler.groups.poke();
        Ok(Ok(()))
    }

    /// In the first hour of an account the StackSet may still be at work.
    async fn soften(&self, account: &AccountId, reason: Reason) -> Result<Reason, Error> {
        if reason.code != ReasonCode::MemberRoleDenied {
            return Ok(reason);
        }
        let mut conn = self.crawler.db.conn().await?;
        let age =
            store::organization::seconds_since_joining(&mut conn, &self.job.group, account).await?;
        Ok(match age {
            Some(age) if age < NEW_ACCOUNT_GRACE_S => {
                Reason { code: ReasonCode::MemberRolePending, ..reason }
            }
            _ => reason,
        })
    }

    /// Records the same reason for every scope of the place that was not tried, and for
    /// every region of an account that was read before: their rows stay, marked stale.
    fn give_up(&self, batch: &mut Batch, reason: &Reason) {
        let place = &self.job.group.place;
        warn!(reason = %reason, "{place} cannot be read");
        let entrance = match place {
            Place::Organization => Some(WALK),
            Place::Account(_) => Some(OPEN_ACCOUNT),
            Place::Region(..) => None,
        };
        let entrance = entrance.filter(|name| !self.was_tried(name));
        let chosen = catalog::chosen(&self.job.integration.settings, place.reach());
        let names = chosen.map(catalog::Collector::name).filter(|name| !self.was_tried(name));
        for name in entrance.into_iter().chain(names) {
            batch.end(Ended::incomplete(place.clone(), name, reason.clone(), Run::default()));
        }
        if let (Place::Account(account), Some(_)) = (place, entrance) {
            batch.closed = Some((account.clone(), reason.clone()));
        }
        // The walk plans what an organization has, and each account's scopes but its opening.
        batch.counts.planned += match (place, entrance) {
            (Place::Organization, Some(_)) => count(batch.ended.len()),
            (Place::Account(_), Some(_)) => 1,
            (Place::Organization | Place::Account(_), None) | (Place::Region(..), _) => 0,
        };
    }
}

/// Counts are stored as SQL has them.
pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
