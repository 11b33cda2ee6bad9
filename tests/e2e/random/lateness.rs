//! How long our access may stay after its end: a second, as long as AWS takes, and as long as nobody
//! could work there.
//!
//! What excuses a removal is counted from what happened between the end and the removal: a daemon was
//! down or without its database, AWS was at work in the account, or had refused a call, after which
//! the daemons wait for as long as their rows say ([`watch`]), and as back-off allows. What is left when these times are taken away is the daemon's own; it is told in the time of a machine
//! that is not busy, by how much longer a little work took meanwhile than when it was quickest
//! ([`metronome`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sim::{Sim, assignment::Status};
use chrono::{DateTime, TimeDelta, Utc};
use connector::base::clock;

use crate::harness::Database;

/// From a time to another.
pub(super) type Span = (DateTime<Utc>, DateTime<Utc>);

/// The lease of a daemon that is no more runs out so long after.
const LEASE: TimeDelta = TimeDelta::seconds(2);
/// What became of a call whose answer was lost is waited for so long.
const SETTLING: TimeDelta = TimeDelta::seconds(2);
/// What somebody else changes in a group amid a change of ours is waited out for so long.
const SHOWS: TimeDelta = TimeDelta::seconds(4);
/// A failed operation is noticed so long after: until the next poll, of a list that may be shared.
const NOTICED: TimeDelta = TimeDelta::milliseconds(600);
/// A call that was refused is tried again so soon within a step.
const TRIED_AGAIN: TimeDelta = TimeDelta::seconds(2);
/// The first wait after a failed step; each one doubles it.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(1);
/// From one look at what the daemons wait for to the next.
const WATCHED: Duration = Duration::from_millis(100);

/// From a beat of the metronome to the next.
const BEAT: Duration = Duration::from_millis(20);
/// What is added up at each beat: about a millisecond's work.
const WORK: u64 = 50_000;

/// How long the same little work took, again and again.
#[derive(Debug)]
pub(super) struct Pace(Vec<(DateTime<Utc>, Duration)>);

/// Does a little work again and again, on a thread of its own: how busy is the machine?
pub(super) async fn metronome(is_over: Arc<AtomicBool>) -> Pace {
    let beats = tokio::task::spawn_blocking(move || {
        let mut beats = Vec::new();
        while !is_over.load(Ordering::SeqCst) {
            std::thread::park_timeout(BEAT);
            let start = Instant::now();
            std::hint::black_box((0..WORK).fold(0_u64, |sum, one| std::hint::black_box(sum ^ one)));
            beats.push((clock::now(), start.elapsed()));
        }
        beats
    });
    Pace(beats.await.expect("beats"))
}

impl Pace {
    /// How many times longer the work took in a time than when it was quickest.
    pub(super) fn slowness(&self, (from, to): Span) -> f64 {
        let quickest = self.0.iter().map(|(_, took)| *took).min().unwrap_or_default();
        let within = self.0.iter().filter(|(at, took)| *at >= from && *at - *took <= to);
        let (count, sum) = within
            .fold((0_u32, Duration::ZERO), |(count, sum), (_, took)| (count + 1, sum + *took));
        (sum.as_secs_f64() / f64::from(count) / quickest.as_secs_f64()).max(1.0)
    }
}

/// What the daemons waited for after failures: whose, in which place, and when.
#[derive(Debug, Default)]
pub(super) struct Waits(Vec<(String, String, Span)>);

/// Looks again and again what the daemons wait for after failures.
pub(super) async fn watch(database: &Database, is_over: &AtomicBool) -> Waits {
    const WAITING: &str =
        "SELECT json_build_array(i.name, t.place, connector.now(), t.next_at, t.failures)::text
        FROM connector.targets t JOIN connector.integrations i ON i.id = t.integration_id
        WHERE t.failures > 0 AND t.next_at > connector.now()";
    let mut waits = Waits::default();
    while !is_over.load(Ordering::SeqCst) {
        for row in database.texts(WAITING).await {
            let row = serde_json::from_str(&row).expect("a row");
            let (whose, place, at, until, failures): (_, _, DateTime<Utc>, DateTime<Utc>, u32) =
                row;
            let most = at + FIRST_WAIT * 2_i32.pow(failures.min(10) - 1);
            waits.0.push((whose, place, (at - TimeDelta::milliseconds(200), until.min(most))));
        }
        clock::sleep(WATCHED).await;
    }
    waits
}

/// When nobody could have done more.
#[derive(Clone, Debug, Default)]
pub(super) struct Excuses(Vec<Span>);

impl Excuses {
    /// A daemon was down, stood still, or had no database.
    pub(super) fn of_trouble(trouble: &[Span]) -> Self {
        Self(trouble.iter().map(|(from, to)| (*from, *to + LEASE + SETTLING)).collect())
    }

    /// The daemons waited after failures.
    pub(super) fn with_waits(mut self, waits: &Waits, (whose, place): (&str, &str)) -> Self {
        let own = waits.0.iter().filter(|(of, at, _)| of == whose && at == place);
        self.0.extend(own.map(|(.., span)| *span));
        self
    }

    /// AWS was at work in an account, or something had failed there. `lost`: when no answer came.
    pub(super) fn with_aws(
        mut self,
        sim: &Sim,
        (organization, place): (&str, &str),
        lost: &[DateTime<Utc>],
    ) -> Self {
        let world = sim.world();
        let of = &world.organizations[organization];
        self.0.extend(lost.iter().map(|at| (*at, *at + SETTLING)));
        for operation in &of.directory.operations {
            if operation.assignment.account == place {
                let free = operation.ends + of.directory.pace.conflicts_for;
                self.0.push((operation.created, free));
                if matches!(operation.status, Status::Failed(_)) {
                    self.0.push((operation.ends, operation.ends + NOTICED));
                }
            }
        }
        if place.starts_with("group/") {
            let by_hand = of.directory.membership_changes.iter().filter(|one| one.is_by_hand);
            self.0.extend(by_hand.map(|change| (change.at, change.at + SHOWS)));
        }
        let member = place.split('/').next().unwrap_or_default();
        if let Some(account) = world.accounts.get(member).filter(|_| place.contains("/AIDA")) {
            let changed = account.user_changes.iter().filter(|change| change.is_by_hand);
            self.0.extend(changed.map(|change| (change.at, change.at + SHOWS)));
        }
        let of_iam = world.journal.iter().filter(|entry| {
            place.contains("/AIDA")
                && entry.account == member
                && entry.action.starts_with("iam:")
                && !matches!(entry.code.as_str(), "" | "NoSuchEntity")
        });
        self.0.extend(of_iam.map(|entry| (entry.at, entry.at + TRIED_AGAIN)));
        let refused = world.journal.iter().filter(|entry| {
            entry.account == of.management
                && (entry.action.starts_with("sso:") || entry.action.starts_with("identitystore:"))
                // That somebody is in no group is an answer.
                && !matches!(entry.code.as_str(), "" | "ResourceNotFoundException")
        });
        self.0.extend(refused.map(|entry| (entry.at, entry.at + TRIED_AGAIN)));
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
