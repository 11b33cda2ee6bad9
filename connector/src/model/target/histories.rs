//! Random histories of one target: holders that come and go, calls that are lost, late, refused or
//! fail, crashes between any two steps, and other people's hands. However it goes, what
//! others made stays, what we made goes, and what is wanted is there in the end.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Calls arrive within this time or never; then a call has settled.
const SETTLING_S: i64 = 600;
/// AWS shows what it knows at most so much later.
const LATE_S: i64 = 60;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// Somebody wants it, or nobody does any more.
    Want(bool),
    /// Somebody else makes or removes it, or fails to.
    Foreign { verb: Verb, fails: bool },
    /// AWS shows it for so many seconds as it was then.
    Late(i64),
    /// Seconds pass.
    Pass(i64),
    /// We look, and do what comes next; the call, if one is made, goes so.
    Step(Call),
}

/// How a call goes.
#[derive(Clone, Debug)]
enum Call {
    /// We are killed before it is made.
    NotMade,
    /// AWS refuses it.
    Refused,
    /// AWS accepts it and takes so long, and then does it or not.
    Accepted { takes: i64, fails: bool },
    /// The answer is lost: it arrives so much later.
    Lost { later: i64, takes: i64, fails: bool },
}

/// An operation in AWS, also one that has not arrived yet.
#[derive(Clone, Debug)]
struct Sent {
    operation: Operation,
    is_ours: bool,
    arrives: DateTime<Utc>,
    ends: DateTime<Utc>,
    fails: bool,
}

/// AWS, and we.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct World {
    now: DateTime<Utc>,
    sent: VecDeque<Sent>,
    numbers: u32,
    is_present: bool,
    /// When it came and went.
    changes: Vec<(DateTime<Utc>, bool)>,
    /// Until when AWS shows it as it was, and as it was when.
    late: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Whether somebody else has made what is there.
    is_theirs: bool,
    /// Whether we have.
    is_ours: bool,
    /// Whether somebody else made it when nobody could tell that it was not ours: in place of ours
    /// between two looks, or while a call of ours had not settled.
    is_ambiguous: bool,
    target: Target,
    is_wanted: bool,
}

impl World {
    fn new() -> Self {
        Self {
            now: DateTime::from_timestamp(1_800_000_000, 0).expect("a time"),
            sent: VecDeque::new(),
            numbers: 0,
            is_present: false,
            changes: Vec::new(),
            late: None,
            is_theirs: false,
            is_ours: false,
            is_ambiguous: false,
            target: Target::default(),
            is_wanted: false,
        }
    }

    fn send(
        &mut self,
        verb: Verb,
        is_ours: bool,
        (later, takes): (i64, i64),
        fails: bool,
    ) -> String {
        self.numbers += 1;
        let request = self.numbers.to_string();
        let arrives = self.now + TimeDelta::seconds(later);
        let ends = arrives + TimeDelta::seconds(takes);
        let operation = Operation { request: request.clone(), verb, progress: Progress::Running };
        self.sent.push_back(Sent { operation, is_ours, arrives, ends, fails });
        self.pass(0);
        request
    }

    /// Time passes; operations end in their order.
    fn pass(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
        let now = self.now;
        let mut due: Vec<&mut Sent> = self
            .sent
            .iter_mut()
            .filter(|sent| sent.operation.progress == Progress::Running && sent.ends <= now)
            .collect();
        due.sort_by_key(|sent| sent.ends);
        for sent in due {
            let is_absent_delete = sent.operation.verb == Verb::Delete && !self.is_present;
            if sent.fails || is_absent_delete {
                sent.operation.progress = Progress::Failed("told to".to_owned());
                continue;
            }
            sent.operation.progress = Progress::Succeeded;
            self.changes.push((sent.ends, sent.operation.verb == Verb::Create));
            match sent.operation.verb {
                Verb::Create => {
                    self.is_present = true;
                    self.is_ours |= sent.is_ours;
                    self.is_theirs |= !sent.is_ours;
                    // We take it for ours, or cannot tell.
                    let is_ours = self.target.origin == Some(Origin::Made)
                        || self.target.doubt.is_any()
                        || self.target.intent.is_some();
                    self.is_ambiguous |= !sent.is_ours && is_ours;
                }
                Verb::Delete => {
                    self.is_present = false;
                    self.is_ours = false;
                    self.is_theirs = false;
                    self.is_ambiguous = false;
                }
            }
        }
    }

    fn observe(&self) -> Observed {
        let since = self.target.intent.as_ref().map(|intent| intent.since);
        let told = self.sent.iter().filter(|sent| {
            sent.arrives <= self.now
                && (sent.operation.progress == Progress::Running
                    || since.is_some_and(|since| sent.arrives >= since))
        });
        let seen_as_of =
            self.late.filter(|(until, _)| self.now < *until).map_or(self.now, |late| late.1);
        let mut before = self.changes.iter().rev();
        let is_present = before.find(|(at, _)| *at <= seen_as_of).is_some_and(|(_, there)| *there);
        let operations = told.map(|sent| sent.operation.clone()).collect();
        Observed { is_present, operations, ..Observed::default() }
    }

    fn step(&mut self, goes: &Call) -> Next {
        let observed = self.observe();
        let settling = TimeDelta::seconds(SETTLING_S);
        let (target, next) = decide(&self.target, self.is_wanted, &observed, self.now, settling);
        self.target = target;
        if next == Next::Done {
            let is_ours = self.is_present && self.is_ours && !self.is_theirs;
            assert!(!is_ours, "ours is there: {:?}", self.target);
            let running = |sent: &&Sent| sent.operation.progress == Progress::Running;
            let mut coming = self.sent.iter().filter(running);
            let comes = coming.any(|sent| sent.is_ours && sent.operation.verb == Verb::Create);
            assert!(!comes, "ours is still to come: {:?}", self.target);
        }
        // What we took for missing may be there, by somebody else's hand.
        self.is_ambiguous |= matches!(next, Next::Call(Verb::Create)) && self.is_present;
        let Next::Call(verb) = next else { return next };
        assert_eq!(self.target.intent.as_ref().map(|intent| intent.verb), Some(verb));
        if verb == Verb::Delete {
            assert!(!self.is_theirs || self.is_ours || self.is_ambiguous, "it is not ours");
            assert!(!self.is_wanted, "it is wanted");
        }
        let receipt = match *goes {
            Call::NotMade => Receipt::Lost,
            Call::Refused => Receipt::Refused,
            Call::Accepted { takes, fails } => {
                Receipt::Accepted(self.send(verb, true, (0, takes), fails))
            }
            Call::Lost { later, takes, fails } => {
                self.send(verb, true, (later, takes), fails);
                Receipt::Lost
            }
        };
        self.target = receive(&self.target, receipt);
        next
    }

    /// Nothing goes wrong any more: how it ends.
    fn rest(&mut self) -> Next {
        self.pass(LATE_S);
        for _ in 0..1000 {
            match self.step(&Call::Accepted { takes: 2, fails: false }) {
                next @ (Next::Hold | Next::Done | Next::Leave { .. }) => return next,
                Next::Verify { until, .. } => {
                    let seconds = (until - self.now).num_seconds();
                    self.pass(seconds.clamp(1, 30));
                }
                Next::Call(_) | Next::Poll | Next::Failed(..) => self.pass(5),
            }
        }
        panic!("it never rests: {:?}", self.target);
    }
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![Just(Verb::Create), Just(Verb::Delete)]
}

fn goes() -> impl Strategy<Value = Call> {
    let takes = 0..90_i64;
    prop_oneof![
        4 => (takes.clone(), prop::bool::weighted(0.2))
            .prop_map(|(takes, fails)| Call::Accepted { takes, fails }),
        1 => Just(Call::NotMade),
        1 => Just(Call::Refused),
        // It takes effect before it has settled.
        2 => (0..SETTLING_S - 90 - LATE_S, takes, prop::bool::weighted(0.2))
            .prop_map(|(later, takes, fails)| Call::Lost { later, takes, fails }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => any::<bool>().prop_map(Event::Want),
        1 => (verb(), any::<bool>()).prop_map(|(verb, fails)| Event::Foreign { verb, fails }),
        1 => (1..LATE_S).prop_map(Event::Late),
        3 => prop_oneof![0..5_i64, 5..120_i64, 300..1200_i64].prop_map(Event::Pass),
        8 => goes().prop_map(Event::Step),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_it_goes_what_is_wanted_is_there_and_what_is_not_ours_stays(
        events in prop::collection::vec(event(), 1..60),
        is_wanted_last in any::<bool>(),
    ) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::Want(wanted) => world.is_wanted = wanted,
                Event::Foreign { verb, fails } => {
                    world.send(verb, false, (0, 2), fails);
                }
                Event::Late(seconds) => {
                    world.late = Some((world.now + TimeDelta::seconds(seconds), world.now));
                }
                Event::Pass(seconds) => world.pass(seconds),
                Event::Step(goes) => {
                    world.step(&goes);
                }
            }
        }
        if is_wanted_last {
            world.is_wanted = true;
            prop_assert_eq!(world.rest(), Next::Hold);
            prop_assert!(world.is_present);
        } else {
            world.is_wanted = false;
            let rests = world.rest();
            prop_assert!(matches!(rests, Next::Done | Next::Leave { .. }), "{rests:?}");
            // Whatever may still be on its way arrives.
            world.pass(2 * SETTLING_S);
            // What somebody else has tried to make beside us is left, and said to be.
            let is_theirs = world.is_theirs || world.target.is_adopted;
            prop_assert!(!world.is_present || is_theirs, "ours stays: {:?}", world.target);
        }
    }

    #[test]
    fn what_was_there_before_us_is_there_after_us(
        events in prop::collection::vec(
            prop_oneof![
                2 => any::<bool>().prop_map(Event::Want),
                3 => (0..1200_i64).prop_map(Event::Pass),
                8 => goes().prop_map(Event::Step),
            ],
            1..60,
        ),
    ) {
        let mut world = World::new();
        world.send(Verb::Create, false, (0, 0), false);
        for event in events {
            match event {
                Event::Want(wanted) => world.is_wanted = wanted,
                Event::Pass(seconds) => world.pass(seconds),
                Event::Step(goes) => {
                    let next = world.step(&goes);
                    prop_assert!(!matches!(next, Next::Call(_)), "{next:?}");
                }
                Event::Foreign { .. } | Event::Late(_) => unreachable!("nobody else is here"),
            }
            prop_assert!(world.is_present);
        }
    }
}
