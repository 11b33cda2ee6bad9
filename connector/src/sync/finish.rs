//! Ends a group, and with the last one the sync: its state, and its problems folded.

use tracing::info;

use super::{Crawler, Error, Job, WALK};
use crate::{
    model::{
        failure::{Reason, ReasonCode},
        organization::Coverage,
        problem::{self, Folded, Severity},
        scope::{Group, Place},
        sync::SyncState,
    },
    store::{self, Tx, integrations::Integration},
};

/// Ends a group. Whoever ends the last one ends the sync.
pub(super) async fn group(crawler: &Crawler, job: &Job) -> Result<(), Error> {
    let group = &job.group;
    let mut tx = crawler.db.begin().await?;
    store::groups::lock(&mut tx, group).await?;
    // Locked, so that of two groups that end at once one sees the other's end.
    let sync = store::syncs::lock(&mut tx, &group.connector, group.sync).await?;
    store::groups::finish(&mut tx, group).await?;
    if store::groups::any_open(&mut tx, &group.connector, group.sync).await? {
        return Ok(tx.commit().await?);
    }
    let walked = store::scopes::is_complete(
        &mut tx,
        &group.connector,
        group.integration,
        group.generation,
        &Place::Organization,
        WALK,
    )
    .await?;
    let problems = problems(&mut tx, group, &job.integration).await?;
    let gaps = problems
        .iter()
        .filter(|problem| problem::explain(problem.code, "").severity > Severity::Notice)
        .count();
    store::problems::replace(&mut tx, &group.connector, group.integration, &problems).await?;
    let state = SyncState::at_end(walked, super::group::count(gaps));
    let detail = if walked { "" } else { "the organization could not be read" };
    store::syncs::end(&mut tx, &group.connector, group.sync, state, detail).await?;
    if walked {
        store::scopes::record_uncovered(&mut tx, group).await?;
        store::integrations::note_sync_end(&mut tx, &group.connector, group.integration).await?;
    }
    tx.commit().await?;
    info!(
        sync.id = %group.sync,
        "sync {} of {} {state}: {} resources written, {} gone, {} problems",
        group.generation,
        job.integration.settings.name,
        sync.resources_written,
        sync.resources_gone,
        problems.len()
    );
    Ok(())
}

/// The problems of a generation: its scopes' reasons, and what the walk showed.
async fn problems(
    tx: &mut Tx,
    group: &Group,
    integration: &Integration,
) -> Result<Vec<Folded>, Error> {
    let (connector, id) = (&group.connector, group.integration);
    let scopes = store::scopes::with_reason(tx, connector, id, group.generation).await?;
    let mut reasons: Vec<(Reason, String)> = scopes
        .into_iter()
        .map(|outcome| {
            let code = outcome.reason.as_deref().and_then(|code| code.parse().ok());
            let code = code.unwrap_or(ReasonCode::Internal);
            // An account's scopes are one place to whoever has to mend its role.
            let whole_account =
                [ReasonCode::MemberRoleDenied, ReasonCode::MemberRolePending].contains(&code);
            let place = if whole_account {
                outcome.account_id
            } else {
                [outcome.account_id, outcome.region, outcome.collector]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            (Reason::new(code, outcome.subject, outcome.detail), place)
        })
        .collect();
    reasons.dedup_by(|a, b| (a.0.code, &a.0.subject, &a.1) == (b.0.code, &b.0.subject, &b.1));

    for (account, state) in store::organization::unknown_states(tx, connector, id).await? {
        reasons.push((Reason::new(ReasonCode::AccountStateUnknown, state, ""), account));
    }
    for account in store::organization::covered(tx, connector, id, Coverage::Announced).await? {
        let reason = Reason::new(ReasonCode::AccountNoLongerExcluded, "", "");
        reasons.push((reason, account.to_string()));
    }
    let units = store::organization::units(tx, connector, id).await?;
    for ou in &integration.settings.excluded_ou_ids {
        if !units.iter().any(|unit| unit.id == ou.as_str()) {
            let reason = Reason::new(ReasonCode::ExcludedOuGone, ou.as_str(), "");
            reasons.push((reason, ou.to_string()));
        }
    }
    reasons.dedup_by(|a, b| (a.0.code, &a.0.subject, &a.1) == (b.0.code, &b.0.subject, &b.1));
    Ok(problem::fold(reasons))
}
