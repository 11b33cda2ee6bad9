//! Reads one scope: the loop over a collector's pages, and what follows from its end.
//!
//! Invariant: every batch of writes is one transaction that first locks the group's
//! row and compares the fence. A loop that breaks off leaves the rows that it wrote,
//! removes nothing, and records why.

use tracing::{info, warn};

use super::{Crawler, Error, Job, attempt::attempt};
use crate::{
    base::chain::Chain,
    catalog::{Collector, Ground},
    model::{
        breaker::{self, Verdict},
        failure::{Reason, ReasonCode},
        organization::Account,
        proof::{Complete, Next, PageLoop},
        scope::Scope,
    },
    store::{self, syncs::Counts},
};

/// Reads a scope and stores its outcome.
pub(super) async fn read(
    crawler: &Crawler,
    job: &Job,
    collector: &'static dyn Collector,
    accounts: &[Account],
) -> Result<(), Error> {
    let ground = Ground {
        access: &job.access,
        place: &job.group.place,
        settings: &job.integration.settings,
        accounts,
    };
    let scope = Scope { group: job.group.clone(), collector: collector.name() };
    let mut counts = Counts::default();
    match pages(crawler, &ground, collector, scope.clone(), &mut counts).await {
        Ok(proof) => complete(crawler, &proof, counts).await,
        Err(error) => {
            let Some(reason) = error.reason(collector.name()) else {
                return Err(error);
            };
            warn!(error = %Chain(&error), "{scope} could not be read whole; its resources stay as they were");
            incomplete(crawler, &scope, &reason, counts).await
        }
    }
}

async fn pages(
    crawler: &Crawler,
    ground: &Ground<'_>,
    collector: &'static dyn Collector,
    scope: Scope,
    counts: &mut Counts,
) -> Result<Complete, Error> {
    let mut walk = PageLoop::start(scope);
    let mut token = None;
    loop {
        let page =
            attempt(ground.access, || async { Ok(collector.page(ground, token.as_ref()).await?) })
                .await?;
        let keys: Vec<String> =
            page.resources.iter().map(|resource| resource.arn.clone()).collect();
        counts.seen += super::group::count(keys.len());
        if !page.resources.is_empty() {
            let scope = walk.scope();
            let mut tx = crawler.db.begin().await?;
            store::groups::lock(&mut tx, &scope.group).await?;
            let written = store::resources::write(&mut tx, scope, page.resources).await?;
            tx.commit().await?;
            counts.written += i64::try_from(written).unwrap_or(i64::MAX);
        }
        match walk.page(keys, page.next)? {
            Next::More(rest, next) => (walk, token) = (rest, Some(next)),
            Next::End(proof) => return Ok(proof),
        }
    }
}

/// The end of a scope that was read whole: what it did not see is gone, unless that is
/// so much that the breaker holds it.
async fn complete(crawler: &Crawler, proof: &Complete, mut counts: Counts) -> Result<(), Error> {
    let scope = proof.scope();
    let group = &scope.group;
    let mut tx = crawler.db.begin().await?;
    store::groups::lock(&mut tx, group).await?;
    let unseen = store::resources::unseen(&mut tx, proof).await?;
    let verdict = if unseen.len() < breaker::ROWS_MIN {
        Verdict::Remove
    } else {
        let (in_scope, in_integration) = store::resources::live_counts(&mut tx, scope).await?;
        let held = store::scopes::held(&mut tx, scope).await?;
        breaker::judge(&unseen, in_scope, in_integration, &held)
    };
    match &verdict {
        Verdict::Remove => {
            if !unseen.is_empty() {
                let gone = store::resources::remove_unseen(&mut tx, proof).await?;
                counts.gone = i64::try_from(gone).unwrap_or(i64::MAX);
            }
            store::scopes::record_complete(&mut tx, proof, None).await?;
        }
        Verdict::Hold(held) => {
            let reason = Reason::new(
                ReasonCode::RemovalHeld,
                scope.collector,
                format!("{} resources, {} reads so far", unseen.len(), held.reads),
            );
            warn!(
                "{scope}: {} resources are missing; kept until {} reads agree",
                unseen.len(),
                breaker::READS_TO_RELEASE
            );
            store::scopes::record_complete(&mut tx, proof, Some((held, &reason))).await?;
        }
    }
    counts.complete = 1;
    store::syncs::add(&mut tx, &group.connector, group.sync, counts).await?;
    tx.commit().await?;
    if counts.written + counts.gone > 0 {
        info!("{scope}: {} seen, {} written, {} gone", counts.seen, counts.written, counts.gone);
    }
    Ok(())
}

async fn incomplete(
    crawler: &Crawler,
    scope: &Scope,
    reason: &Reason,
    mut counts: Counts,
) -> Result<(), Error> {
    counts.incomplete = 1;
    let group = &scope.group;
    let mut tx = crawler.db.begin().await?;
    store::groups::lock(&mut tx, group).await?;
    store::scopes::record_incomplete(&mut tx, scope, reason).await?;
    store::syncs::add(&mut tx, &group.connector, group.sync, counts).await?;
    tx.commit().await?;
    Ok(())
}
