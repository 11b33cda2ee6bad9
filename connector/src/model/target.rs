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
//! Invariant: one look that does not find what we made does not forget it: AWS may show it late. It is
//! forgotten when our deletion has ended and nothing is there, or when it was missing for so long.
//!
//! Crash safety: an [`Intent`] is stored before AWS is called. One whose request id was lost may have
//! been made or not, and may still arrive: a [`Doubt`], until it has settled ([`Next::Verify`]).

use chrono::{DateTime, TimeDelta, Utc};

use super::share::Content;

#[cfg(test)]
mod histories;
mod verb;

pub use verb::Verb;

/// Who made what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody else, before us.
    Found,
    /// We.
    Made,
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
    /// Who had made what was there before.
    pub origin_before: Option<Origin>,
}

/// Calls whose end was never seen, and which may take effect until they have settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// One that creates.
    pub create: bool,
    /// One that deletes, or of which AWS shows something else than its end.
    pub delete: bool,
}

impl Doubt {
    /// Whether there is any.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.create || self.delete
    }
}

/// What we remember of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Who made what is there; none: nothing was there when we looked last, or nobody can tell yet.
    pub origin: Option<Origin>,
    /// A call under way.
    pub intent: Option<Intent>,
    /// Until when our last call may take effect.
    pub settles_at: Option<DateTime<Utc>>,
    /// Calls of which we know no end.
    pub doubt: Doubt,
    /// Since when what we made does not show; none: it did when we looked last.
    pub missing_since: Option<DateTime<Utc>>,
    /// Whether somebody else has made the same beside us, or was about to: it may be theirs, too.
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
    /// Whether it carries our mark, and is ours.
    pub is_marked: bool,
    /// What is in it.
    pub content: Content,
    /// Whether AWS shows it as it was before our last call.
    pub is_late: bool,
    /// Operations on it: that of the intent, and all that are under way. Others that AWS has accepted
    /// since the intent, if they are known.
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
    /// Nothing is there, as it should be.
    Done,
    /// It is not wanted, but it is not ours to remove. `is_adopted`: it was, but somebody else has
    /// made the same.
    Leave {
        /// Whether it was ours.
        is_adopted: bool,
    },
    /// It is as it should be; look again until then, when no call of ours can take effect any
    /// more.
    Verify {
        /// When the last call has settled.
        until: DateTime<Utc>,
        /// Whether it may be otherwise before then: nobody should be told that it is so.
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
    if observed.is_present && observed.is_marked {
        target.origin = Some(Origin::Made);
        target.is_adopted = false;
    }
    if observed.is_late {
        return (target, Next::Poll);
    }
    let running = || observed.operations.iter().filter(|one| one.progress == Progress::Running);
    if running().next().is_some() {
        // Somebody else's, unless it is a call of ours of which we know nothing.
        target.is_adopted |= running().any(|one| one.verb == Verb::Create)
            && observed.is_present
            && target.origin == Some(Origin::Made)
            && !target.doubt.create;
        return (target, Next::Poll);
    }
    let unsettled = target.settles_at.filter(|until| now < *until);
    let next = match (is_wanted, observed.is_present) {
        (true, true) if observed.content == Content::Stale => Next::Call(Verb::Create),
        (true, true) => hold(&mut target, observed.content, unsettled),
        (true, false) => Next::Call(Verb::Create),
        (false, true) => leave(&mut target),
        (false, false) => forget(&mut target, unsettled, now, settling),
    };
    if observed.is_present {
        target.missing_since = None;
    }
    // What has settled shows by now.
    if unsettled.is_none() {
        target.doubt = Doubt::default();
    }
    if let Next::Call(verb) = next {
        call(&mut target, verb, now, settling);
    }
    (target, next)
}

/// It is there, and wanted.
fn hold(target: &mut Target, content: Content, unsettled: Option<DateTime<Utc>>) -> Next {
    if target.doubt.create {
        // A call of which we know no end may have made it.
        target.origin.get_or_insert(Origin::Made);
    }
    let Some(until) = unsettled else {
        target.origin.get_or_insert(Origin::Found);
        return Next::Hold;
    };
    // A creation that may still arrive takes nothing away, but for what was put in since.
    let may_change = target.doubt.create && content != Content::None;
    if target.doubt.delete || target.origin.is_none() || may_change {
        return Next::Verify { until, is_doubtful: true };
    }
    Next::Hold
}

/// It is there, and not wanted.
fn leave(target: &mut Target) -> Next {
    if target.doubt.create {
        target.origin.get_or_insert(Origin::Made);
    }
    match target.origin {
        Some(Origin::Made) if !target.is_adopted => Next::Call(Verb::Delete),
        Some(Origin::Made) => Next::Leave { is_adopted: true },
        Some(Origin::Found) | None => Next::Leave { is_adopted: false },
    }
}

/// It is not there, and not wanted.
fn forget(
    target: &mut Target,
    unsettled: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    settling: TimeDelta,
) -> Next {
    let mut until = unsettled;
    if target.origin == Some(Origin::Made) {
        // Somebody else has removed it, or it shows late.
        let missing_until = *target.missing_since.get_or_insert(now) + settling;
        if now < missing_until {
            until = until.max(Some(missing_until));
        }
    }
    let Some(until) = until else {
        target.origin = None;
        target.missing_since = None;
        target.is_adopted = false;
        return Next::Done;
    };
    if target.origin == Some(Origin::Found) {
        target.origin = None;
    }
    let is_doubtful = target.doubt.is_any() || target.origin.is_some();
    Next::Verify { until, is_doubtful }
}

/// Ends the intent if that can be told by now; else says what to wait for.
fn end_intent(target: &mut Target, observed: &Observed, settling: TimeDelta) -> Option<Next> {
    let intent = target.intent.take()?;
    let Some(id) = &intent.request else {
        let is_alike = |one: &&Operation| one.verb == intent.verb;
        let mut alike = observed.operations.iter().filter(is_alike);
        if alike.any(|one| one.progress == Progress::Running) {
            // Most likely ours; it will show what it has done.
            target.intent = Some(intent);
            return Some(Next::Poll);
        }
        // It may have been done, may arrive later, or may never have been made.
        doubt(target, &intent, intent.verb, settling);
        return None;
    };
    let Some(ours) = observed.operations.iter().find(|one| one.request == *id) else {
        doubt(target, &intent, intent.verb, settling);
        return None;
    };
    let mut others = observed.operations.iter().filter(|one| one.request != *id);
    let has_made = |one: &Operation| !matches!(one.progress, Progress::Failed(_));
    let was_made_by_another =
        others.any(|one| one.verb == Verb::Create && has_made(one)) && !target.doubt.create;
    match (&ours.progress, intent.verb) {
        (Progress::Running, _) => {
            target.intent = Some(intent);
            return Some(Next::Poll);
        }
        (Progress::Succeeded, Verb::Create) => {
            target.is_adopted = was_made_by_another;
            if !observed.is_present {
                // A late view, or somebody has removed it since.
                doubt(target, &intent, Verb::Delete, settling);
            }
        }
        (Progress::Succeeded, Verb::Delete) => {
            if observed.is_present && !was_made_by_another {
                // A late view, or somebody has made it since of whom we know nothing.
                doubt(target, &intent, Verb::Delete, settling);
            } else {
                target.origin = None;
                target.is_adopted = false;
            }
        }
        // What was to be removed is not there.
        (Progress::Failed(_), Verb::Delete) if !observed.is_present => {
            target.origin = None;
            target.is_adopted = false;
        }
        (Progress::Failed(reason), verb) => {
            let reason = reason.clone();
            nothing_came_of(target, &intent);
            return Some(Next::Failed(verb, reason));
        }
    }
    None
}

/// Remembers that something may take effect until the call of an intent has settled.
fn doubt(target: &mut Target, intent: &Intent, of: Verb, settling: TimeDelta) {
    match of {
        Verb::Create => target.doubt.create = true,
        Verb::Delete => target.doubt.delete = true,
    }
    target.settles_at = target.settles_at.max(Some(intent.since + settling));
}

/// A call was refused, or has failed: all is as it was before it.
fn nothing_came_of(target: &mut Target, intent: &Intent) {
    target.settles_at = intent.settled_before;
    target.origin = intent.origin_before;
}

/// Remembers a call before it is made.
fn call(target: &mut Target, verb: Verb, now: DateTime<Utc>, settling: TimeDelta) {
    target.intent = Some(Intent {
        verb,
        since: now,
        request: None,
        settled_before: target.settles_at,
        origin_before: target.origin,
    });
    target.settles_at = Some(now + settling);
    if verb == Verb::Create {
        target.origin = Some(Origin::Made);
        target.missing_since = None;
    }
}

/// What AWS said to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It was accepted under this id.
    Accepted(String),
    /// It was refused: nothing will come of it.
    Refused,
    /// Nobody knows.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    fn seen(is_present: bool, operations: &[(&str, Verb, Progress)]) -> Observed {
        let operations = operations.iter().cloned();
        let operations = operations.map(|(id, verb, progress)| Operation {
            request: id.to_owned(),
            verb,
            progress,
        });
        Observed { is_present, operations: operations.collect(), ..Observed::default() }
    }

    fn look(target: &mut Target, is_wanted: bool, observed: &Observed, seconds: i64) -> Next {
        let (after, next) =
            decide(target, is_wanted, observed, at(seconds), TimeDelta::seconds(600));
        *target = after;
        next
    }

    /// Created at 0 under the id `ours`, and seen at 5.
    fn held() -> Target {
        let mut target = Target::default();
        assert_eq!(look(&mut target, true, &seen(false, &[]), 0), Next::Call(Verb::Create));
        target = receive(&target, Receipt::Accepted("ours".to_owned()));
        let done = seen(true, &[("ours", Verb::Create, Progress::Succeeded)]);
        assert_eq!(look(&mut target, true, &done, 5), Next::Hold);
        target
    }

    #[test]
    fn what_somebody_else_makes_beside_us_is_theirs_too() {
        let mut target = held();
        let theirs = seen(true, &[("theirs", Verb::Create, Progress::Running)]);
        assert_eq!(look(&mut target, true, &theirs, 1000), Next::Poll);
        assert_eq!(look(&mut target, true, &seen(true, &[]), 1005), Next::Hold);
        let left = Next::Leave { is_adopted: true };
        assert_eq!(look(&mut target, false, &seen(true, &[]), 2000), left);
        // Theirs goes, and ours comes again by repair: it is ours alone.
        let create = Next::Call(Verb::Create);
        assert_eq!(look(&mut target, true, &seen(false, &[]), 3000), create);
        target = receive(&target, Receipt::Accepted("again".to_owned()));
        let done = seen(true, &[("again", Verb::Create, Progress::Succeeded)]);
        assert_eq!(look(&mut target, true, &done, 3005), Next::Hold);
        assert_eq!(look(&mut target, false, &seen(true, &[]), 4000), Next::Call(Verb::Delete));
    }

    #[test]
    fn what_somebody_else_makes_when_ours_goes_is_theirs() {
        let mut target = held();
        assert_eq!(look(&mut target, false, &seen(true, &[]), 1000), Next::Call(Verb::Delete));
        target = receive(&target, Receipt::Accepted("gone".to_owned()));
        let ours = ("gone", Verb::Delete, Progress::Succeeded);
        for (is_present, progress) in [(false, Progress::Running), (true, Progress::Succeeded)] {
            let mut target = target.clone();
            let both = seen(is_present, &[ours.clone(), ("theirs", Verb::Create, progress)]);
            look(&mut target, false, &both, 1005);
            let left = Next::Leave { is_adopted: false };
            assert_eq!(look(&mut target, false, &seen(true, &[]), 1010), left);
            assert_eq!(look(&mut target, false, &seen(true, &[]), 5000), left);
        }
    }

    #[test]
    fn a_look_that_misses_ours_does_not_forget_it() {
        let mut target = held();
        let next = look(&mut target, false, &seen(false, &[]), 1000);
        assert_eq!(next, Next::Verify { until: at(1600), is_doubtful: true });
        assert_eq!(look(&mut target, false, &seen(true, &[]), 1600), Next::Call(Verb::Delete));

        // Somebody else has removed it, and refuses to have it made again.
        let mut target = held();
        assert_eq!(look(&mut target, true, &seen(false, &[]), 1000), Next::Call(Verb::Create));
        target = receive(&target, Receipt::Refused);
        assert_eq!(look(&mut target, true, &seen(true, &[]), 1005), Next::Hold);
        assert_eq!(look(&mut target, false, &seen(true, &[]), 1010), Next::Call(Verb::Delete));
    }

    #[test]
    fn the_failure_of_another_is_not_ours() {
        let mut target = Target::default();
        assert_eq!(look(&mut target, true, &seen(false, &[]), 0), Next::Call(Verb::Create));
        // The answer is lost, and somebody else's attempt fails.
        let theirs = seen(false, &[("theirs", Verb::Create, Progress::Failed("no".into()))]);
        assert_eq!(look(&mut target, true, &theirs, 5), Next::Call(Verb::Create));
        target = receive(&target, Receipt::Refused);
        let next = look(&mut target, false, &seen(false, &[]), 10);
        assert_eq!(next, Next::Verify { until: at(610), is_doubtful: true });
        // Our first call arrives after all.
        assert_eq!(look(&mut target, false, &seen(true, &[]), 300), Next::Call(Verb::Delete));
    }

    #[test]
    fn a_lost_deletion_makes_nothing_ours() {
        let mut target = held();
        assert_eq!(look(&mut target, false, &seen(true, &[]), 1000), Next::Call(Verb::Delete));
        // Killed before the answer; it was done.
        look(&mut target, false, &seen(false, &[]), 1005);
        assert_eq!(look(&mut target, false, &seen(false, &[]), 1700), Next::Done);
        let left = Next::Leave { is_adopted: false };
        assert_eq!(look(&mut target, false, &seen(true, &[]), 1800), left);
    }
}
