//! The first group of a sync: walks the organization and plans its accounts.

use tracing::{info, warn};

use super::{Crawler, Error, Job, WALK, attempt::attempt, group::count};
use crate::{
    base::chain::Chain,
    catalog::{self, organization as lists},
    model::{
        failure::{Reason, ReasonCode},
        ids::OuId,
        organization::{Coverage, Walk},
        proof::{Next, PageLoop},
        scope::{Reach, Scope},
    },
    store::{self, syncs::Counts},
};

/// Walks the organization. None: it could not be read, which is recorded; accounts
/// and resources stay as they are.
pub(super) async fn walk(crawler: &Crawler, job: &Job) -> Result<Option<Walk>, Error> {
    let walked = attempt(&job.access, || async {
        compare_with_pins(job).await?;
        Ok(lists::walk(&job.access).await?)
    });
    let walk = match walked.await {
        Ok(walk) => walk,
        Err(error) => {
            let Some(reason) = error.reason(WALK) else { return Err(error) };
            warn!(error = %Chain(&error), "the organization cannot be read");
            fail(crawler, job, &reason).await?;
            return Ok(None);
        }
    };
    if let Some(ou) = unseen_exclusion(crawler, job, &walk).await? {
        // A typo must not crawl everything: nothing is planned.
        let reason = Reason::new(ReasonCode::ExcludedOuGone, ou.as_str(), "it was never seen");
        fail(crawler, job, &reason).await?;
        return Ok(None);
    }
    record(crawler, job, &walk).await?;
    Ok(Some(walk))
}

/// The role must still lead to the organization that was validated.
async fn compare_with_pins(job: &Job) -> Result<(), Error> {
    let (organization, _) = lists::identify(&job.access).await?;
    let pinned = &job.integration.organization;
    if &organization == pinned {
        return Ok(());
    }
    let subject = format!("{organization} instead of {pinned}");
    Err(crate::aws::ApiError {
        reason: Reason::new(ReasonCode::OrganizationMismatch, subject, ""),
        failure: crate::model::failure::Failure::NeedsHuman,
        code: None,
    }
    .into())
}

/// An excluded unit that neither this walk nor any before it has met.
async fn unseen_exclusion(
    crawler: &Crawler,
    job: &Job,
    walk: &Walk,
) -> Result<Option<OuId>, Error> {
    let mut conn = crawler.db.conn().await?;
    for ou in walk.absent(&job.integration.settings.excluded_ou_ids) {
        let group = &job.group;
        let seen =
            store::organization::unit_was_seen(&mut conn, &group.connector, group.integration, ou)
                .await?;
        if !seen {
            return Ok(Some(ou.clone()));
        }
    }
    Ok(None)
}

/// Stores the walk and plans a group for every account that is crawled.
async fn record(crawler: &Crawler, job: &Job, walk: &Walk) -> Result<(), Error> {
    let (group, settings) = (&job.group, &job.integration.settings);
    let scope = Scope { group: group.clone(), collector: WALK };
    let keys: Vec<String> = walk.accounts().iter().map(|account| account.id.to_string()).collect();

    let mut tx = crawler.db.begin().await?;
    store::groups::lock(&mut tx, group).await?;
    let tried = store::scopes::tried(&mut tx, group).await?;
    if tried.iter().any(|name| name == WALK) {
        // Another lease of this group has planned the accounts already.
        return Ok(());
    }
    store::organization::record_walk(&mut tx, group, walk, settings).await?;
    let (connector, id) = (&group.connector, group.integration);
    let crawled = store::organization::covered(&mut tx, connector, id, Coverage::Crawled).await?;
    store::groups::plan_accounts(&mut tx, &group.connector, group.sync, &crawled).await?;
    if let Ok(Next::End(proof)) = PageLoop::start(scope).page(keys, None) {
        store::scopes::record_complete(&mut tx, &proof, None).await?;
    }
    let here = 1 + catalog::chosen(settings, Reach::Organization).count();
    let there = crawled.len() * catalog::chosen(settings, Reach::Account).count();
    let counts = Counts { planned: count(here + there), complete: 1, ..Counts::default() };
    store::syncs::add(&mut tx, &group.connector, group.sync, counts).await?;
    tx.commit().await?;
    crawler.groups.poke();
    info!(
        "the organization has {} accounts, {} of them are read",
        walk.accounts().len(),
        crawled.len()
    );
    Ok(())
}

async fn fail(crawler: &Crawler, job: &Job, reason: &Reason) -> Result<(), Error> {
    let group = &job.group;
    let scope = Scope { group: group.clone(), collector: WALK };
    let mut tx = crawler.db.begin().await?;
    store::groups::lock(&mut tx, group).await?;
    if store::scopes::tried(&mut tx, group).await?.iter().any(|name| name == WALK) {
        // What an earlier lease of this group has found stands.
        return Ok(());
    }
    store::scopes::record_incomplete(&mut tx, &scope, reason).await?;
    let here = 1 + catalog::chosen(&job.integration.settings, Reach::Organization).count();
    let counts = Counts { planned: count(here), incomplete: 1, ..Counts::default() };
    store::syncs::add(&mut tx, &group.connector, group.sync, counts).await?;
    tx.commit().await?;
    Ok(())
}
