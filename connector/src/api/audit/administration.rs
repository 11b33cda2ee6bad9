//! What was asked of the connector and what it did: whether that is as it was noted, and erasing whom it was about.

use apono_connector_proto::v1::{ErasePrincipalRequest, VerifyActsResponse};
use tonic::Status;

use crate::{
    api::{Api, auth::Caller, grants, status},
    model::{
        assignment::Principal,
        ids::ConnectorId,
        seal::{Broken, Head, How},
    },
    store::{
        self,
        acts::{self, New},
        erasure, seals, wishes,
    },
};

impl Api {
    /// Walks the chain of seals up to where it is broken first.
    pub(super) async fn verify(
        &self,
        connector: &ConnectorId,
        kept: Option<Head>,
    ) -> store::Result<VerifyActsResponse> {
        let mut answer = VerifyActsResponse::default();
        let (mut head, mut broken) = (Head::NONE, None);
        let (unsealed, orphan) = loop {
            // Somebody else may need the connection in between.
            let mut conn = self.db.conn().await?;
            let next = seals::next(&mut conn, connector, head.number).await?;
            let Some((seal, acts)) = next else {
                let (unsealed, orphan, last) = seals::unsealed(&mut conn, connector).await?;
                // What was sealed meanwhile is under neither.
                if last > head.number {
                    continue;
                }
                break (unsealed, orphan);
            };
            drop(conn);
            match head.verify(connector.as_str(), &seal, &acts) {
                Ok(next) => head = next,
                Err(found) => {
                    broken = Some(found);
                    break self.unsealed(connector).await?;
                }
            }
            if kept.is_some_and(|kept| kept.number == head.number && kept != head) {
                broken = Some(Broken { seal: head.number, act: None, how: How::SealChanged });
                break self.unsealed(connector).await?;
            }
            answer.acts += i64::try_from(acts.len()).unwrap_or(i64::MAX);
            let erased = acts.iter().filter(|act| act.erased.is_some()).count();
            answer.erased_acts += i64::try_from(erased).unwrap_or(i64::MAX);
            answer.seals += 1;
        };
        let is_cut = orphan.is_some() || kept.is_some_and(|kept| kept.number > head.number);
        let cut = Broken { seal: head.number + 1, act: None, how: How::SealMissing };
        let broken = broken.or_else(|| is_cut.then_some(cut));
        if let Some(Broken { seal, act, .. }) = broken {
            answer.broken_seal = seal;
            answer.broken_act = act.unwrap_or_default();
        }
        answer.broken = broken.map(|broken| broken.to_string()).unwrap_or_default();
        answer.head = head.to_string();
        answer.unsealed_acts = unsealed;
        Ok(answer)
    }

    async fn unsealed(&self, connector: &ConnectorId) -> store::Result<(i64, Option<i64>)> {
        let mut conn = self.db.conn().await?;
        let (unsealed, orphan, _) = seals::unsealed(&mut conn, connector).await?;
        Ok((unsealed, orphan))
    }

    /// Erases what tells of somebody; the grants that were theirs.
    pub(super) async fn erase(
        &self,
        caller: &Caller,
        connector: &ConnectorId,
        request: &ErasePrincipalRequest,
    ) -> Result<Vec<String>, Status> {
        let ErasePrincipalRequest { principal, reason, validate_only, .. } = request;
        status::refuse_nul("principal", principal)?;
        if principal.is_empty() {
            return Err(status::bad_request("principal", "is required; name them as grants do"));
        }
        grants::reason(reason)?;
        if reason.trim().is_empty() && !validate_only {
            return Err(status::bad_request("reason", "is required; do not name the person in it"));
        }
        let failed = |error: store::Error| status::store(&error);
        let mut tx = self.db.begin().await.map_err(failed)?;
        let found = erasure::principals(&mut tx, connector, principal).await.map_err(failed)?;
        if found.len() > 1 {
            let ids: Vec<&str> = found.iter().map(Principal::id).collect();
            let message = format!(
                "{} go by {principal:?}: name one by its id, {}",
                found.len(),
                ids.join(" or ")
            );
            return Err(status::precondition("PRINCIPAL_AMBIGUOUS", message));
        }
        let meant = erasure::grants_of(&mut tx, connector, principal).await.map_err(failed)?;
        for held in &meant {
            wishes::lock_id(&mut tx, connector, &held.grant).await.map_err(failed)?;
        }
        // By now nobody changes them any more.
        let meant = erasure::grants_of(&mut tx, connector, principal).await.map_err(failed)?;
        if meant.is_empty() {
            return Err(status::not_found("principal", principal));
        }
        let live: Vec<&str> =
            meant.iter().filter(|held| !held.is_over).map(|held| held.grant.as_str()).collect();
        if let Some(first) = live.first() {
            let message = "are not over, or sessions of them may be open: revoke them, and wait for the end of the longest session (twelve hours at most)";
            let all = live.len();
            let message = format!("{all} of their grants ({first}, …) {message}");
            return Err(status::precondition("GRANTS_LIVE", message));
        }
        let ids: Vec<String> = meant.into_iter().map(|held| held.grant).collect();
        if *validate_only {
            return Ok(ids);
        }
        erasure::erase(&mut tx, connector, &ids).await.map_err(failed)?;
        let actor = caller.actor();
        let detail = format!("{} grants: {reason}", ids.len());
        let act = New { verb: "ERASED", actor: &actor, detail: &detail, ..New::default() };
        acts::note(&mut tx, connector, act).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(ids)
    }
}
