//! One history: what callers and other people do in an organization, drawn from a seed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apono_connector_proto::v1::{
    AccessUnit, ExtendRequest, GetGrantRequest, Grant, GrantRequest, GrantState, RevokeRequest,
};
use aws_sim::{
    Effect, Fault, Sim,
    answer::Refusal,
    assignment::{Assignment, Turn},
};
use chrono::{DateTime, TimeDelta, Utc};
use connector::base::clock;
use prost_types::Timestamp;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tonic::{Code, Status};

use super::{
    Tally,
    lateness::{Excuses, Pace, Span},
    round::{Apis, accounts},
};
use crate::{
    access::{SET, ann, assignment, end_in, user},
    harness::{Api, Cloud, Database},
};

/// Things that happen in a history.
const EVENTS: usize = 18;
/// Times that a question is asked again when a daemon was killed amid it.
const TRIES_MAX: usize = 300;

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    Grant,
    Extend,
    Revoke,
    Assign,
    Unassign,
    LoseAnswer,
    Throttle,
    FailCalls,
    FailOperation,
    SlowOperation,
}

const CHANCES: [(u32, Event); 10] = [
    (8, Event::Grant),
    (2, Event::Extend),
    (3, Event::Revoke),
    (1, Event::Assign),
    (1, Event::Unassign),
    (2, Event::LoseAnswer),
    (1, Event::Throttle),
    (1, Event::FailCalls),
    (1, Event::FailOperation),
    (1, Event::SlowOperation),
];

/// Who, and in which account.
type Place = (usize, usize);

pub(super) struct History {
    seed: u64,
    at: usize,
    chance: StdRng,
    sim: Arc<Sim>,
    organization: String,
    management: String,
    database: String,
    apis: Apis,
    grants: Vec<(String, Place)>,
    /// Where somebody else has assigned the set.
    theirs: BTreeMap<Place, bool>,
    tally: Tally,
}

impl History {
    pub(super) fn new(
        seed: u64,
        at: usize,
        cloud: &Cloud,
        database: &Database,
        apis: &Apis,
    ) -> Self {
        Self {
            seed,
            at,
            chance: StdRng::seed_from_u64(seed),
            sim: Arc::clone(&cloud.sim),
            organization: cloud.organization.clone(),
            management: cloud.management.clone(),
            database: database.url.clone(),
            apis: apis.clone(),
            grants: Vec::new(),
            theirs: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Lets everything happen.
    pub(super) async fn run(mut self) -> Self {
        {
            let mut world = self.sim.world();
            let organization = world.organizations.get_mut(&self.organization).expect("one");
            organization.directory.pace.takes =
                TimeDelta::milliseconds(self.chance.random_range(0..400));
            organization.directory.pace.conflicts_for = TimeDelta::milliseconds(800);
        }
        for _ in 0..EVENTS {
            clock::sleep(Duration::from_millis(self.chance.random_range(0..1200))).await;
            let all: u32 = CHANCES.iter().map(|(weight, _)| weight).sum();
            let mut drawn = self.chance.random_range(0..all);
            let event = CHANCES.iter().find(|(weight, _)| {
                let is_it = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                is_it
            });
            self.happen(event.map_or(Event::Grant, |(_, event)| *event)).await;
        }
        self
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Grant => self.grant().await,
            Event::Extend => self.extend().await,
            Event::Revoke => self.revoke().await,
            Event::Assign => self.assign().await,
            Event::Unassign => self.unassign(),
            Event::LoseAnswer => {
                let effect = if self.chance.random() { Effect::Cut } else { Effect::Reset };
                let verb = if self.chance.random() { "Create" } else { "Delete" };
                self.fault(effect, &format!("sso:{verb}AccountAssignment"), 1);
            }
            Event::Throttle => self.fault(Effect::Throttle, "sso:*", 3),
            Event::FailCalls => {
                let refusal = Refusal::new(500, "InternalServerException", "try later");
                self.fault(Effect::Refuse(refusal), "sso:*", 4);
            }
            Event::FailOperation => {
                self.tally.failed += 1;
                let fails = Some("An unexpected error has occurred".to_owned());
                self.turn(Turn { fails, longer: TimeDelta::zero() });
            }
            Event::SlowOperation => {
                let longer = TimeDelta::milliseconds(self.chance.random_range(500..2500));
                self.turn(Turn { fails: None, longer });
            }
        }
    }

    fn fault(&self, effect: Effect, action: &str, times: u32) {
        let fault = Fault::new(effect).on(action).in_account(&self.management).times(times);
        self.sim.world().faults.push(fault);
    }

    fn turn(&self, turn: Turn) {
        let mut world = self.sim.world();
        let organization = world.organizations.get_mut(&self.organization).expect("one");
        organization.directory.pace.next.push_back(turn);
    }

    fn place(&mut self) -> Place {
        (self.chance.random_range(1..3), self.chance.random_range(0..2))
    }

    fn object(&self, (person, account): Place) -> Assignment {
        assignment(&ann(person), &accounts(self.at)[account])
    }

    async fn grant(&mut self) {
        let place = self.place();
        let id = format!("{}-{}", self.seed, self.grants.len());
        let is_long = self.chance.random_range(0..4) == 0;
        let seconds = if is_long { 3600 } else { self.chance.random_range(1..9) };
        let request = GrantRequest {
            integration: format!("org-{}", self.at),
            grant_id: id.clone(),
            recipient: Some(user(&format!("ann{}@example.com", place.0))),
            units: vec![AccessUnit {
                account_id: accounts(self.at)[place.1].clone(),
                permission_set: SET.to_owned(),
                ..Default::default()
            }],
            end: Some(end_in(seconds)),
            reason: "by chance".to_owned(),
            ..Default::default()
        };
        let granted = self.ask(async |api| api.access().grant(request.clone()).await).await;
        granted.unwrap_or_else(|status| panic!("seed {}: {status}", self.seed));
        for (other, _) in self.grants.clone().iter().filter(|(_, held)| *held == place) {
            let state = self.get(other).await.state();
            if matches!(state, GrantState::Pending | GrantState::Active) {
                self.tally.overlaps += 1;
                break;
            }
        }
        self.tally.grants += 1;
        self.grants.push((id, place));
    }

    fn any_grant(&mut self) -> Option<String> {
        if self.grants.is_empty() {
            return None;
        }
        let at = self.chance.random_range(0..self.grants.len());
        Some(self.grants[at].0.clone())
    }

    async fn extend(&mut self) {
        let Some(grant_id) = self.any_grant() else { return };
        let Some(end) = self.get(&grant_id).await.expire_time else { return };
        let seconds = end.seconds + self.chance.random_range(1..5);
        let expire_time = Some(Timestamp { seconds, nanos: 0 });
        let request = ExtendRequest { grant_id, expire_time, ..Default::default() };
        let extended = self.ask(async |api| api.access().extend(request.clone()).await).await;
        let is_good = extended.as_ref().map_or_else(
            |status| matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument),
            |_| true,
        );
        assert!(is_good, "seed {}: {extended:?}", self.seed);
    }

    async fn revoke(&mut self) {
        let Some(grant_id) = self.any_grant() else { return };
        let request = RevokeRequest { grant_id, ..Default::default() };
        let revoked = self.ask(async |api| api.access().revoke(request.clone()).await).await;
        revoked.unwrap_or_else(|status| panic!("seed {}: {status}", self.seed));
    }

    /// Somebody else assigns the set where nothing of ours is, nor can come any more: elsewhere nobody
    /// could tell afterwards whose it is.
    async fn assign(&mut self) {
        let place = self.place();
        let account = &accounts(self.at)[place.1];
        let restless = format!(
            "SELECT (SELECT count(*) FROM connector.targets WHERE place = '{account}'
                 AND (next_at IS NOT NULL OR intent_verb IS NOT NULL))
               + (SELECT count(*) FROM connector.units WHERE account_id = '{account}'
                 AND state NOT IN ('ENDED', 'FAILED'))"
        );
        let database = Database { url: self.database.clone() };
        if database.count(&restless).await > 0 {
            return;
        }
        self.tally.foreign += 1;
        self.theirs.insert(place, true);
        self.sim.world().assign(&self.organization, self.object(place));
    }

    fn unassign(&mut self) {
        let place = self.place();
        self.tally.foreign += 1;
        self.theirs.insert(place, false);
        self.sim.world().unassign(&self.organization, &self.object(place));
    }

    /// Asks a daemon that is up, until one answers.
    async fn ask<T>(
        &self,
        question: impl AsyncFn(Api) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        let mut last = Status::unavailable("no daemon is up");
        for turn in 0..TRIES_MAX {
            if let Some(api) = self.apis.any(turn + self.at) {
                match tokio::time::timeout(Duration::from_secs(5), question(api)).await {
                    Ok(Ok(answer)) => return Ok(answer.into_inner()),
                    Ok(Err(status)) if is_an_answer(&status) => return Err(status),
                    Ok(Err(status)) => last = status,
                    Err(elapsed) => last = Status::deadline_exceeded(elapsed.to_string()),
                }
            }
            clock::sleep(Duration::from_millis(100)).await;
        }
        Err(last)
    }

    async fn get(&self, id: &str) -> Grant {
        let request = GetGrantRequest { grant_id: id.to_owned(), ..Default::default() };
        let found = self.ask(async |api| api.access().get_grant(request.clone()).await).await;
        let found = found.unwrap_or_else(|status| panic!("seed {}: {status}", self.seed));
        found.grant.expect("a grant")
    }

    /// Everybody may do what live grants and others say, and nothing else.
    pub(super) async fn judge(mut self, trouble: &Excuses, pace: &Pace) -> Tally {
        // From the start to the end of each grant.
        let mut ends: BTreeMap<Place, Vec<Span>> = BTreeMap::new();
        let mut live: BTreeMap<Place, Vec<String>> = BTreeMap::new();
        for (id, place) in self.grants.clone() {
            let grant = self.get(&id).await;
            let end = [grant.expire_time, grant.revoke_time].into_iter().flatten().map(time).min();
            let start = grant.create_time.map(time).expect("a start");
            ends.entry(place).or_default().push((start, end.expect("an end")));
            if grant.state() == GrantState::Active {
                live.entry(place).or_default().push(id);
            }
        }
        for place in [(1, 0), (1, 1), (2, 0), (2, 1)] {
            let object = self.object(place);
            let (has, changes) = {
                let mut world = self.sim.world();
                world.settle(&self.organization);
                let directory = &world.organizations[&self.organization].directory;
                (directory.assignments.contains(&object), directory.changes.clone())
            };
            let is_theirs = self.theirs.get(&place).copied().unwrap_or_default();
            let live = live.get(&place).cloned().unwrap_or_default();
            assert_eq!(
                has,
                is_theirs || !live.is_empty(),
                "RANDOM_SEED={}: {place:?} is held by {live:?}, others: {is_theirs}; {changes:#?}",
                self.seed
            );
            let account = object.account.as_str();
            let lost = self.lost(account).await;
            let of = (self.organization.as_str(), account);
            let excuses = trouble.clone().with_aws(&self.sim, of, &lost);
            let ours = changes.iter().filter(|one| one.assignment == object && !one.is_by_hand);
            for gone in ours.filter(|one| !one.is_there) {
                let before = ends.get(&place).into_iter().flatten();
                let before = before.filter(|(start, _)| *start <= gone.at);
                // A grant that came when it was on its way out does not count.
                let end = before.map(|(_, end)| *end).filter(|end| *end <= gone.at).max();
                if let Some(end) = end {
                    self.tally.late.push((gone.at - end).to_std().unwrap_or_default());
                    let left = excuses.left_of((end, gone.at));
                    let left = left.div_f64(pace.slowness((end, gone.at)));
                    self.tally.unexcused.push(left);
                }
            }
        }
        self.tally
    }

    /// When the answer to a call was lost that was about an account.
    async fn lost(&self, account: &str) -> Vec<DateTime<Utc>> {
        let lost = format!(
            "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')
             FROM connector.acts WHERE verb = 'NO_ANSWER' AND object LIKE '%{account}%'"
        );
        let database = Database { url: self.database.clone() };
        let lost = database.texts(&lost).await;
        lost.iter().map(|at| at.parse().expect("a time")).collect()
    }
}

/// Whether a daemon answered, and not its end or that of its database.
fn is_an_answer(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
    )
}

fn time(time: Timestamp) -> DateTime<Utc> {
    let nanos = u32::try_from(time.nanos).expect("a time");
    DateTime::from_timestamp(time.seconds, nanos).expect("a time")
}
