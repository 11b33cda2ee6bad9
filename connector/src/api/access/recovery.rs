//! What a restored database has forgotten, and the end of that.

use apono_connector_proto::v1::{
    self, EndRecoveryRequest, EndRecoveryResponse, ForgottenChange, UnreadIntegration,
};
use tonic::Status;
use tracing::info;

use super::super::{Api, auth::Caller, status, words};
use crate::{
    access::mechanisms::MECHANISMS,
    base::chance,
    model::{
        ids::{ConnectorId, TargetId},
        target::Verb,
    },
    store::{
        self, PgConnection,
        acts::New,
        recovery::{self, Forgotten},
    },
};

/// The recovery that a connector is in, with all that is known of it.
pub(super) async fn get(
    conn: &mut PgConnection,
    connector: &ConnectorId,
) -> store::Result<Option<v1::Recovery>> {
    let Some(found) = recovery::get(conn, connector).await? else { return Ok(None) };
    let (made, removed) = told_apart(recovery::forgotten(conn, connector).await?);
    let unread = recovery::unread(conn, connector).await?.into_iter();
    let unread = unread.map(|unread| UnreadIntegration {
        integration: unread.integration,
        trouble: unread.trouble,
    });
    Ok(Some(v1::Recovery {
        start_time: Some(words::timestamp(found.since)),
        remembered_until_time: Some(words::timestamp(found.remembered_until)),
        cause: found.cause,
        live_grants: found.live_grants,
        made: made.into_iter().map(shown).collect(),
        removed: removed.into_iter().map(shown).collect(),
        unread: unread.collect(),
        untold_mechanisms: untold_mechanisms(),
    }))
}

/// The mechanisms of whose changes AWS keeps no record.
fn untold_mechanisms() -> Vec<String> {
    let untold = MECHANISMS.iter().filter(|mechanism| !mechanism.is_recorded());
    untold.map(|mechanism| mechanism.name().to_owned()).collect()
}

/// What was made, and what was removed.
fn told_apart(all: Vec<Forgotten>) -> (Vec<Forgotten>, Vec<Forgotten>) {
    all.into_iter().partition(|one| one.change.verb == Verb::Create)
}

fn shown(forgotten: Forgotten) -> ForgottenChange {
    let Forgotten { integration, change, grants } = forgotten;
    ForgottenChange {
        request_id: change.request,
        integration_id: integration.to_string(),
        time: Some(words::timestamp(change.at)),
        mechanism: change.mechanism,
        account_id: change.account.to_string(),
        object: change.key,
        grant_ids: grants,
    }
}

impl Api {
    /// Ends the recovery of a connector.
    pub(super) async fn go_on(
        &self,
        caller: &Caller,
        connector: &ConnectorId,
        request: &EndRecoveryRequest,
    ) -> Result<EndRecoveryResponse, Status> {
        let unanswered = |error: store::Error| status::store(&error);
        let mut tx = self.db.begin().await.map_err(unanswered)?;
        let read = async {
            let found = recovery::lock(&mut tx, connector).await?;
            let unread = recovery::unread(&mut tx, connector).await?;
            Ok((found, unread, recovery::forgotten(&mut tx, connector).await?))
        };
        let (is_recovering, unread, forgotten) = read.await.map_err(unanswered)?;
        if !is_recovering {
            return Err(status::precondition("NOT_RECOVERING", "the connector is not recovering"));
        }
        let names: Vec<&str> = unread.iter().map(|one| one.integration.as_str()).collect();
        if !names.is_empty() && !request.accept_unread {
            let message = format!(
                "AWS has not told of {}; see `recovery` for why, or set accept_unread",
                names.join(", ")
            );
            return Err(status::precondition("RECOVERY_UNREAD", message));
        }
        let (made, removed) = told_apart(forgotten);
        let (own, others) = own(made, request)?;
        let mechanisms = untold_mechanisms();
        let untold = recovery::untold(&mut tx, connector, &mechanisms).await;
        let untold = untold.map_err(unanswered)?;
        let mut revoked: Vec<&String> =
            removed.iter().flat_map(|one| &one.grants).chain(&untold).collect();
        revoked.sort_unstable();
        revoked.dedup();
        let ended = async {
            let actor = caller.actor();
            let mut grants = Vec::with_capacity(revoked.len());
            for id in &revoked {
                grants.extend(store::grants::lock(&mut tx, connector, id).await?);
            }
            for grant in &grants {
                store::wishes::revoke(&mut tx, connector, grant).await?;
                let id = grant.id.as_str();
                let detail = "its access was removed in the time that the database has forgotten, or may have been";
                let act = New { grant: id, verb: "REVOKED", actor: &actor, object: "", detail };
                store::acts::note(&mut tx, connector, act).await?;
            }
            for forgotten in &own {
                let fresh = TargetId(chance::uuid());
                recovery::take_for_ours(&mut tx, connector, forgotten, fresh).await?;
                let object = &forgotten.change.key;
                let detail = &forgotten.change.request;
                let act = New { grant: "", verb: "OWNED", actor: &actor, object, detail };
                store::acts::note(&mut tx, connector, act).await?;
            }
            for forgotten in &others {
                recovery::leave_to_others(&mut tx, connector, forgotten).await?;
            }
            recovery::end(&mut tx, connector).await?;
            let (verb, detail) = ("RECOVERED", request.reason.as_str());
            let act = New { grant: "", verb, actor: &actor, object: "", detail };
            store::acts::note(&mut tx, connector, act).await?;
            tx.commit().await
        };
        ended.await.map_err(unanswered)?;
        info!("the recovery has ended; access is given and taken away again");
        Ok(EndRecoveryResponse {
            owned: i32::try_from(own.len()).unwrap_or(i32::MAX),
            revoked_grant_ids: revoked.into_iter().cloned().collect(),
        })
    }
}

/// What was made and is said to be our own, and what is not.
fn own(
    made: Vec<Forgotten>,
    request: &EndRecoveryRequest,
) -> Result<(Vec<Forgotten>, Vec<Forgotten>), Status> {
    if request.own_all && !request.own_request_ids.is_empty() {
        return Err(status::bad_request("own_request_ids", "say either these or own_all"));
    }
    for id in &request.own_request_ids {
        if !made.iter().any(|forgotten| forgotten.change.request == *id) {
            let reason = format!("{id:?} is no request of what was made; see GetRecovery");
            return Err(status::bad_request("own_request_ids", reason));
        }
    }
    Ok(made.into_iter().partition(|forgotten| {
        request.own_all || request.own_request_ids.contains(&forgotten.change.request)
    }))
}
