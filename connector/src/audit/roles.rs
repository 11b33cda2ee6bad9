//! Which role somebody's sessions are of: asked of IAM once the access is there. When the access is gone the
//! role may be, too, and its id is never learned.

use std::{collections::BTreeSet, time::Duration};

use tracing::warn;

use super::{Auditor, Error, note_problems};
use crate::{
    base::{backoff::Backoff, chain::Chain},
    catalog::{
        reach, regions,
        reserved_roles::{self, Role},
    },
    model::{failure::Lane, ids::Region},
    store::{
        self,
        audit::{self, ToFind},
        integrations,
    },
};

/// After a look that failed. A role that was made just now may not show yet.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(5), max: Duration::from_mins(10) };

/// Finds the role of a unit, and the regions of its account.
pub(super) async fn find(auditor: &Auditor, unit: &ToFind) -> store::Result<()> {
    if !unit.was_active {
        return found(auditor, unit, None, &[]).await;
    }
    match Box::pin(ask(auditor, unit)).await {
        Ok(None) => found(auditor, unit, None, &[]).await,
        Ok(Some((role, regions))) if role.is_some() || unit.is_over => {
            let regions: Vec<Region> = regions.into_iter().collect();
            found(auditor, unit, role.as_ref(), &regions).await
        }
        Ok(Some(_)) => not_found(auditor, unit, "").await,
        Err(Error::Store(error)) => Err(error),
        Err(error) => {
            let trouble = error.trouble().unwrap_or_default();
            warn!(error = %Chain(&error), "the role of {} in {} is not found", unit.grant, unit.account);
            not_found(auditor, unit, &trouble).await
        }
    }
}

/// The role, if it shows, and the regions that the account has enabled; none: the integration is gone.
async fn ask(
    auditor: &Auditor,
    unit: &ToFind,
) -> Result<Option<(Option<Role>, BTreeSet<Region>)>, Error> {
    let mut conn = auditor.db.conn().await?;
    let integration = integrations::get(&mut conn, &unit.connector, unit.integration).await?;
    drop(conn);
    let Some(integration) = integration else { return Ok(None) };
    let account = Some(&unit.account);
    let access = reach::access(&auditor.aws, &integration, account, None, Lane::Audit);
    let asking = async {
        let role = reserved_roles::find(&access, &unit.permission_set).await?;
        Ok(Some((role, regions::enabled(&access).await?)))
    };
    super::ask(&access, asking).await
}

async fn found(
    auditor: &Auditor,
    unit: &ToFind,
    role: Option<&Role>,
    regions: &[Region],
) -> store::Result<()> {
    let role = role.map(|role| (role.name.as_str(), role.id.as_str()));
    let mut tx = auditor.db.begin().await?;
    audit::found(&mut tx, unit, role, regions).await?;
    if unit.failures > 0 {
        note_problems(&mut tx, &unit.connector, unit.integration).await?;
    }
    tx.commit().await
}

async fn not_found(auditor: &Auditor, unit: &ToFind, trouble: &str) -> store::Result<()> {
    let wait = AFTER_FAILURE.after(unit.failures.saturating_add(1));
    let mut tx = auditor.db.begin().await?;
    audit::not_found(&mut tx, unit, trouble, wait).await?;
    note_problems(&mut tx, &unit.connector, unit.integration).await?;
    tx.commit().await
}
