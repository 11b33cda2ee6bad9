//! Who needs a target, and what a look at it means for each of them.
//!
//! Units of several grants may hold one target. It is wanted while one of them is live, and goes
//! with the last; a unit whose own time is over ends at once when others hold on.
//!
//! A unit may hold several targets, in stages: one is made when all of the earlier stages are there
//! ([`Holder::may_begin`]), and stays until those of the later ones are gone ([`Holder::must_stay`]).
//! Into some targets each holder puts something of its own, its *share*: a statement in a policy.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    share::{Content, Shares},
    target::Next,
    unit::{UnitEvent, UnitState},
};

/// A unit that holds a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// Its grant.
    pub grant: String,
    /// Which of the grant's units it is.
    pub number: i16,
    /// How the target stands for it.
    pub state: UnitState,
    /// How its other targets stand for it, of earlier stages, of the same, and of later ones.
    pub others: Others,
    /// How the unit stands.
    pub unit: UnitState,
    /// When it is over: the grant's end, when it was revoked, or when the unit failed.
    pub until: DateTime<Utc>,
    /// What it adds to the target.
    pub share: Option<Value>,
}

impl Holder {
    /// By which it goes first where not all find room: whoever waits before whoever has access, the
    /// larger share before the smaller.
    #[must_use]
    pub fn weight(&self) -> (bool, usize) {
        let characters = self.share.as_ref().map_or(0, |share| share.to_string().len());
        (self.unit == UnitState::Pending, characters)
    }
}

/// The states of a unit's other targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Of earlier stages.
    pub earlier: Vec<UnitState>,
    /// Of the same.
    pub beside: Vec<UnitState>,
    /// Of later ones.
    pub later: Vec<UnitState>,
}

impl Others {
    /// Whether there are none.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.earlier.is_empty() && self.beside.is_empty() && self.later.is_empty()
    }
}

impl Holder {
    /// One that is only thought of: it wants its target for an hour, and brings a share.
    #[must_use]
    pub fn to_come(number: i16, now: DateTime<Utc>, share: Value) -> Self {
        Self {
            grant: String::new(),
            number,
            state: UnitState::Pending,
            others: Others::default(),
            unit: UnitState::Pending,
            until: now + TimeDelta::hours(1),
            share: Some(share),
        }
    }

    /// Whether it wants its target.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        let is_open = |state| matches!(state, UnitState::Pending | UnitState::Active);
        now < self.until && is_open(self.state) && is_open(self.unit)
    }

    /// Whether what the target builds on is there.
    #[must_use]
    pub fn may_begin(&self) -> bool {
        self.others.earlier.iter().all(|state| *state == UnitState::Active)
    }

    /// Whether something still builds on the target.
    #[must_use]
    pub fn must_stay(&self) -> bool {
        !self.state.is_final() && self.others.later.iter().any(|state| !state.is_final())
    }

    /// How the unit stands when its targets do so: this one, and the others as they are.
    #[must_use]
    pub fn unit_with(&self, state: UnitState, now: DateTime<Utc>) -> UnitState {
        if self.unit.is_final() {
            return self.unit;
        }
        let Others { earlier, beside, later } = &self.others;
        let all = || earlier.iter().chain(beside).chain(later).copied().chain([state]);
        if all().any(|one| one == UnitState::Failed) {
            return UnitState::Failed;
        }
        if all().all(UnitState::is_final) {
            return UnitState::Ended;
        }
        if now < self.until && matches!(self.unit, UnitState::Pending | UnitState::Active) {
            let is_whole = all().all(|one| one == UnitState::Active);
            return if is_whole { UnitState::Active } else { UnitState::Pending };
        }
        let is_left = |one: UnitState| !one.is_final() && one != UnitState::Settling;
        if all().any(is_left) { UnitState::Revoking } else { UnitState::Settling }
    }
}

/// Whether somebody wants the target, or what builds on it is still there.
#[must_use]
pub fn is_wanted(holders: &[Holder], now: DateTime<Utc>) -> bool {
    holders.iter().any(|holder| holder.is_live(now) || holder.must_stay())
}

/// Whether it may be made: somebody wants it, and what it builds on is there.
#[must_use]
pub fn may_begin(holders: &[Holder], now: DateTime<Utc>) -> bool {
    holders.iter().any(|holder| holder.is_live(now) && holder.may_begin())
}

/// The shares in an object that is as nobody who wants it needs it.
#[must_use]
pub fn all_lack(holders: &[Holder], now: DateTime<Utc>) -> Shares {
    let live = holders.iter().enumerate().filter(|(_, holder)| holder.is_live(now));
    Shares { content: Content::Stale, lacking: live.map(|(at, _)| at).collect() }
}

/// When the first of those who want it is over.
#[must_use]
pub fn next_end(holders: &[Holder], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    holders.iter().filter(|holder| holder.is_live(now)).map(|holder| holder.until).min()
}

/// When the last of those who want it is over; none: nobody wants it.
#[must_use]
pub fn last_end(holders: &[Holder], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    holders.iter().filter(|holder| holder.is_live(now)).map(|holder| holder.until).max()
}

/// What a look has shown, and what is to come of it.
#[derive(Clone, Debug)]
pub struct Look {
    /// What comes next.
    pub next: Next,
    /// Whether somebody wants the target ([`is_wanted`]).
    pub is_wanted: bool,
    /// Whether it is there.
    pub is_present: bool,
    /// What of the holders' shares is in it.
    pub shares: Shares,
}

impl Look {
    /// One in which AWS has shown nothing.
    #[must_use]
    pub fn unseen(next: Next, is_wanted: bool) -> Self {
        Self { next, is_wanted, is_present: false, shares: Shares::default() }
    }
}

/// What a look means for the holder at a place in the list; none: nothing new.
#[must_use]
pub fn event((at, holder): (usize, &Holder), look: &Look, now: DateTime<Utc>) -> Option<UnitEvent> {
    let Look { next, is_wanted, is_present, shares } = look;
    if holder.state.is_final() {
        return None;
    }
    let holds_shares = shares.content != Content::None;
    if holder.is_live(now) {
        let has_share = holds_shares && *is_present && !shares.lacking.contains(&at);
        return match next {
            Next::Hold | Next::Verify { is_doubtful: false, .. } => Some(UnitEvent::Held),
            // What is still to be changed is somebody else's share.
            Next::Call(_) | Next::Failed(..) | Next::Verify { is_doubtful: true, .. }
                if has_share =>
            {
                Some(UnitEvent::Held)
            }
            Next::Call(_) | Next::Failed(..) | Next::Verify { is_doubtful: true, .. } => {
                Some(UnitEvent::Missing)
            }
            Next::Poll | Next::Done | Next::Leave { .. } => None,
        };
    }
    if holder.must_stay() {
        return Some(UnitEvent::Leaving);
    }
    if *is_wanted && holder.share.is_none() {
        return Some(UnitEvent::Gone);
    }
    Some(match next {
        Next::Done | Next::Leave { .. } | Next::Verify { is_doubtful: false, .. } => {
            UnitEvent::Gone
        }
        // Its share is no more in what others hold on to.
        Next::Hold if *is_wanted => UnitEvent::Gone,
        Next::Verify { is_doubtful: true, .. } => UnitEvent::Doubtful,
        Next::Call(_) | Next::Poll | Next::Failed(..) | Next::Hold => UnitEvent::Leaving,
    })
}

/// The state of a holder after a look, if it changes.
///
/// # Panics
///
/// When the look means what cannot happen in the holder's state: our own nonsense.
#[must_use]
pub fn state_after(
    (at, holder): (usize, &Holder),
    look: &Look,
    now: DateTime<Utc>,
) -> Option<UnitState> {
    let event = event((at, holder), look, now)?;
    let after = holder.state.after(event);
    let after = after.unwrap_or_else(|| panic!("{} cannot take {event:?}", holder.state));
    (after != holder.state).then_some(after)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::target::Verb;

    pub(in crate::model) fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    pub(in crate::model) fn holder(state: UnitState, until: i64) -> Holder {
        Holder {
            grant: "g".to_owned(),
            number: 0,
            state,
            others: Others::default(),
            unit: state,
            until: at(until),
            share: None,
        }
    }

    fn look(next: Next, is_wanted: bool) -> Look {
        Look { next, is_wanted, is_present: true, shares: Shares::default() }
    }

    /// A look at a policy in which the shares of these are missing.
    fn policy(next: Next, lacking: &[usize]) -> Look {
        let content = if lacking.is_empty() { Content::Current } else { Content::Stale };
        let shares = Shares { content, lacking: lacking.to_vec() };
        Look { shares, ..look(next, true) }
    }

    #[test]
    fn the_first_end_leaves_the_second_alone() {
        let holders = [holder(UnitState::Active, 10), holder(UnitState::Active, 20)];
        assert!(is_wanted(&holders, at(10)));
        assert_eq!(next_end(&holders, at(5)), Some(at(10)));
        let hold = look(Next::Hold, true);
        assert_eq!(state_after((0, &holders[0]), &hold, at(10)), Some(UnitState::Ended));
        assert_eq!(state_after((1, &holders[1]), &hold, at(10)), None);
        assert!(!is_wanted(&holders, at(20)));
    }

    #[test]
    fn every_look_means_something_that_can_happen() {
        let verify = |is_doubtful| Next::Verify { until: at(9), is_doubtful };
        let looks = [
            Next::Call(Verb::Create),
            Next::Call(Verb::Delete),
            Next::Poll,
            Next::Failed(Verb::Create, "no".to_owned()),
            Next::Hold,
            Next::Done,
            Next::Leave { is_adopted: true },
            verify(true),
            verify(false),
        ];
        let contents = [Content::None, Content::Current, Content::Stale];
        for (state, until) in UnitState::ALL.into_iter().flat_map(|one| [(one, 0), (one, 10)]) {
            let mut holder = holder(state, until);
            for later in [vec![], vec![UnitState::Active]] {
                holder.others.later = later;
                for (next, content) in looks.iter().flat_map(|one| contents.map(|two| (one, two))) {
                    for others in [true, false] {
                        let is_wanted = others || holder.is_live(at(5)) || holder.must_stay();
                        for lacking in [vec![], vec![0]] {
                            let shares = Shares { content, lacking };
                            let look = Look { shares, ..look(next.clone(), is_wanted) };
                            let _ = state_after((0, &holder), &look, at(5));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_end_in_doubt_settles_first() {
        let over = holder(UnitState::Active, 0);
        let doubtful = look(Next::Verify { until: at(600), is_doubtful: true }, false);
        assert_eq!(state_after((0, &over), &doubtful, at(5)), Some(UnitState::Settling));
        let certain = look(Next::Verify { until: at(600), is_doubtful: false }, false);
        assert_eq!(state_after((0, &over), &certain, at(5)), Some(UnitState::Ended));
    }

    #[test]
    fn a_share_comes_and_goes_by_itself() {
        let (waits, holds) = (holder(UnitState::Pending, 10), holder(UnitState::Active, 10));
        let over = Holder { share: Some(Value::Null), ..holder(UnitState::Active, 0) };
        let call = policy(Next::Call(Verb::Create), &[0]);
        assert_eq!(state_after((0, &waits), &call, at(5)), None, "it is being put in");
        assert_eq!(state_after((1, &holds), &call, at(5)), None, "and others hold on");
        assert_eq!(state_after((0, &holds), &call, at(5)), Some(UnitState::Pending), "taken out");
        assert_eq!(state_after((2, &over), &call, at(5)), Some(UnitState::Revoking));
        let current = policy(Next::Hold, &[]);
        assert_eq!(state_after((0, &waits), &current, at(5)), Some(UnitState::Active));
        assert_eq!(state_after((2, &over), &current, at(5)), Some(UnitState::Ended));
        let doubt = policy(Next::Verify { until: at(600), is_doubtful: true }, &[]);
        assert_eq!(state_after((0, &waits), &doubt, at(5)), Some(UnitState::Active));
        assert_eq!(
            state_after((2, &over), &doubt, at(5)),
            Some(UnitState::Settling),
            "a late call"
        );
    }

    #[test]
    fn what_something_builds_on_comes_first_and_goes_last() {
        use UnitState::{Active, Ended, Pending, Revoking};
        let with = |earlier: &[UnitState], later: &[UnitState], until| {
            let (earlier, later) = (earlier.to_vec(), later.to_vec());
            let others = Others { earlier, beside: Vec::new(), later };
            Holder { others, ..holder(Pending, until) }
        };
        assert!(!may_begin(&[with(&[Active, Pending], &[], 10)], at(5)));
        assert!(may_begin(&[with(&[Active, Active], &[Pending], 10)], at(5)));
        let below = with(&[], &[Revoking], 0);
        assert!(is_wanted(std::slice::from_ref(&below), at(5)));
        let hold = look(Next::Hold, true);
        assert_eq!(state_after((0, &below), &hold, at(5)), Some(Revoking));
        assert!(!is_wanted(&[with(&[], &[Ended], 0)], at(5)));
    }

    #[test]
    fn a_unit_stands_as_all_of_its_targets_do() {
        use UnitState::{Active, Ended, Failed, Pending, Revoking, Settling};
        let unit = |unit, states: &[UnitState], until| {
            let others = Others { later: states[1..].to_vec(), ..Others::default() };
            let holder = Holder { others, unit, ..holder(Pending, until) };
            holder.unit_with(states[0], at(5))
        };
        for (before, states, until, after) in [
            (Pending, vec![Active, Pending], 10, Pending),
            (Pending, vec![Active, Active], 10, Active),
            (Active, vec![Active, Pending], 10, Pending),
            (Active, vec![Active, Revoking], 0, Revoking),
            (Revoking, vec![Ended, Active], 0, Revoking),
            (Revoking, vec![Ended, Settling], 0, Settling),
            (Settling, vec![Ended, Ended], 0, Ended),
            (Pending, vec![Active, Failed], 10, Failed),
            (Failed, vec![Revoking, Failed], 0, Failed),
        ] {
            assert_eq!(unit(before, &states, until), after, "{before} {states:?} {until}");
        }
    }
}
