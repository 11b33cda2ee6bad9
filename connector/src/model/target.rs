//! One object in AWS that grants need, such as a user's assignment in an account; and what is to
//! be done about it.
//!
//! A target is converged: somebody looks at AWS ([`Observed`]), [`decide`] compares that with what
//! is wanted and with what we remember, and says what comes next. First grant, retry, restart
//! after a crash, expiry, early revoke and repair of drift are this one function; whoever calls it
//! stores the target that it answers before anything else happens.
//!
//! ```text
//!                 wanted, absent              accepted                 ended
//!   (nothing of ours) ──▶ intent: create ──▶ intent with its id ──▶ (look again) ──▶ held
//!          ▲                                                                           │
//!          │ absent, and again          ended             accepted    no longer wanted │
//!          └─ after settling ◀──── (look again) ◀── id ◀────────── intent: delete ◀────┘
//! ```
//!
//! Invariant: only what is [`Origin::Made`] is ever deleted, and whatever we create is `Made` in
//! the same write as the intent to create it. What was there before us is [`Origin::Found`] and
//! stays. Nothing is taken for found before our last call has settled: what shows until then may
//! be its effect, or a late view of what it has removed.
//!
//! Crash safety: an [`Intent`] is stored before AWS is called. One whose request id was lost
//! is looked for among what AWS has accepted since; when nothing is found, the call may still
//! arrive until it has settled: for so long ends are verified again ([`Next::Verify`]).

use chrono::{DateTime, TimeDelta, Utc};

#[cfg(test)]
mod histories;

/// Who made what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody else, before us.
    Found,
    /// We.
    Made,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It makes the object.
    Create,
    /// It removes it.
    Delete,
}

/// A call that we have decided on and whose end we do not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What it does.
    pub verb: Verb,
    /// When we decided; the call was made after.
    pub since: DateTime<Utc>,
    /// The id that AWS gave it; none: it was not made yet, or the answer was lost.
    pub request: Option<String>,
    /// When the calls before it had settled.
    pub settled_before: Option<DateTime<Utc>>,
}

/// What we remember of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Who made what is there; none: nothing was there when we looked last.
    pub origin: Option<Origin>,
    /// A call under way.
    pub intent: Option<Intent>,
    /// Until when the last call of ours may take effect.
    pub settles_at: Option<DateTime<Utc>>,
    /// Whether the end of a call of ours was never seen, so that it may take effect until then.
    pub is_doubtful: bool,
    /// Whether somebody else has made the same beside us: it is theirs now, too.
    pub is_adopted: bool,
}

/// How an operation that AWS has accepted stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is under way.
    Running,
    /// It has been done.
    Succeeded,
    /// It could not be done.
    Failed(String),
}

/// An operation on the object that AWS has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub request: String,
    /// What it does.
    pub verb: Verb,
    /// How it stands.
    pub progress: Progress,
}

/// What was seen in AWS, under the lease of the target. The operations were read before the object:
/// one that had ended by then shows in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the object is there.
    pub is_present: bool,
    /// Operations on it: all that are under way, and all that AWS has accepted since the
    /// intent, if there is one.
    pub operations: Vec<Operation>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The intent is stored; make the call.
    Call(Verb),
    /// AWS is at work: look again soon.
    Poll,
    /// Our operation has failed, for this reason.
    Failed(Verb, String),
    /// It is there, as it should be.
    Hold,
    /// Nothing of ours is there, as it should be.
    Done,
    /// It is as it should be; look again until then, when no call of ours can take effect any
    /// more. `is_doubtful`: until then it is not certain.
    Verify {
        /// When the last call has settled.
        until: DateTime<Utc>,
        /// Whether the end of a call was never seen.
        is_doubtful: bool,
    },
}

/// Decides what comes next, and what is to be remembered before it does. `settling`: for how long
/// after a call it may take effect: its time-out, the validity of its signature, and a margin.
#[must_use]
pub fn decide(
    target: &Target,
    is_wanted: bool,
    observed: &Observed,
    now: DateTime<Utc>,
    settling: TimeDelta,
) -> (Target, Next) {
    let mut target = target.clone();
    if let Some(next) = end_intent(&mut target, observed, settling) {
        return (target, next);
    }
    let mut running = observed.operations.iter().filter(|one| one.progress == Progress::Running);
    if let Some(other) = running.next() {
        // Somebody else's, unless it is a call of ours of which we know nothing.
        target.is_adopted |= other.verb == Verb::Create
            && observed.is_present
            && target.origin == Some(Origin::Made)
            && !target.is_doubtful;
        return (target, Next::Poll);
    }
    let unsettled = target.settles_at.filter(|until| now < *until);
    let next = match (is_wanted, observed.is_present) {
        (true, true) => hold(&mut target, unsettled),
        (true, false) => {
            target.origin = Some(Origin::Made);
            target.is_adopted = false;
            Next::Call(Verb::Create)
        }
        (false, true) => leave(&mut target),
        (false, false) => {
            target.origin = None;
            target.is_adopted = false;
            let is_doubtful = target.is_doubtful;
            unsettled.map_or(Next::Done, |until| Next::Verify { until, is_doubtful })
        }
    };
    // What has settled shows by now.
    target.is_doubtful &= unsettled.is_some();
    if let Next::Call(verb) = next {
        let settled_before = target.settles_at;
        target.intent = Some(Intent { verb, since: now, request: None, settled_before });
        target.settles_at = Some(now + settling);
    }
    (target, next)
}

/// It is there, and wanted.
fn hold(target: &mut Target, unsettled: Option<DateTime<Utc>>) -> Next {
    if target.is_doubtful {
        target.origin.get_or_insert(Origin::Made);
    }
    let Some(until) = unsettled else {
        target.origin.get_or_insert(Origin::Found);
        return Next::Hold;
    };
    if target.is_doubtful || target.origin.is_none() {
        return Next::Verify { until, is_doubtful: true };
    }
    Next::Hold
}

/// It is there, and not wanted.
fn leave(target: &mut Target) -> Next {
    if target.is_doubtful {
        // A call of which we know no end may have made it.
        target.origin.get_or_insert(Origin::Made);
    }
    match target.origin {
        Some(Origin::Made) if !target.is_adopted => Next::Call(Verb::Delete),
        Some(Origin::Made | Origin::Found) | None => Next::Done,
    }
}

/// Ends the intent if that can be told by now; else says what to wait for.
fn end_intent(target: &mut Target, observed: &Observed, settling: TimeDelta) -> Option<Next> {
    let intent = target.intent.take()?;
    let ours = observed.operations.iter().find(|one| match &intent.request {
        Some(id) => one.request == *id,
        // Accepted since we decided, and what we decided on: most likely ours.
        None => one.verb == intent.verb,
    });
    if intent.request.is_none() || ours.is_none() {
        // It may not have been accepted yet, or never been made.
        doubt(target, &intent, settling);
    }
    let ours = ours?;
    match &ours.progress {
        Progress::Running => {
            target.intent = Some(Intent { request: Some(ours.request.clone()), ..intent });
            Some(Next::Poll)
        }
        Progress::Succeeded => {
            if observed.is_present != (intent.verb == Verb::Create) {
                // A late view, or somebody else has been there since.
                doubt(target, &intent, settling);
            }
            None
        }
        // What was to be removed is not there.
        Progress::Failed(_) if intent.verb == Verb::Delete && !observed.is_present => None,
        Progress::Failed(reason) => {
            nothing_came_of(target, &intent);
            Some(Next::Failed(intent.verb, reason.clone()))
        }
    }
}

/// A call may take effect later.
fn doubt(target: &mut Target, intent: &Intent, settling: TimeDelta) {
    target.is_doubtful = true;
    target.settles_at = target.settles_at.max(Some(intent.since + settling));
}

/// A call was refused, or has failed: what it would have made was not made.
fn nothing_came_of(target: &mut Target, intent: &Intent) {
    target.settles_at = intent.settled_before;
    if intent.verb == Verb::Create && !target.is_doubtful {
        target.origin = None;
    }
}

/// What AWS said to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It was accepted under this id.
    Accepted(String),
    /// It was refused: nothing will come of it.
    Refused,
    /// Nobody knows: the connection broke, or the answer was late.
    Lost,
}

/// Remembers what AWS said to the call of the intent.
#[must_use]
pub fn receive(target: &Target, receipt: Receipt) -> Target {
    let mut target = target.clone();
    match receipt {
        Receipt::Accepted(id) => {
            if let Some(intent) = &mut target.intent {
                intent.request = Some(id);
            }
        }
        Receipt::Refused => {
            if let Some(intent) = target.intent.take() {
                nothing_came_of(&mut target, &intent);
            }
        }
        Receipt::Lost => {}
    }
    target
}
