//! Killed or stopped at every effect of giving and taking access, the connector comes to rest where
//! AWS has what live grants imply, what was there before, and nothing else.
//!
//! A clean run of each flow is recorded first: calls at the simulated AWS, commits at a proxy before
//! PostgreSQL. Each of them is a *point*. At every point the real daemon is killed, or stopped
//! and continued when another one has taken over, with the effect arrived and not applied, or applied
//! and not answered; what comes after it starts before or after the grant's end. Calls are told by their
//! action and their number in the flow, commits by their number alone, since what one writes depends on which
//! of a unit's targets is looked at first. So a new effect enters by itself.
//!
//! `make test` visits each point once, with a variant drawn by a seed that is printed
//! (`MATRIX_SEED` draws the same again), but of calls that only read the first of each action alone: at the
//! others is what was at the commit before. `make matrix` visits all points in all variants. Against `aws-sim`.

mod flow;
mod proxy;
mod way;

use std::{collections::BTreeMap, fmt, time::Duration};

use aws_sim::{Moment, reference};
use futures::StreamExt as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    flow::{Flow, Stage},
    way::Way,
};

/// Clean runs at once.
const TRACES_AT_ONCE: usize = 3;
/// Visits at once.
const AT_ONCE: usize = 8;
/// A point that depends on how often the engine has looked may be missed. Then it is tried again, and
/// after so many times the one before it of its like is: that came earlier. The first one must come.
const TRIES_MAX: usize = 3;
/// A visit takes seconds.
const VISIT_MAX: Duration = Duration::from_mins(2);

/// An effect of a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    /// A call of AWS, or else a commit.
    pub is_call: bool,
    /// IAM action; of a commit [`COMMIT`].
    pub label: String,
    /// Which of those, from 1.
    pub nth: usize,
}

impl Point {
    /// A call that has come before in the flow, and changes nothing.
    fn is_read_again(&self) -> bool {
        self.nth > 1 && matches!(reference::access_level(&self.label), Some("List" | "Read"))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.label, self.nth)
    }
}

/// Any commit.
const COMMIT: &str = "commit";

/// What happens at a point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// Whether the effect was applied.
    pub moment: Moment,
    /// Whether the daemon is stopped and continued; else it is killed.
    pub is_stopped: bool,
    /// Whether the next daemon starts after the grant's end.
    pub is_late: bool,
}

impl Variant {
    fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|bits: u32| Self {
            moment: if bits & 1 == 0 { Moment::Arrived } else { Moment::Applied },
            is_stopped: bits & 2 != 0,
            is_late: bits & 4 != 0,
        })
    }
}

/// Each label with its number among its like.
fn points(labels: impl IntoIterator<Item = (bool, String)>) -> Vec<Point> {
    let mut seen = BTreeMap::new();
    let numbered = labels.into_iter().map(|(is_call, label)| {
        let nth = seen.entry((is_call, label.clone())).or_insert(0);
        *nth += 1;
        Point { is_call, label, nth: *nth }
    });
    numbered.collect()
}

/// The points that come in each of two clean runs. One that comes in one of them alone depends on how
/// often the engine has looked; it is told, and not waited for.
async fn always(stage: &Stage, flow: (Way, Flow)) -> Vec<Point> {
    let (first, second) = (points(stage.trace(flow).await), points(stage.trace(flow).await));
    for once in first.iter().filter(|point| !second.contains(point)) {
        println!("{flow:?} at {once}: not in each clean run");
    }
    first.into_iter().filter(|point| second.contains(point)).collect()
}

/// What went wrong: told at once, as a whole matrix takes its time.
#[expect(clippy::unnecessary_wraps, reason = "it is the answer of a visit")]
fn told(flow: (Way, Flow), point: &Point, variant: Variant, wrong: &str) -> Option<String> {
    let wrong = format!("{flow:?} at {point}, {variant:?}: {wrong}");
    println!("{wrong}");
    Some(wrong)
}

#[tokio::test]
async fn killed_or_stopped_at_every_effect_it_comes_to_rest_as_it_should() {
    let seed = std::env::var("MATRIX_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    let is_whole = std::env::var_os("MATRIX_WHOLE").is_some();
    println!("MATRIX_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let stage = &Stage::prepare().await;
    let mut visits = Vec::new();
    let flows = Way::ALL.into_iter().flat_map(|way| way.flows().map(move |flow| (way, flow)));
    let traced = futures::stream::iter(flows)
        .map(|flow| async move { (flow, always(stage, flow).await) })
        .buffered(TRACES_AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    for (flow, points) in traced {
        println!("{flow:?} has {} points", points.len());
        assert!(!points.is_empty(), "{flow:?} was not recorded");
        for point in points.into_iter().filter(|point| is_whole || !point.is_read_again()) {
            let variants: Vec<Variant> = Variant::all().collect();
            let drawn = chance.random_range(0..variants.len());
            let chosen = if is_whole { variants } else { vec![variants[drawn]] };
            visits.extend(chosen.into_iter().map(|variant| (flow, point.clone(), variant)));
        }
    }
    let count = visits.len();
    let failed: Vec<String> = futures::stream::iter(visits)
        .map(|(flow, point, variant)| async move {
            let earlier = (1..=point.nth).rev();
            let tries = earlier.flat_map(|nth| [nth; TRIES_MAX]);
            for nth in tries {
                let point = Point { nth, ..point.clone() };
                let visit = stage.visit(flow, &point, variant);
                match tokio::time::timeout(VISIT_MAX, visit).await {
                    Ok(Ok(true)) => return None,
                    // The point was not met.
                    Ok(Ok(false)) => {}
                    Ok(Err(wrong)) => return told(flow, &point, variant, &wrong),
                    Err(_) => return told(flow, &point, variant, "no end"),
                }
            }
            told(flow, &point, variant, "the point was not met")
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    println!("{count} visits");
    assert!(
        failed.is_empty(),
        "MATRIX_SEED={seed}: {} of {count} failed: {failed:#?}",
        failed.len()
    );
}
