//! Who needs a target, and what a look at it means for each of them.
//!
//! Units of several grants may hold one target. It is wanted while one of them is live, and goes
//! with the last; a unit whose own time is over ends at once when others hold on.

use chrono::{DateTime, Utc};

use super::{
    target::Next,
    unit::{UnitEvent, UnitState},
};

/// A unit that holds a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its grant.
    pub grant: String,
    /// Which of the grant's units it is.
    pub number: i16,
    /// Its state.
    pub state: UnitState,
    /// When it is over: the grant's end, or when it was revoked.
    pub until: DateTime<Utc>,
}

impl Holder {
    /// Whether it wants its target.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        now < self.until && matches!(self.state, UnitState::Pending | UnitState::Active)
    }
}

/// Whether somebody wants the target.
#[must_use]
pub fn is_wanted(holders: &[Holder], now: DateTime<Utc>) -> bool {
    holders.iter().any(|holder| holder.is_live(now))
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

/// What a look means for a holder; none: nothing new.
#[must_use]
pub fn event(
    holder: &Holder,
    next: &Next,
    is_wanted: bool,
    now: DateTime<Utc>,
) -> Option<UnitEvent> {
    if holder.state.is_final() {
        return None;
    }
    if holder.is_live(now) {
        return match next {
            Next::Hold | Next::Verify { is_doubtful: false, .. } => Some(UnitEvent::Held),
            Next::Call(_) | Next::Failed(..) | Next::Verify { is_doubtful: true, .. } => {
                Some(UnitEvent::Missing)
            }
            Next::Poll | Next::Done | Next::Leave { .. } => None,
        };
    }
    if is_wanted {
        return Some(UnitEvent::Gone);
    }
    Some(match next {
        Next::Done | Next::Leave { .. } | Next::Verify { is_doubtful: false, .. } => {
            UnitEvent::Gone
        }
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
    holder: &Holder,
    next: &Next,
    is_wanted: bool,
    now: DateTime<Utc>,
) -> Option<UnitState> {
    let event = event(holder, next, is_wanted, now)?;
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
        Holder { grant: "g".to_owned(), number: 0, state, until: at(until) }
    }

    #[test]
    fn the_first_end_leaves_the_second_alone() {
        let holders = [holder(UnitState::Active, 10), holder(UnitState::Active, 20)];
        assert!(is_wanted(&holders, at(10)));
        assert_eq!(next_end(&holders, at(5)), Some(at(10)));
        assert_eq!(state_after(&holders[0], &Next::Hold, true, at(10)), Some(UnitState::Ended));
        assert_eq!(state_after(&holders[1], &Next::Hold, true, at(10)), None);
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
        for state in UnitState::ALL {
            for until in [0, 10] {
                let holder = holder(state, until);
                for look in &looks {
                    for others in [true, false] {
                        let is_wanted = others || holder.is_live(at(5));
                        let _ = state_after(&holder, look, is_wanted, at(5));
                    }
                }
            }
        }
    }

    #[test]
    fn an_end_in_doubt_settles_first() {
        let over = holder(UnitState::Active, 0);
        let doubtful = Next::Verify { until: at(600), is_doubtful: true };
        assert_eq!(state_after(&over, &doubtful, false, at(5)), Some(UnitState::Settling));
        let certain = Next::Verify { until: at(600), is_doubtful: false };
        assert_eq!(state_after(&over, &certain, false, at(5)), Some(UnitState::Ended));
    }
}
