//! The transaction in which a step stores what comes of it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tracing::info;

use super::{AFTER_FAILURE, Error, Ground};
use crate::{
    model::{
        errand::Errand,
        holding::{self, Holder, Look},
        ids::{ConnectorId, TargetId},
        refusal::{Refusal, RefusalCode},
        share::Content,
        target::Target,
        unit::UnitState,
    },
    store::{
        self, Tx,
        acts::{self, New},
        holdings, identity_centers,
        targets::{self, Course, Outlook, Stored},
        units,
    },
};

/// A transaction that proves the lease, with the target as it is now and those who hold it.
pub(super) struct Locked {
    pub(super) tx: Tx,
    pub(super) stored: Stored,
    pub(super) holders: Vec<Holder>,
    pub(super) now: DateTime<Utc>,
}

/// None: somebody has given the target up.
pub(super) async fn lock(ground: &Ground, id: TargetId) -> Result<Option<Locked>, Error> {
    let mut tx = ground.engine.db.begin().await?;
    identity_centers::lock(&mut tx, &ground.held).await?;
    holdings::lock_all(&mut tx, &ground.held.connector, id).await?;
    let Some(stored) = targets::lock(&mut tx, &ground.held, id).await? else { return Ok(None) };
    let holders = holdings::holders(&mut tx, &ground.held.connector, id).await?;
    let now = store::now(&mut tx).await?;
    Ok(Some(Locked { tx, stored, holders, now }))
}

/// The same after a look. None: the target is not as it was then, so the look means nothing.
pub(super) async fn lock_seen(ground: &Ground, seen: &Stored) -> Result<Option<Locked>, Error> {
    let locked = lock(ground, seen.id).await?;
    Ok(locked.filter(|locked| locked.stored.target == seen.target))
}

/// A holder that moves on: where to, and what ends it if it is refused.
pub(super) type Move = (Holder, UnitState, Option<Refusal>);

/// What comes of a look, for a target and those who hold it.
pub(super) struct Outcome {
    pub(super) target: Target,
    pub(super) course: Course,
    pub(super) moves: Vec<Move>,
    pub(super) facts: Option<Value>,
}

impl Outcome {
    /// Nothing but when to look again.
    pub(super) fn unchanged(stored: &Stored, course: Course) -> Self {
        Self { target: stored.target.clone(), course, moves: Vec::new(), facts: None }
    }
}

impl Locked {
    /// Stores what comes of a look.
    pub(super) async fn store(mut self, ground: &Ground, outcome: Outcome) -> Result<(), Error> {
        let connector = &ground.held.connector;
        let (id, key) = (self.stored.id, self.stored.key.clone());
        for (holder, to, _) in &outcome.moves {
            let mut held = self.holders.iter_mut();
            if let Some(held) = held.find(|held| *held == holder) {
                held.state = *to;
            }
        }
        let next_at = outcome.course.next_at.unwrap_or(self.now);
        let outlook = Outlook {
            errand: Errand::at(next_at, &outcome.target, &self.holders),
            unwanted_at: holding::last_end(&self.holders, self.now),
        };
        let Outcome { target, course, .. } = &outcome;
        targets::write(&mut self.tx, connector, id, target, course, outlook).await?;
        if let Some(facts) = outcome.facts.as_ref().filter(|facts| **facts != self.stored.facts) {
            targets::note_facts(&mut self.tx, connector, id, facts).await?;
        }
        for one in &outcome.moves {
            self.move_on(connector, one).await?;
        }
        self.tx.commit().await?;
        for (holder, to, _) in &outcome.moves {
            info!(grant.id = holder.grant, "{key} of grant {} is {to}", holder.grant);
        }
        Ok(())
    }

    /// Moves a holder on, and its unit with it; what else the unit holds is looked at then.
    async fn move_on(
        &mut self,
        connector: &ConnectorId,
        (holder, to, refusal): &Move,
    ) -> Result<(), Error> {
        let id = self.stored.id;
        holdings::set_state(&mut self.tx, connector, (holder, id), *to).await?;
        let unit = holder.unit_with(*to, self.now);
        if unit != holder.unit {
            let of = (holder.grant.as_str(), holder.number);
            let states = (holder.unit, unit);
            units::set_state(&mut self.tx, connector, of, states, refusal.as_ref()).await?;
        }
        if !holder.others.is_alone() {
            let errand = if holder.is_live(self.now) && unit != UnitState::Failed {
                Errand::Grant
            } else {
                Errand::Revoke
            };
            holdings::wake_beside(&mut self.tx, connector, holder, id, errand).await?;
        }
        let detail = match refusal {
            Some(refusal) => format!("{to}: {refusal}"),
            None => to.to_string(),
        };
        let act = New {
            grant: &holder.grant,
            verb: "STATE",
            actor: acts::CONNECTOR,
            object: &self.stored.key,
            detail: &detail,
        };
        acts::note(&mut self.tx, connector, act).await?;
        Ok(())
    }

    /// Notes a call, or what AWS said to it, for each who holds the target.
    pub(super) async fn note(
        &mut self,
        ground: &Ground,
        verb: &str,
        detail: &str,
    ) -> Result<(), Error> {
        let mut grants: Vec<&str> =
            self.holders.iter().map(|holder| holder.grant.as_str()).collect();
        // Several units of a grant may hold it.
        grants.dedup();
        if grants.is_empty() {
            grants.push("");
        }
        for grant in grants {
            let (actor, object) = (acts::CONNECTOR, self.stored.key.as_str());
            let act = New { grant, verb, actor, object, detail };
            acts::note(&mut self.tx, &ground.held.connector, act).await?;
        }
        Ok(())
    }

    /// How holders move on after a look. A refusal ends those who want the target, and have not got
    /// what they want.
    pub(super) fn moves(&self, look: &Look, refusal: Option<&Refusal>) -> Vec<Move> {
        let lacks = |at: &usize| {
            let shares = &look.shares;
            let lacks = shares.content == Content::None || shares.lacking.contains(at);
            lacks && self.holders[*at].is_live(self.now)
        };
        let mut refused: Vec<usize> = (0..self.holders.len()).filter(lacks).collect();
        let is_full = refusal.is_some_and(|refusal| refusal.code == RefusalCode::QuotaExceeded);
        if is_full && look.shares.content != Content::None {
            // Without the largest of those that wait there may be room for the others.
            refused.sort_by_key(|at| self.holders[*at].weight());
            refused.drain(..refused.len().saturating_sub(1));
        }
        let moved = self.holders.iter().enumerate().filter_map(|(at, holder)| {
            if let Some(refusal) = refusal.filter(|_| refused.contains(&at)) {
                return Some((holder.clone(), UnitState::Failed, Some(refusal.clone())));
            }
            let to = holding::state_after((at, holder), look, self.now)?;
            Some((holder.clone(), to, None))
        });
        moved.collect()
    }

    /// When to look again after a failure: never behind an end.
    pub(super) fn after_failure(&self) -> DateTime<Utc> {
        let failures = u32::try_from(self.stored.failures).unwrap_or_default();
        let wait = AFTER_FAILURE.after(failures.saturating_add(1));
        let again = self.now + TimeDelta::from_std(wait).unwrap_or_default();
        holding::next_end(&self.holders, self.now).map_or(again, |end| end.min(again))
    }
}
