//! Which steps run beside each other in an instance.

use crate::{
    model::{errand::Errand, ids::TargetId},
    store::targets::{Due, Search},
};

/// Steps at once beyond the calls that AWS is at work on: those that look.
const LOOKS_MAX: i64 = 9;
/// Of all steps, those that only see whether all is well.
const AUDITS_MAX: usize = 4;

/// The steps that run, and how many may.
#[derive(Debug)]
pub(super) struct Places {
    /// The mechanisms of which AWS works on so many calls at once, and how many.
    limited: Vec<String>,
    calls_at_once: i64,
    steps: Vec<TargetId>,
    audits: usize,
    /// The places of steps that are no audits.
    busy: Vec<String>,
    /// Of the steps that ran at first, those of which a limited call is under way, or may come.
    calls: i64,
    /// Steps since then from which a limited call may come.
    starts: i64,
}

impl Places {
    /// With the steps that run already.
    pub(super) fn new<'a>(
        (limited, calls_at_once): (Vec<String>, i64),
        running: impl IntoIterator<Item = &'a Due>,
    ) -> Self {
        let (steps, busy) = (Vec::new(), Vec::new());
        let mut places =
            Self { limited, calls_at_once, steps, audits: 0, busy, calls: 0, starts: 0 };
        for due in running {
            places.give(due);
            places.calls += i64::from(due.errand != Errand::Audit && due.is_limited);
        }
        places.starts = 0;
        places
    }

    /// Gives a place to a step.
    pub(super) fn give(&mut self, due: &Due) {
        self.steps.push(due.id);
        if due.errand == Errand::Audit {
            self.audits += 1;
            return;
        }
        self.busy.push(due.place.clone());
        self.starts += i64::from(due.is_limited && !due.is_under_way);
    }

    /// Whether there is a place: of one thing one change begins at a time, and no more begin than AWS
    /// takes.
    pub(super) fn has_one_for(&self, due: &Due) -> bool {
        let begins = !self.busy.contains(&due.place)
            && (!due.is_limited || due.calls + self.starts < self.calls_at_once);
        !self.is_full()
            && if due.errand == Errand::Audit {
                self.audits < AUDITS_MAX
            } else {
                due.is_under_way || begins
            }
    }

    /// What to look for; none: there is no place.
    pub(super) fn search(&self) -> Option<Search<'_>> {
        let search = Search {
            but: &self.steps,
            busy: &self.busy,
            calls: self.calls,
            with_audits: self.audits < AUDITS_MAX,
            limited: &self.limited,
            calls_at_once: self.calls_at_once,
            // More than there are places, since some wait for others.
            limit: 4 * self.places(),
        };
        (!self.is_full()).then_some(search)
    }

    fn places(&self) -> i64 {
        self.calls_at_once + LOOKS_MAX
    }

    fn is_full(&self) -> bool {
        i64::try_from(self.steps.len()).is_ok_and(|steps| steps >= self.places())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(number: u128, account: &str, errand: Errand, is_under_way: bool, calls: i64) -> Due {
        let id = TargetId(uuid::Uuid::from_u128(number));
        let place = account.to_owned();
        Due { id, place, errand, is_under_way, is_limited: true, calls }
    }

    #[test]
    fn no_more_begin_than_aws_takes_and_one_at_a_time_in_an_account() {
        use Errand::{Audit, Grant, Poll, Revoke};
        let mut places = Places::new((Vec::new(), 3), []);
        let first = due(1, "111111111111", Revoke, false, 1);
        assert!(places.has_one_for(&first));
        places.give(&first);
        assert!(!places.has_one_for(&due(2, "111111111111", Grant, false, 1)), "in its account");
        assert!(places.has_one_for(&due(2, "111111111111", Poll, true, 1)), "it begins nothing");
        let second = due(3, "222222222222", Grant, false, 1);
        assert!(places.has_one_for(&second));
        places.give(&second);
        assert!(!places.has_one_for(&due(4, "333333333333", Revoke, false, 1)), "three are enough");
        assert!(places.has_one_for(&due(4, "333333333333", Revoke, false, 0)));
        let elsewhere = |place| Due { is_limited: false, ..due(5, place, Grant, false, 3) };
        assert!(places.has_one_for(&elsewhere("group/g-1")), "AWS limits only some");
        assert!(!places.has_one_for(&elsewhere("222222222222")), "one at a time all the same");
        let running = [first.clone(), due(2, "111111111111", Poll, true, 1), second.clone()];
        let later = Places::new((Vec::new(), 3), &running);
        assert_eq!(later.search().map(|search| search.calls), Some(3), "each counts once");
        for number in 0..4 {
            let audit = due(10 + number, "111111111111", Audit, false, 3);
            assert!(places.has_one_for(&audit));
            places.give(&audit);
        }
        assert!(!places.has_one_for(&due(20, "444444444444", Audit, false, 0)), "audits wait");
        assert!(places.search().is_some_and(|search| !search.with_audits));
    }
}
