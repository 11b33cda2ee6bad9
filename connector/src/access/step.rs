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
use serde_json::Value;
use tracing::warn;

use super::{
    Config, Engine, OnRemoval,
    mechanisms::{self, Answer, Call, Kind, Seen},
    site::Site,
};
use crate::{
    aws::ApiError,
    base::{backoff::Backoff, chain::Chain},
    model::{
        failure::{Lane, ReasonCode},
        holding::{self, Holder, Look},
        refusal::{Refusal, RefusalCode},
        target::{self, Next, Observed, Origin, Receipt, Target, Verb},
        unit::UnitState,
    },
    store::{
        self, doubts, holdings,
        identity_centers::Held,
        targets::{self, Course, Due, Going, Stored},
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

mod locked;

use self::locked::{Locked, Outcome, lock, lock_seen};

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
    let Some(Read { mut stored, is_early, now }) = read(ground, due).await? else { return Ok(()) };
    let Some(kind) = mechanisms::kind(&stored.mechanism) else {
        return unknown(ground, &stored).await;
    };
    if is_early {
        return wait_for_others(ground, &stored).await;
    }
    let lane = due.errand.lane();
    let look = mechanisms::Look { object: &stored.object, target: &stored.target, now };
    let seen = match kind.observe(&ground.site, &look, lane).await {
        Ok(seen) => seen,
        Err(error) => return unreadable(ground, &stored, error).await,
    };
    learn(&mut stored.object, seen.facts.as_ref());
    let step = Step { ground, kind, stored, before: seen.body.clone() };
    let Some(call) = step.decide(&seen).await? else { return Ok(()) };
    let answer = kind.call(&ground.site, &call).await;
    step.receive(call.verb, answer).await
}

/// A target that is to be looked at.
struct Read {
    stored: Stored,
    /// It is too early to look at it: nothing of ours is there, and nothing can be made yet.
    is_early: bool,
    now: DateTime<Utc>,
}

/// Reads a target, with what AWS has told of it and of those that it builds on.
async fn read(ground: &Ground, due: &Due) -> store::Result<Option<Read>> {
    let connector = &ground.held.connector;
    let mut conn = ground.engine.db.conn().await?;
    let Some(mut stored) = targets::get(&mut conn, connector, due.id).await? else {
        return Ok(None);
    };
    // Before the facts of what it builds on: those are there when that is.
    let holders = holdings::holders(&mut conn, connector, due.id).await?;
    let below = holdings::facts_below(&mut conn, connector, due.id).await?;
    learn(&mut stored.object, Some(&below));
    let own = stored.facts.clone();
    learn(&mut stored.object, Some(&own));
    let now = store::now(&mut conn).await?;
    let has_ground = holders.is_empty() || holders.iter().any(Holder::may_begin);
    let is_early = is_blank(&stored.target, now) && !has_ground;
    Ok(Some(Read { stored, is_early, now }))
}

/// Adds what AWS has told to what an object's kind says of it.
fn learn(object: &mut Value, facts: Option<&Value>) {
    if let (Value::Object(object), Some(Value::Object(facts))) = (object, facts) {
        object.extend(facts.clone());
    }
}

/// Whether nothing of ours is there, or can still come.
fn is_blank(target: &Target, now: DateTime<Utc>) -> bool {
    target.origin != Some(Origin::Made)
        && target.intent.is_none()
        && !target.doubt.is_any()
        && target.settles_at.is_none_or(|at| at <= now)
}

struct Step<'a> {
    ground: &'a Ground,
    kind: &'static dyn Kind,
    stored: Stored,
    /// What was in the target.
    before: Value,
}

impl Step<'_> {
    /// Decides what comes next and stores it; the call to make, if one is.
    async fn decide(&self, seen: &Seen) -> Result<Option<Call>, Error> {
        let ground = self.ground;
        let config = &ground.engine.config;
        let Some(mut locked) = lock_seen(ground, &self.stored).await? else { return Ok(None) };
        let now = locked.now;
        let settling = TimeDelta::from_std(config.settling).unwrap_or_default();
        let shares = match self.kind.shares(&seen.body, &locked.holders, now) {
            Ok(shares) => shares,
            // A newer version's words: it is for that to go on.
            Err(error) => {
                let going = Going::Badly(error.to_string());
                let next_at = Some(locked.after_failure());
                let course = Course { next_at, is_observed: false, going };
                locked.store(ground, Outcome::unchanged(&self.stored, course)).await?;
                return Ok(None);
            }
        };
        let observed = Observed { content: shares.content, ..seen.observed.clone() };
        let is_present = observed.is_present;
        let wanted = holding::is_wanted(&locked.holders, now);
        let decide = |is_wanted| {
            let (target, next) =
                target::decide(&self.stored.target, is_wanted, &observed, now, settling);
            (target, Look { next, is_wanted, is_present, shares: shares.clone() })
        };
        let (mut target, mut look) = decide(wanted);
        let makes = look.next == Next::Call(Verb::Create) && !is_present;
        if makes && !holding::may_begin(&locked.holders, now) {
            // What was under way has ended, and holds up nobody.
            let course = again(&locked, now + audit(config));
            let (target, _) = decide(false);
            let outcome = Outcome { target, ..Outcome::unchanged(&self.stored, course) };
            locked.store(ground, outcome).await?;
            return Ok(None);
        }
        let was_there = locked.holders.iter().any(|holder| holder.state == UnitState::Active);
        let is_missing = makes && was_there;
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
            (target, look) = decide(false);
        }
        if let Next::Failed(Verb::Create, words) = &look.next {
            refusal = self.kind.refusal(words);
        }
        if matches!(look.next, Next::Call(_))
            && let Some(until) = self.is_full_until(&mut locked).await?
        {
            return self.look_again(locked, until).await;
        }
        if is_removed {
            self.removed_by_others(&mut locked).await?;
        }
        let call = self.call(&locked, &look);
        if let Some(call) = &call {
            locked.note(ground, "CALL", call.verb.as_str()).await?;
        }
        let moves = locked.moves(&look, refusal.as_ref());
        let is_refused = moves.iter().any(|(.., refusal)| refusal.is_some());
        let course = self.course(&locked, &target, &look.next, is_refused);
        let facts = seen.facts.clone();
        locked.store(ground, Outcome { target, course, moves, facts }).await?;
        Ok(call)
    }

    /// The call that comes next. Who waits for access, or for its end, comes before what is only put in
    /// order.
    fn call(&self, locked: &Locked, look: &Look) -> Option<Call> {
        let Next::Call(verb) = look.next else { return None };
        let now = locked.now;
        let waits = |holder: &Holder| holder.is_live(now) && holder.state == UnitState::Pending;
        let is_awaited = verb == Verb::Create && locked.holders.iter().any(waits);
        Some(Call {
            object: self.stored.object.clone(),
            lane: if is_awaited { Lane::Grant } else { Lane::Revoke },
            verb,
            is_present: look.is_present,
            before: self.before.clone(),
            after: self.kind.body(&locked.holders, now),
            now,
        })
    }

    /// Leaves all as it was, and looks again.
    async fn look_again<T>(&self, locked: Locked, at: DateTime<Utc>) -> Result<Option<T>, Error> {
        let course = again(&locked, at);
        locked.store(self.ground, Outcome::unchanged(&self.stored, course)).await?;
        Ok(None)
    }

    /// When to look whether there is room by then: AWS is at work on as many as it takes at once, or may yet
    /// be. None: there is room.
    async fn is_full_until(&self, locked: &mut Locked) -> Result<Option<DateTime<Utc>>, Error> {
        let held = &self.ground.held;
        let (all, here) = targets::under_way(&mut locked.tx, held, &self.stored).await?;
        let most = self.kind.calls_at_once(&self.ground.engine.config);
        if most.is_some_and(|most| all >= most) || here > 0 {
            return Ok(Some(locked.now + TOO_MANY_WAIT));
        }
        if !self.kind.writes_all_of_a_place() {
            return Ok(None);
        }
        let settled = doubts::beside(&mut locked.tx, held, &self.stored).await?;
        Ok(settled.map(|settled| settled.min(locked.now + BETWEEN_DOUBTS)))
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
        let audit_at = now + audit(&self.ground.engine.config);
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
    async fn receive(&self, verb: Verb, answer: Result<Answer, ApiError>) -> Result<(), Error> {
        let ground = self.ground;
        let Some(mut locked) = lock(ground, self.stored.id).await? else { return Ok(()) };
        let now = locked.now;
        let (mut moves, mut facts) = (Vec::new(), None);
        let mut course = Course { next_at: Some(now), is_observed: false, going: Going::On };
        let receipt = match answer {
            Ok(Answer { request, facts: told }) => {
                facts = told;
                locked.note(ground, "ACCEPTED", &format!("{} {request}", verb.as_str())).await?;
                if !self.kind.is_done_at_once() {
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
                let refusal = error.refusal().filter(|_| is_refused);
                moves = self.refused(&locked, refusal.as_ref());
                // Nobody waits for what was refused: it is tried again, as for whoever leaves.
                if moves.is_empty() {
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
        locked.store(ground, Outcome { target, course, moves, facts }).await
    }

    /// Those whom the refusal of a call ends. Without one, all move on with the next look.
    fn refused(&self, locked: &Locked, refusal: Option<&Refusal>) -> Vec<locked::Move> {
        let Some(refusal) = refusal else { return Vec::new() };
        let shares = self.kind.shares(&self.before, &locked.holders, locked.now);
        let shares = shares.unwrap_or_default();
        let look = Look { shares, ..Look::unseen(Next::Poll, true) };
        locked.moves(&look, Some(refusal))
    }
}

pub(super) async fn renew_if_ended(ground: &Ground, error: &ApiError) {
    if error.reason.code == ReasonCode::CredentialsExpired {
        ground.site.renew().await;
    }
}

/// A newer version gives this access; it is for that to take it away.
async fn unknown(ground: &Ground, seen: &Stored) -> Result<(), Error> {
    let Some(locked) = lock_seen(ground, seen).await? else { return Ok(()) };
    let why = mechanisms::Error::Unknown(seen.mechanism.clone()).to_string();
    warn!("{}: {why}", seen.key);
    let course = Course {
        next_at: Some(locked.after_failure()),
        is_observed: false,
        going: Going::Badly(why),
    };
    locked.store(ground, Outcome::unchanged(seen, course)).await
}

/// What a target builds on is not there. It is looked at when that comes, and nobody holds it who
/// does not want it any more.
async fn wait_for_others(ground: &Ground, seen: &Stored) -> Result<(), Error> {
    let Some(locked) = lock_seen(ground, seen).await? else { return Ok(()) };
    let now = locked.now;
    let is_wanted = holding::is_wanted(&locked.holders, now);
    let look = Look::unseen(if is_wanted { Next::Poll } else { Next::Done }, is_wanted);
    let moves = locked.moves(&look, None);
    // It may have come since the look.
    let is_ready = locked.holders.iter().any(Holder::may_begin);
    let again = if is_ready { now } else { now + audit(&ground.engine.config) };
    let end = holding::next_end(&locked.holders, now);
    let next_at = is_wanted.then(|| end.map_or(again, |end| end.min(again)));
    let course = Course { next_at, is_observed: false, going: Going::Well };
    locked.store(ground, Outcome { moves, ..Outcome::unchanged(seen, course) }).await
}

/// AWS could not be looked at. Nothing that we hold is taken for gone. Where nothing of ours can
/// be there, who waits is told why it cannot be given, and who has waited too long is let go.
async fn unreadable(ground: &Ground, seen: &Stored, error: ApiError) -> Result<(), Error> {
    renew_if_ended(ground, &error).await;
    let Some(locked) = lock_seen(ground, seen).await? else { return Ok(()) };
    let is_blank = is_blank(&locked.stored.target, locked.now);
    let is_wanted = holding::is_wanted(&locked.holders, locked.now);
    let look = Look::unseen(if is_blank { Next::Done } else { Next::Poll }, is_wanted);
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
    locked.store(ground, Outcome { moves, ..Outcome::unchanged(seen, course) }).await
}

/// Nothing comes of a look but another one, not behind an end.
fn again(locked: &Locked, at: DateTime<Utc>) -> Course {
    let end = holding::next_end(&locked.holders, locked.now);
    let next_at = Some(end.map_or(at, |end| at.min(end)));
    Course { next_at, is_observed: false, going: Going::On }
}

/// From one look at what is held to the next.
fn audit(config: &Config) -> TimeDelta {
    TimeDelta::from_std(config.audit).unwrap_or_default()
}
