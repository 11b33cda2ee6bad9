//! One look at a target, and the one thing that comes of it.
//!
//! A step reads what is remembered, looks at AWS, and then, in one transaction that proves the
//! lease, asks what comes next and stores that: the intent of a call, the states of units, when to
//! look again. If a call comes next it is made after the commit, and its receipt is stored in
//! a second transaction.
//!
//! Invariant: no transaction waits for AWS, and no call is made whose intent is not committed.
//!
//! Crash safety: killed before the first commit, nothing has happened. Killed after it, the intent
//! stands in the row; the next step finds it without a request id and holds the target in
//! doubt. A receipt that comes after the lease was lost is refused by the fence, which comes to the
//! same.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::{
    Engine, OnRemoval,
    mechanisms::{self, Mechanism},
    site::Site,
};
use crate::{
    aws::ApiError,
    base::{backoff::Backoff, chain::Chain},
    model::{
        errand::Errand,
        failure::{Lane, ReasonCode},
        holding::{self, Holder},
        refusal::{Refusal, RefusalCode},
        target::{self, Next, Observed, Origin, Receipt, Target, Verb},
        unit::UnitState,
    },
    store::{
        self, Db, Tx,
        acts::{self, New},
        identity_centers::{self, Held},
        targets::{self, Course, Due, Going, Outlook, Stored},
        units,
    },
};

/// From one look at an operation to the next, at first and at most.
const BETWEEN_POLLS: (TimeDelta, TimeDelta) = (TimeDelta::milliseconds(300), TimeDelta::seconds(5));
/// AWS has been at work for longer than this: something is wrong.
const OPERATION_MAX: TimeDelta = TimeDelta::minutes(10);
/// A call that would be too many at once waits so long.
const TOO_MANY_WAIT: TimeDelta = TimeDelta::milliseconds(300);
/// Access that should be gone and may come back is looked for so often.
const BETWEEN_DOUBTS: TimeDelta = TimeDelta::seconds(10);
/// After a failure; it never gives up.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(1), max: Duration::from_mins(15) };

/// The step could not be taken; it is taken again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The database, or the lease is not ours any more.
    #[error("failed to store a step")]
    Store(#[from] store::Error),
}

/// What a step works with.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) engine: Engine,
    pub(super) held: Held,
    pub(super) site: Arc<Site>,
}

/// Takes a step with a target.
pub(super) async fn take(ground: &Ground, due: &Due) -> Result<(), Error> {
    let Some(stored) = read(&ground.engine.db, &ground.held, due).await? else { return Ok(()) };
    let Some(mechanism) = mechanisms::of(&stored.mechanism) else {
        return unknown(ground, &stored).await;
    };
    let lane = due.errand.lane();
    let observed = mechanism.observe(&ground.site, &stored.object, &stored.target, lane).await;
    let observed = match observed {
        Ok(observed) => observed,
        Err(error) => return unreadable(ground, &stored, error).await,
    };
    let step = Step { ground, mechanism, stored };
    let Some(verb) = step.decide(&observed).await? else { return Ok(()) };
    let lane = if verb == Verb::Delete { Lane::Revoke } else { Lane::Grant };
    let answer = mechanism.call(&ground.site, &step.stored.object, verb, lane).await;
    step.receive(verb, answer).await
}

async fn read(db: &Db, held: &Held, due: &Due) -> store::Result<Option<Stored>> {
    let mut conn = db.conn().await?;
    targets::get(&mut conn, &held.connector, due.id).await
}

/// A transaction that proves the lease, with the target as it is now and those who hold it.
/// None: it is not as it was when we looked, so the look means nothing.
struct Locked {
    tx: Tx,
    stored: Stored,
    holders: Vec<Holder>,
    now: DateTime<Utc>,
}

async fn lock(ground: &Ground, seen: &Stored) -> Result<Option<Locked>, Error> {
    let mut tx = ground.engine.db.begin().await?;
    identity_centers::lock(&mut tx, &ground.held).await?;
    let Some(stored) = targets::lock(&mut tx, &ground.held, seen.id).await? else {
        return Ok(None);
    };
    if stored.target != seen.target {
        return Ok(None);
    }
    let holders = targets::holders(&mut tx, &ground.held.connector, seen.id).await?;
    let now = store::now(&mut tx).await?;
    Ok(Some(Locked { tx, stored, holders, now }))
}

/// A holder that moves on: where to, and what ends it if it is refused.
type Move = (Holder, UnitState, Option<Refusal>);

/// What comes of a look, for a target and those who hold it.
struct Outcome {
    target: Target,
    course: Course,
    moves: Vec<Move>,
}

impl Locked {
    /// Stores what comes of a look.
    async fn store(mut self, ground: &Ground, outcome: Outcome) -> Result<(), Error> {
        let connector = &ground.held.connector;
        let (id, key) = (self.stored.id, &self.stored.key);
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
        for (holder, to, refusal) in &outcome.moves {
            let unit = (holder.grant.as_str(), holder.number);
            let states = (holder.state, *to);
            units::set_state(&mut self.tx, connector, unit, states, refusal.as_ref()).await?;
            let detail = match refusal {
                Some(refusal) => format!("{to}: {refusal}"),
                None => to.to_string(),
            };
            let act = New {
                grant: &holder.grant,
                verb: "STATE",
                actor: acts::CONNECTOR,
                object: key,
                detail: &detail,
            };
            acts::note(&mut self.tx, connector, act).await?;
        }
        self.tx.commit().await?;
        for (holder, to, _) in &outcome.moves {
            info!(grant.id = holder.grant, "{key} of grant {} is {to}", holder.grant);
        }
        Ok(())
    }

    /// Notes a call, or what AWS said to it, for each who holds the target.
    async fn note(&mut self, ground: &Ground, verb: &str, detail: &str) -> Result<(), Error> {
        let mut grants: Vec<&str> =
            self.holders.iter().map(|holder| holder.grant.as_str()).collect();
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

    /// How holders move on after a look. A refusal ends those who want the target.
    fn moves(&self, next: &Next, refusal: Option<&Refusal>) -> Vec<Move> {
        let is_wanted = refusal.is_none() && holding::is_wanted(&self.holders, self.now);
        let moved = self.holders.iter().filter_map(|holder| {
            if let Some(refusal) = refusal.filter(|_| holder.is_live(self.now)) {
                return Some((holder.clone(), UnitState::Failed, Some(refusal.clone())));
            }
            let to = holding::state_after(holder, next, is_wanted, self.now)?;
            Some((holder.clone(), to, None))
        });
        moved.collect()
    }

    /// When to look again after a failure: never behind an end.
    fn after_failure(&self) -> DateTime<Utc> {
        let failures = u32::try_from(self.stored.failures).unwrap_or_default();
        let wait = AFTER_FAILURE.after(failures.saturating_add(1));
        let again = self.now + TimeDelta::from_std(wait).unwrap_or_default();
        holding::next_end(&self.holders, self.now).map_or(again, |end| end.min(again))
    }
}

struct Step<'a> {
    ground: &'a Ground,
    mechanism: &'static dyn Mechanism,
    stored: Stored,
}

impl Step<'_> {
    /// Decides what comes next and stores it; the call to make, if one is.
    async fn decide(&self, observed: &Observed) -> Result<Option<Verb>, Error> {
        let ground = self.ground;
        let config = &ground.engine.config;
        let Some(mut locked) = lock(ground, &self.stored).await? else { return Ok(None) };
        let now = locked.now;
        let settling = TimeDelta::from_std(config.settling).unwrap_or_default();
        let is_wanted = holding::is_wanted(&locked.holders, now);
        let look =
            |is_wanted| target::decide(&self.stored.target, is_wanted, observed, now, settling);
        let (mut target, mut next) = look(is_wanted);
        let was_there = locked.holders.iter().any(|holder| holder.state == UnitState::Active);
        let is_missing = next == Next::Call(Verb::Create) && was_there;
        // Until our last call has settled, AWS may only show it late.
        let has_settled = self.stored.target.settles_at.is_none_or(|at| at <= now);
        let is_removed = is_missing && has_settled;
        let reports = config.on_removal == OnRemoval::Report;
        if is_missing && reports && !has_settled {
            return self.look_again(locked, now + BETWEEN_POLLS.1).await;
        }
        let mut refusal = None;
        if is_removed && reports {
            let finding = format!("{} was removed in AWS before its end", self.stored.key);
            refusal = Some(Refusal::new(RefusalCode::RemovedByOthers, finding));
            (target, next) = look(false);
        }
        if let Next::Failed(Verb::Create, words) = &next {
            refusal = self.mechanism.refusal(words);
        }
        if matches!(next, Next::Call(_)) && self.is_full(&mut locked).await? {
            return self.look_again(locked, now + TOO_MANY_WAIT).await;
        }
        if is_removed {
            self.removed_by_others(&mut locked).await?;
        }
        if let Next::Call(verb) = next {
            locked.note(ground, "CALL", verb.as_str()).await?;
        }
        let moves = locked.moves(&next, refusal.as_ref());
        let course = self.course(&locked, &target, &next, refusal.is_some());
        locked.store(ground, Outcome { target, course, moves }).await?;
        Ok(match next {
            Next::Call(verb) => Some(verb),
            Next::Poll
            | Next::Failed(..)
            | Next::Hold
            | Next::Done
            | Next::Leave { .. }
            | Next::Verify { .. } => None,
        })
    }

    /// Leaves all as it was, and looks again.
    async fn look_again(&self, locked: Locked, at: DateTime<Utc>) -> Result<Option<Verb>, Error> {
        let course = Course { next_at: Some(at), is_observed: true, going: Going::On };
        let target = self.stored.target.clone();
        locked.store(self.ground, Outcome { target, course, moves: Vec::new() }).await?;
        Ok(None)
    }

    /// Whether AWS is at work on as many as it takes at once.
    async fn is_full(&self, locked: &mut Locked) -> Result<bool, Error> {
        let (all, here) =
            targets::under_way(&mut locked.tx, &self.ground.held, &self.stored).await?;
        let most = self.mechanism.calls_at_once(&self.ground.engine.config);
        Ok(most.is_some_and(|most| all >= most) || here > 0)
    }

    /// What is held is not there any more.
    async fn removed_by_others(&self, locked: &mut Locked) -> Result<(), Error> {
        metrics::counter!("connector_access_removed_by_others_total").increment(1);
        warn!("{} was removed by others before its end", self.stored.key);
        locked.note(self.ground, "DRIFT", "it was removed by others before its end").await
    }

    /// When to look again, and whether something is wrong.
    fn course(&self, locked: &Locked, target: &Target, next: &Next, is_refused: bool) -> Course {
        let now = locked.now;
        let config = &self.ground.engine.config;
        let audit_at = now + TimeDelta::from_std(config.audit).unwrap_or_default();
        let end = holding::next_end(&locked.holders, now).filter(|_| !is_refused);
        let mut going = Going::Well;
        let next_at = match next {
            // Until the receipt is stored, whoever comes looks at once.
            Next::Call(_) => {
                going = Going::On;
                Some(now)
            }
            Next::Poll => {
                let since = target.intent.as_ref().map(|intent| now - intent.since);
                let (first, most) = BETWEEN_POLLS;
                let wait = since.map_or(most, |since| (since / 4).clamp(first, most));
                going = if since.is_some_and(|since| since > OPERATION_MAX) {
                    Going::Badly("AWS has been at work on it for more than ten minutes".to_owned())
                } else {
                    Going::On
                };
                Some(now + wait)
            }
            Next::Failed(..) if is_refused => Some(now),
            Next::Failed(verb, words) => {
                let why = format!("to {} it failed in AWS: {words}", verb.as_str());
                going = Going::Badly(why);
                Some(locked.after_failure())
            }
            Next::Hold => Some(audit_at),
            Next::Done | Next::Leave { .. } => None,
            Next::Verify { until, .. } if end.is_some() => Some(audit_at.min(*until)),
            Next::Verify { until, is_doubtful: true } => Some((now + BETWEEN_DOUBTS).min(*until)),
            Next::Verify { until, .. } => Some(*until),
        };
        let next_at = match (next_at, end) {
            (Some(at), Some(end)) => Some(at.min(end)),
            (at, None) => at,
            (None, end) => end,
        };
        Course { next_at, is_observed: *next != Next::Poll, going }
    }

    /// Stores what AWS said to the call.
    async fn receive(&self, verb: Verb, answer: Result<String, ApiError>) -> Result<(), Error> {
        let ground = self.ground;
        let mut tx = ground.engine.db.begin().await?;
        identity_centers::lock(&mut tx, &ground.held).await?;
        let Some(stored) = targets::lock(&mut tx, &ground.held, self.stored.id).await? else {
            return Ok(());
        };
        let holders = targets::holders(&mut tx, &ground.held.connector, self.stored.id).await?;
        let now = store::now(&mut tx).await?;
        let mut locked = Locked { tx, stored, holders, now };
        let mut refusal = None;
        let mut course = Course { next_at: Some(now), is_observed: false, going: Going::On };
        let receipt = match answer {
            Ok(request) => {
                locked.note(ground, "ACCEPTED", &format!("{} {request}", verb.as_str())).await?;
                if !self.mechanism.is_done_at_once() {
                    course.next_at = Some(now + BETWEEN_POLLS.0);
                }
                Receipt::Accepted(request)
            }
            Err(error) => {
                let receipt = if error.leaves_doubt { Receipt::Lost } else { Receipt::Refused };
                let said = if error.leaves_doubt { "NO_ANSWER" } else { "REFUSED" };
                locked.note(ground, said, &format!("{}: {error}", verb.as_str())).await?;
                renew_if_ended(ground, &error).await;
                let is_refused = verb == Verb::Create && receipt == Receipt::Refused;
                refusal = error.refusal().filter(|_| is_refused);
                if refusal.is_none() {
                    // The intent of a call whose end nobody knows holds up its place, and what
                    // nobody wants any more is not waited for.
                    let is_urgent = receipt == Receipt::Lost
                        || (verb == Verb::Create && !holding::is_wanted(&locked.holders, now));
                    let again = locked.after_failure();
                    let soon = now + BETWEEN_POLLS.1;
                    course.next_at = Some(if is_urgent { again.min(soon) } else { again });
                    course.going = Going::Badly(error.to_string());
                }
                receipt
            }
        };
        let target = target::receive(&locked.stored.target, receipt);
        // Without a refusal, all move on with the next look.
        let moves = match &refusal {
            Some(_) => locked.moves(&Next::Poll, refusal.as_ref()),
            None => Vec::new(),
        };
        locked.store(ground, Outcome { target, course, moves }).await
    }
}

pub(super) async fn renew_if_ended(ground: &Ground, error: &ApiError) {
    if error.reason.code == ReasonCode::CredentialsExpired {
        ground.site.renew().await;
    }
}

/// A newer version gives this access; it is for that to take it away.
async fn unknown(ground: &Ground, seen: &Stored) -> Result<(), Error> {
    let Some(locked) = lock(ground, seen).await? else { return Ok(()) };
    let why = mechanisms::Error::Unknown(seen.mechanism.clone()).to_string();
    warn!("{}: {why}", seen.key);
    let course = Course {
        next_at: Some(locked.after_failure()),
        is_observed: false,
        going: Going::Badly(why),
    };
    let target = locked.stored.target.clone();
    locked.store(ground, Outcome { target, course, moves: Vec::new() }).await
}

/// AWS could not be looked at. Nothing that we hold is taken for gone. Where nothing of ours can
/// be there, who waits is told why it cannot be given, and who has waited too long is let go.
async fn unreadable(ground: &Ground, seen: &Stored, error: ApiError) -> Result<(), Error> {
    renew_if_ended(ground, &error).await;
    let Some(locked) = lock(ground, seen).await? else { return Ok(()) };
    let target = locked.stored.target.clone();
    // Nothing of ours is there, or can still come.
    let is_blank = target.origin != Some(Origin::Made)
        && target.intent.is_none()
        && !target.doubt.is_any()
        && target.settles_at.is_none_or(|at| at <= locked.now);
    let look = if is_blank { Next::Done } else { Next::Poll };
    let moves = locked.moves(&look, error.refusal().filter(|_| is_blank).as_ref());
    let is_left =
        |holder: &&Holder| !moves.iter().any(|(moved, to, _)| moved == *holder && to.is_final());
    let course = if is_blank && locked.holders.iter().filter(is_left).count() == 0 {
        Course { next_at: None, is_observed: false, going: Going::Well }
    } else {
        let going = Going::Badly(error.to_string());
        Course { next_at: Some(locked.after_failure()), is_observed: false, going }
    };
    warn!(error = %Chain(&error), "failed to look at {}; trying again", seen.key);
    locked.store(ground, Outcome { target, course, moves }).await
}
