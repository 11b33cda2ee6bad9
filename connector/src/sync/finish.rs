//! Ends a sync whose last group is done: its state, and its problems folded.

use tracing::info;

use super::WALK;
use crate::{
    model::{
        failure::{Reason, ReasonCode},
        ids::{ConnectorId, IntegrationId, SyncId},
        organization::Coverage,
        problem::{self, Folded, Severity},
        scope::Place,
        sync::SyncState,
    },
    store::{self, Result, Tx, problems::Finder},
};

/// Ends a sync, whose row is locked.
pub(super) async fn sync(
    tx: &mut Tx,
    of_generation: (&ConnectorId, IntegrationId, i64),
    id: SyncId,
) -> Result<()> {
    let (connector, integration, generation) = of_generation;
    let walked = store::scopes::is_complete(tx, of_generation, &Place::Organization, WALK).await?;
    let problems = problems(tx, of_generation).await?;
    let gaps = problems
        .iter()
        .filter(|problem| problem::explain(problem.code, "").severity > Severity::Notice)
        .count();
    // That a problem is gone wants proof, too: only a sync that could read resolves one.
    let whole = (Finder::Sync, walked);
    store::problems::replace(tx, connector, integration, whole, &problems).await?;
    let state = SyncState::at_end(walked, super::group::count(gaps));
    let detail = if walked { "" } else { "the organization could not be read" };
    store::syncs::end(tx, connector, id, state, detail).await?;
    let explanation = store::runs::explain(tx, of_generation).await?;
    store::runs::keep(tx, connector, id, &explanation).await?;
    if walked {
        store::scopes::record_uncovered(tx, of_generation).await?;
        store::integrations::note_sync_end(tx, connector, integration).await?;
    }
    metrics::counter!("connector_syncs_total", "state" => state.as_str()).increment(1);
    info!(sync.id = %id, "sync {generation} has {state}, with {} problems", problems.len());
    Ok(())
}

/// The problems of a generation: its scopes' reasons, and what the walk showed.
async fn problems(
    tx: &mut Tx,
    of_generation: (&ConnectorId, IntegrationId, i64),
) -> Result<Vec<Folded>> {
    let (connector, id, _) = of_generation;
    let of_scopes = store::scopes::folded_reasons(tx, of_generation).await?;
    let mut problems: Vec<Folded> = of_scopes
        .into_iter()
        .map(|reason| Folded {
            // One of a newer version, whose replica may have stored it.
            code: reason.code.parse().unwrap_or(ReasonCode::Internal),
            subject: reason.subject,
            count: reason.count,
            examples: reason.examples,
        })
        .collect();

    let mut reasons: Vec<(Reason, String)> = Vec::new();
    for (account, state) in store::organization::unknown_states(tx, connector, id).await? {
        reasons.push((Reason::new(ReasonCode::AccountStateUnknown, state, ""), account));
    }
    for account in store::organization::covered(tx, connector, id, Coverage::Announced).await? {
        let reason = Reason::new(ReasonCode::AccountNoLongerExcluded, "", "");
        reasons.push((reason, account.to_string()));
    }
    let units = store::organization::units(tx, connector, id).await?;
    let integration = store::integrations::get(tx, connector, id).await?;
    for ou in integration.iter().flat_map(|integration| &integration.settings.excluded_ou_ids) {
        if !units.iter().any(|unit| unit.id == ou.as_str()) {
            let reason = Reason::new(ReasonCode::ExcludedOuGone, ou.as_str(), "");
            reasons.push((reason, ou.to_string()));
        }
    }
    problems.extend(problem::fold(reasons));
    Ok(problem::merge(problems))
}
