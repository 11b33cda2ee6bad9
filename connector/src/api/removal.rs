//! Removing an integration, or the way into AWS by which its access is taken away: not while
//! something of ours may be there.

use tonic::Status;
use tracing::info;

use super::{Api, auth::Caller, status};
use crate::{
    model::{integration::Settings, refusal::Refusal},
    store::{self, PgConnection, acts::New, integrations::Integration},
};

/// Whether a change of settings would leave access behind that nobody could take away.
pub(super) fn strands_access(before: &Settings, after: &Settings) -> bool {
    // Without a region there was nothing in Identity Center.
    let is_first = before.sso_region.is_none();
    before.management_role_arn != after.management_role_arn
        || (before.sso_region != after.sso_region && !is_first)
}

/// Nothing is changed about what is being removed.
pub(super) fn refuse_deleting(found: &Integration) -> Result<(), Status> {
    if found.deleting_at.is_none() {
        return Ok(());
    }
    Err(status::precondition(
        "INTEGRATION_DELETING",
        "the integration is being deleted; it goes when nothing of its access is left in AWS",
    ))
}

/// What an integration has in AWS: units that have not ended, and objects that are not at rest.
/// Nobody can tell while the database may have forgotten something.
pub(super) async fn live(
    conn: &mut PgConnection,
    found: &Integration,
) -> store::Result<Result<(i64, i64), Status>> {
    let Integration { connector, id, .. } = found;
    if store::memory::is_recovering(conn, connector).await? {
        return Ok(Err(status::refused(&Refusal::recovering(), "")));
    }
    let units = store::backlog::open(conn, connector, *id).await?;
    Ok(Ok((units, store::backlog::restless(conn, connector, *id).await?)))
}

/// Something has to wait until access is gone.
pub(super) fn is_live(what: &str, (units, objects): (i64, i64)) -> Status {
    status::precondition(
        "ACCESS_LIVE",
        format!(
            "{units} units of access are live in the integration, and {objects} objects in AWS are not at rest; end them before {what} (`grants revoke-all --integration …`, or revoke_first when deleting), and wait until they are gone"
        ),
    )
}

impl Api {
    /// Removes an integration, or begins to. Whether it is on its way.
    pub(super) async fn remove(
        &self,
        caller: &Caller,
        found: &Integration,
        version: Option<i64>,
        revoke_first: bool,
    ) -> Result<bool, Status> {
        let Integration { connector, id, settings, .. } = found;
        let mut tx = self.db.begin().await.map_err(|error| status::store(&error))?;
        let locked = async {
            // In the order in which a sync's end takes its locks.
            store::syncs::cancel_open(&mut tx, connector, *id, None, "deleted").await?;
            let locked = store::integrations::lock(&mut tx, connector, *id).await?;
            Ok((locked, live(&mut tx, found).await?))
        };
        let (locked, live) = locked.await.map_err(|error: store::Error| status::store(&error))?;
        let locked = locked.ok_or_else(|| status::not_found("integration", &settings.name))?;
        let live = live?;
        if version.is_some_and(|version| version != locked.version) {
            return Err(status::etag_is_old());
        }
        let goes_later = live != (0, 0);
        if goes_later && !revoke_first && locked.deleting_at.is_none() {
            return Err(is_live("deleting it", live));
        }
        let removed = async {
            if goes_later {
                store::integrations::set_deleting(&mut tx, connector, *id).await?;
            } else {
                store::integrations::delete(&mut tx, connector, *id, None).await?;
            }
            let verb = if goes_later { "INTEGRATION_DELETING" } else { "INTEGRATION_DELETED" };
            let (actor, object) = (&caller.actor(), settings.name.as_str());
            let act = New { verb, actor, object, ..New::default() };
            store::acts::note(&mut tx, connector, act).await?;
            tx.commit().await
        };
        removed.await.map_err(|error: store::Error| status::store(&error))?;
        self.removals.poke();
        let how =
            if goes_later { "is being deleted: its access ends first" } else { "was deleted" };
        info!(integration.id = %id, "integration {} {how}", settings.name);
        Ok(goes_later)
    }
}
