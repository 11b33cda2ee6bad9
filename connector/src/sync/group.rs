//! Reads one leased group: opens its place, then its scopes one after another.

use tracing::warn;

use super::{
    Crawler, Error, Job, OPEN_ACCOUNT, WALK, access, attempt::attempt, finish, organization, scope,
};
use crate::{
    catalog,
    model::{
        failure::{Reason, ReasonCode},
        ids::{AccountId, Region},
        organization::Account,
        proof::{Next, PageLoop},
        scope::{Group, Place, Reach, Scope},
    },
    store::{self, syncs::Counts},
};

/// Leases of one group in one sync. A group that was leased more often brings its
/// readers down, and is given up.
const LEASES_MAX: i64 = 10;
/// How long the member role of a new account may be missing before it is a problem.
const NEW_ACCOUNT_GRACE_S: f64 = 3600.0;

/// Reads a group to its end.
pub(super) async fn read(crawler: &Crawler, group: &Group) -> Result<(), Error> {
    let job = begin(crawler, group).await?;
    if group.fence > LEASES_MAX {
        let reason = Reason::new(ReasonCode::Internal, "sync", "its readers failed too often");
        give_up(crawler, &job, &reason).await?;
        return finish::group(crawler, &job).await;
    }
    match &group.place {
        Place::Organization => match organization::walk(crawler, &job).await? {
            Some(walk) => read_scopes(crawler, &job, walk.accounts()).await?,
            None => give_up_after_walk(crawler, &job).await?,
        },
        Place::Account(account) => match open(crawler, &job, account).await? {
            Ok(()) => read_scopes(crawler, &job, &[]).await?,
            Err(reason) => give_up(crawler, &job, &reason).await?,
        },
        Place::Region(..) => read_scopes(crawler, &job, &[]).await?,
    }
    finish::group(crawler, &job).await
}

async fn begin(crawler: &Crawler, group: &Group) -> Result<Job, Error> {
    let mut conn = crawler.db.conn().await?;
    store::syncs::start(&mut conn, &group.connector, group.sync).await?;
    let integration = store::integrations::get(&mut conn, &group.connector, group.integration)
        .await?
        .ok_or(store::Error::Fenced)?;
    let access = access(&crawler.aws, &integration, &group.place);
    Ok(Job { group: group.clone(), integration, access })
}

/// Reads the chosen collectors of the place that were not tried yet.
async fn read_scopes(crawler: &Crawler, job: &Job, accounts: &[Account]) -> Result<(), Error> {
    let tried = tried(crawler, job).await?;
    for collector in catalog::chosen(&job.integration.settings, job.group.place.reach()) {
        if !tried.iter().any(|name| name == collector.name()) {
            scope::read(crawler, job, collector, accounts).await?;
        }
    }
    Ok(())
}

async fn tried(crawler: &Crawler, job: &Job) -> Result<Vec<String>, Error> {
    let mut conn = crawler.db.conn().await?;
    Ok(store::scopes::tried(&mut conn, &job.group).await?)
}

/// Gets the first credentials of an account, and plans its regions. The inner error
/// is why nothing can be read there.
async fn open(
    crawler: &Crawler,
    job: &Job,
    account: &AccountId,
) -> Result<Result<(), Reason>, Error> {
    if tried(crawler, job).await?.iter().any(|name| name == OPEN_ACCOUNT) {
        // An earlier lease has planned its regions; what it found stands.
        return Ok(Ok(()));
    }
    let scope = Scope { group: job.group.clone(), collector: OPEN_ACCOUNT };
    let opened =
        attempt(&job.access, || async { Ok(catalog::regions::enabled(&job.access).await?) });
    let enabled = match opened.await {
        Ok(enabled) => enabled,
        Err(error) => {
            let Some(reason) = error.reason(OPEN_ACCOUNT) else {
                return Err(error);
            };
            return Ok(Err(soften(crawler, job, account, reason).await?));
        }
    };
    let settings = &job.integration.settings;
    let regions: Vec<Region> = enabled
        .iter()
        .filter(|region| settings.regions.is_empty() || settings.regions.contains(region))
        .cloned()
        .collect();
    let not_enabled: Vec<&Region> =
        settings.regions.iter().filter(|region| !enabled.contains(region)).collect();

    let per_region = catalog::chosen(settings, Reach::Region).count();
    let planned_regions = if per_region == 0 { Vec::new() } else { regions };
    let planned = 1 + planned_regions.len() * per_region;
    let group = &job.group;
    let mut tx = crawler.db.begin().await?;
    store::groups::lock(&mut tx, group).await?;
    store::groups::plan_regions(&mut tx, &group.connector, group.sync, account, &planned_regions)
        .await?;
    record_not_enabled(&mut tx, job, account, &not_enabled).await?;
    let keys = planned_regions.iter().map(|region| format!("{account}/{region}"));
    if let Ok(Next::End(proof)) = PageLoop::start(scope).page(keys, None) {
        store::scopes::record_complete(&mut tx, &proof, None).await?;
    }
    let counts = Counts { planned: count(planned), complete: 1, ..Counts::default() };
    store::syncs::add(&mut tx, &group.connector, group.sync, counts).await?;
    tx.commit().await?;
    crawler.groups.poke();
    Ok(Ok(()))
}

/// Chosen regions that the account has not enabled are coverage, not a failure.
async fn record_not_enabled(
    conn: &mut store::Tx,
    job: &Job,
    account: &AccountId,
    regions: &[&Region],
) -> Result<(), Error> {
    let reason = Reason::new(ReasonCode::RegionNotEnabled, "", "");
    for region in regions {
        let place = Place::Region(account.clone(), (*region).clone());
        for collector in catalog::chosen(&job.integration.settings, Reach::Region) {
            let group = Group { place: place.clone(), ..job.group.clone() };
            let scope = Scope { group, collector: collector.name() };
            store::scopes::record_incomplete(conn, &scope, &reason).await?;
        }
    }
    Ok(())
}

/// In the first hour of an account the StackSet may still be at work.
async fn soften(
    crawler: &Crawler,
    job: &Job,
    account: &AccountId,
    reason: Reason,
) -> Result<Reason, Error> {
    if reason.code != ReasonCode::MemberRoleDenied {
        return Ok(reason);
    }
    let mut conn = crawler.db.conn().await?;
    let age = store::organization::seconds_since_joining(&mut conn, &job.group, account).await?;
    Ok(match age {
        Some(age) if age < NEW_ACCOUNT_GRACE_S => {
            Reason { code: ReasonCode::MemberRolePending, ..reason }
        }
        _ => reason,
    })
}

/// Without an organization there is nothing else to read in this group.
async fn give_up_after_walk(crawler: &Crawler, job: &Job) -> Result<(), Error> {
    let mut conn = crawler.db.conn().await?;
    let failed = store::scopes::with_reason(
        &mut conn,
        &job.group.connector,
        job.group.integration,
        job.group.generation,
    )
    .await?;
    drop(conn);
    let walk = failed.iter().find(|outcome| outcome.collector == super::WALK);
    let code = walk.and_then(|walk| walk.reason.as_deref()?.parse().ok());
    let reason = Reason::new(
        code.unwrap_or(ReasonCode::Internal),
        walk.map_or("", |walk| &walk.subject),
        walk.map_or("", |walk| &walk.detail),
    );
    give_up(crawler, job, &reason).await
}

/// Records the same reason for every scope of the place that was not tried, and for
/// every region of an account that was read before: their rows stay, marked stale.
async fn give_up(crawler: &Crawler, job: &Job, reason: &Reason) -> Result<(), Error> {
    warn!(reason = %reason, "{} cannot be read", job.group.place);
    let group = &job.group;
    let mut tx = crawler.db.begin().await?;
    store::groups::lock(&mut tx, group).await?;
    let tried = store::scopes::tried(&mut tx, group).await?;
    let mut names: Vec<&'static str> =
        catalog::chosen(&job.integration.settings, group.place.reach())
            .map(catalog::Collector::name)
            .collect();
    names.extend(match group.place {
        Place::Organization => Some(WALK),
        Place::Account(_) => Some(OPEN_ACCOUNT),
        Place::Region(..) => None,
    });
    names.retain(|name| !tried.iter().any(|tried| tried == name));
    for collector in &names {
        let scope = Scope { group: group.clone(), collector };
        store::scopes::record_incomplete(&mut tx, &scope, reason).await?;
    }
    if let (Place::Account(account), true) = (&group.place, names.contains(&OPEN_ACCOUNT)) {
        store::scopes::record_regions_incomplete(&mut tx, group, account, reason).await?;
    }
    let incomplete = count(names.len());
    // Opening an account was not planned as a scope of its own before it was tried.
    let opening = i64::from(names.contains(&OPEN_ACCOUNT));
    let counts = Counts { planned: opening, incomplete, ..Counts::default() };
    store::syncs::add(&mut tx, &group.connector, group.sync, counts).await?;
    tx.commit().await?;
    Ok(())
}

/// Counts are stored as SQL has them.
pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
