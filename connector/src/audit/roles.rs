//! Which role somebody's sessions are of: asked of IAM once the access is there. When the access is gone the
//! role may be, too, and its id is never learned.

use std::time::Duration;

use tracing::warn;

use super::{Auditor, Error, REMEMBERED, note_problems, sources::SOURCES};
use crate::{
    base::{backoff::Backoff, chain::Chain},
    catalog::{
        reach, regions,
        reserved_roles::{self, Role},
    },
    model::{failure::Lane, ids::Region},
    store::{
        self,
        audited_units::{self, Look, ToFind},
        integrations,
    },
};

/// After a look that failed. A role that was made just now may not show yet.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(5), max: Duration::from_mins(10) };

/// Finds the role of a unit, and the regions of its account.
pub(super) async fn find(auditor: &Auditor, unit: &ToFind) -> store::Result<()> {
    // CloudTrail would not tell any more what was done then.
    let is_forgotten = unit.over_since.is_some_and(|since| unit.now - since > REMEMBERED);
    if !unit.was_active || is_forgotten {
        return found(auditor, unit, None, Vec::new()).await;
    }
    match Box::pin(ask(auditor, unit)).await {
        Ok(Told::Gone) => found(auditor, unit, None, Vec::new()).await,
        Ok(Told::Role(role, regions)) if role.is_some() || unit.over_since.is_some() => {
            found(auditor, unit, role.as_ref(), regions).await
        }
        Ok(Told::Role(..) | Told::Unwanted) => not_found(auditor, unit, "").await,
        Err(Error::Store(error)) => Err(error),
        Err(error) => {
            let trouble = error.trouble().unwrap_or_default();
            warn!(error = %Chain(&error), "the role of {} in {} is not found", unit.grant, unit.account);
            not_found(auditor, unit, &trouble).await
        }
    }
}

/// What is told of a unit's role.
enum Told {
    /// Its integration is gone.
    Gone,
    /// Nobody wants to know at present.
    Unwanted,
    /// The role, if it shows, and the regions that the account has enabled.
    Role(Option<Role>, Vec<Region>),
}

async fn ask(auditor: &Auditor, unit: &ToFind) -> Result<Told, Error> {
    let mut conn = auditor.db.conn().await?;
    let integration = integrations::get(&mut conn, &unit.connector, unit.integration).await?;
    drop(conn);
    let Some(integration) = integration else { return Ok(Told::Gone) };
    if !integration.settings.audit_enabled {
        return Ok(Told::Unwanted);
    }
    let account = Some(&unit.account);
    let access = reach::access(&auditor.aws, &integration, account, None, Lane::Audit);
    let asking = async {
        let role = reserved_roles::find(&access, &unit.permission_set).await?;
        Ok(Told::Role(role, regions::enabled(&access).await?.into_iter().collect()))
    };
    super::ask(&access, asking).await
}

async fn found(
    auditor: &Auditor,
    unit: &ToFind,
    role: Option<&Role>,
    regions: Vec<Region>,
) -> store::Result<()> {
    let role = role.map(|role| (role.name.as_str(), role.id.as_str()));
    let mut tx = auditor.db.begin().await?;
    // Whoever changes which sources it has comes before, or sees what is noted here.
    let integration = integrations::hold(&mut tx, &unit.connector, unit.integration).await?;
    let of = |is_by_name: bool| {
        let settings = integration.as_ref().map(|one| &one.settings);
        let sources = SOURCES.iter().filter(|one| settings.is_some_and(|all| one.is_of(all)));
        let meant = sources.filter(|one| one.is_by_name() == is_by_name);
        meant.map(|one| one.name()).collect()
    };
    let look = Look { regions, of_names: of(true), of_accounts: of(false) };
    audited_units::found(&mut tx, unit, role, &look).await?;
    if unit.failures > 0 {
        note_problems(&mut tx, &unit.connector, unit.integration).await?;
    }
    tx.commit().await
}

async fn not_found(auditor: &Auditor, unit: &ToFind, trouble: &str) -> store::Result<()> {
    let wait = AFTER_FAILURE.after(unit.failures.saturating_add(1));
    let mut tx = auditor.db.begin().await?;
    audited_units::not_found(&mut tx, unit, trouble, wait).await?;
    note_problems(&mut tx, &unit.connector, unit.integration).await?;
    tx.commit().await
}
