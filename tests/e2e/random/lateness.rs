//! How long our access may stay after its end: a second, as long as AWS takes, and as long as nobody
//! could work there.
//!
//! What excuses a removal is counted from what happened between the end and the removal: a daemon was
//! down or without its database, AWS was at work in the account, or had refused a call. What
//! is left when these times are taken away is the daemon's own.

use std::time::Duration;

use aws_sim::{Sim, assignment::Status};
use chrono::{DateTime, TimeDelta, Utc};

/// From a time to another.
pub(super) type Span = (DateTime<Utc>, DateTime<Utc>);

/// The lease of a daemon that is no more runs out so long after.
const LEASE: TimeDelta = TimeDelta::seconds(2);
/// What became of a call whose answer was lost is waited for so long.
const SETTLING: TimeDelta = TimeDelta::seconds(2);
/// The first wait after a failure; each one doubles it, up to the last.
const BACK_OFF: (TimeDelta, TimeDelta) = (TimeDelta::seconds(1), TimeDelta::seconds(8));

/// When nobody could have done more.
#[derive(Clone, Debug, Default)]
pub(super) struct Excuses(Vec<Span>);

impl Excuses {
    /// A daemon was down, stood still, or had no database.
    pub(super) fn of_trouble(trouble: &[Span]) -> Self {
        Self(trouble.iter().map(|(from, to)| (*from, *to + LEASE + SETTLING)).collect())
    }

    /// AWS was at work in an account, or something had failed there. `lost`: when no answer came.
    pub(super) fn with_aws(
        mut self,
        sim: &Sim,
        (organization, account): (&str, &str),
        lost: &[DateTime<Utc>],
    ) -> Self {
        let world = sim.world();
        let of = &world.organizations[organization];
        self.0.extend(lost.iter().map(|at| (*at, *at + SETTLING)));
        let mut failures = lost.to_vec();
        for operation in &of.directory.operations {
            if operation.assignment.account == account {
                let free = operation.ends + of.directory.pace.conflicts_for;
                self.0.push((operation.created, free));
                if matches!(operation.status, Status::Failed(_)) {
                    failures.push(operation.ends);
                }
            }
        }
        let refused = world.journal.iter().filter(|entry| {
            entry.account == of.management
                && entry.action.starts_with("sso:")
                && !entry.code.is_empty()
        });
        failures.extend(refused.map(|entry| entry.at));
        failures.sort();
        let (first, most) = BACK_OFF;
        let (mut wait, mut until) = (first, DateTime::<Utc>::MIN_UTC);
        for at in failures {
            wait = if at <= until { (wait * 2).min(most) } else { first };
            until = at + wait;
            self.0.push((at, until));
        }
        self
    }

    /// How much of a time nothing excuses.
    pub(super) fn left_of(&self, (from, to): Span) -> Duration {
        let mut excuses = self.0.clone();
        excuses.sort();
        let (mut left, mut at) = (TimeDelta::zero(), from);
        for (begins, ends) in excuses {
            let begins = begins.clamp(at, to);
            left += begins - at;
            at = ends.clamp(begins, to);
        }
        (left + (to - at)).to_std().unwrap_or_default()
    }
}

#[test]
fn what_overlaps_excuses_once() {
    let at = |millis| DateTime::from_timestamp_millis(millis).expect("a time");
    let excuses = Excuses(vec![
        (at(5000), at(6000)),
        (at(0), at(1500)),
        (at(1200), at(1300)),
        (at(3000), at(4000)),
        (at(9500), at(20000)),
    ]);
    let left = |from, to| excuses.left_of((at(from), at(to))).as_millis();
    assert_eq!(left(1000, 10000), 1500 + 1000 + 3500);
    assert_eq!(left(3200, 3900), 0);
    assert_eq!(left(7000, 8000), 1000);
    assert_eq!(Excuses::default().left_of((at(0), at(700))).as_millis(), 700);
}
