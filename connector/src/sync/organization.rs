//! The first group of a sync: walks the organization and plans its accounts.

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Crawler, Error, Job, WALK, attempt::attempt, group::count, scope};
use crate::{
    base::chain::Chain,
    catalog::{self, organization as lists},
    model::{
        failure::{Reason, ReasonCode},
        ids::OuId,
        organization::{Coverage, Walk},
        proof::{KeyDigest, Next, PageLoop},
        scope::{Reach, Scope},
    },
    store::{
        self,
        scopes::{Ended, Run},
        syncs::Counts,
    },
};

/// Walks the organization. The inner error is why it could not be read; accounts and
/// resources stay as they are then.
pub(super) async fn walk(crawler: &Crawler, job: &Job) -> Result<Result<Walk, Reason>, Error> {
    let began = Instant::now();
    let mut conn = crawler.db.conn().await?;
    store::syncs::start(&mut conn, &job.group).await?;
    drop(conn);
    let walked = attempt(&job.access, || async {
        compare_with_pins(job).await?;
        Ok(lists::walk(&job.access).await?)
    });
    let walk = match walked.await {
        Ok(walk) => walk,
        Err(error) => {
            let Some(reason) = error.reason(WALK) else { return Err(error) };
            warn!(error = %Chain(&error), "the organization cannot be read");
            return Ok(Err(reason));
        }
    };
    if let Some(ou) = unseen_exclusion(crawler, job, &walk).await? {
        // A typo must not crawl everything: nothing is planned.
        let reason = Reason::new(ReasonCode::ExcludedOuGone, ou.as_str(), "it was never seen");
        return Ok(Err(reason));
    }
    let (calls, throttles, waited) = job.access.usage().so_far();
    let seen = count(walk.accounts().len());
    let took = began.elapsed();
    let run = Run { took, waited, calls, throttles, pages: calls, seen, ..Run::default() };
    record(crawler, job, &walk, run).await?;
    Ok(Ok(walk))
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
        leaves_doubt: false,
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

/// Stores the walk, removes what was in accounts that have gone, and plans a group for
/// every account that is crawled.
async fn record(crawler: &Crawler, job: &Job, walk: &Walk, run: Run) -> Result<(), Error> {
    let (group, settings) = (&job.group, &job.integration.settings);
    let scope = Scope { group: group.clone(), collector: WALK };
    let keys = walk.accounts().iter().map(|account| KeyDigest::of(account.id.as_str()));
    let Ok(Next::End(proof)) = PageLoop::start(scope).page(keys, None) else {
        unreachable!("a page without a token is the last")
    };

    let mut tx = crawler.db.begin().await?;
    store::groups::lock(&mut tx, group).await?;
    let tried = store::scopes::tried(&mut tx, group).await?;
    if tried.iter().any(|name| name == WALK) {
        // Another lease of this group has planned the accounts already.
        return Ok(());
    }
    store::organization::record_walk(&mut tx, group, walk, settings).await?;
    let removed = scope::remove_with_accounts(&mut tx, group, walk).await?;
    let (connector, id) = (&group.connector, group.integration);
    let crawled = store::organization::covered(&mut tx, connector, id, Coverage::Crawled).await?;
    let groups = store::groups::plan_accounts(&mut tx, group, &crawled).await?;
    let mut ended = Ended::complete(&proof, Run { gone: removed.gone, ..run });
    if let Some(reason) = removed.reason("accounts that have left") {
        ended = ended.with(reason);
    }
    store::scopes::record(&mut tx, (connector, id, group.generation), [&ended]).await?;
    let here = 1 + catalog::chosen(settings, Reach::Organization).count();
    let there = crawled.len() * catalog::chosen(settings, Reach::Account).count();
    let planned = count(here + there);
    let counts = Counts { planned, complete: 1, groups, ..Counts::default() };
    store::syncs::add(&mut tx, connector, group.sync, counts).await?;
    tx.commit().await?;
    crawler.groups.poke();
    info!(
        "the organization has {} accounts, {} of them are read",
        walk.accounts().len(),
        crawled.len()
    );
    Ok(())
}
