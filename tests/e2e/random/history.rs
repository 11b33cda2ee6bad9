//! One history: what callers and other people do in an organization, drawn from a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use apono_connector_proto::v1::{
    ExtendRequest, GetGrantRequest, Grant, GrantRequest, GrantState, RevokeRequest,
};
use aws_sim::{Effect, Fault, Sim, answer::Refusal, assignment::Turn};
use chrono::{DateTime, TimeDelta, Utc};
use connector::base::clock;
use prost_types::Timestamp;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tonic::{Code, Status};

use super::{
    Tally, UNEXCUSED_MAX,
    lateness::{Excuses, Pace, Span, Waits},
    place::{self, Place, What},
    round::{Apis, accounts, is_inline},
};
use crate::{
    access::{end_in, iam_user::before},
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

pub(super) struct History {
    seed: u64,
    at: usize,
    chance: StdRng,
    sim: Arc<Sim>,
    organization: String,
    management: String,
    database: Arc<Database>,
    apis: Apis,
    grants: Vec<(String, Place)>,
    /// Where somebody else has made the same.
    theirs: BTreeMap<Place, bool>,
    tally: Tally,
}

impl History {
    pub(super) fn new(
        seed: u64,
        at: usize,
        cloud: &Cloud,
        database: &Arc<Database>,
        apis: &Apis,
    ) -> Self {
        Self {
            seed,
            at,
            chance: StdRng::seed_from_u64(seed),
            sim: Arc::clone(&cloud.sim),
            organization: cloud.organization.clone(),
            management: cloud.management.clone(),
            database: Arc::clone(database),
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
        // Whoever may opens a session, and leaves it open.
        for place in Place::ALL.into_iter().filter(|place| place.what == What::Instance) {
            place.is_there(&mut self.sim.world(), (&self.organization, self.at));
        }
        match event {
            Event::Grant => self.grant().await,
            Event::Extend => self.extend().await,
            Event::Revoke => self.revoke().await,
            Event::Assign => self.assign().await,
            Event::Unassign => self.unassign(),
            Event::LoseAnswer => {
                let effect = if self.chance.random() { Effect::Cut } else { Effect::Reset };
                let changes = [
                    "sso:CreateAccountAssignment",
                    "sso:DeleteAccountAssignment",
                    "sso:CreatePermissionSet",
                    "sso:DeletePermissionSet",
                    "identitystore:CreateGroupMembership",
                    "identitystore:DeleteGroupMembership",
                    "iam:CreatePolicy",
                    "iam:CreatePolicyVersion",
                    "iam:DeletePolicy",
                    "iam:AddUserToGroup",
                    "iam:RemoveUserFromGroup",
                    "iam:PutUserPolicy",
                    "iam:DeleteUserPolicy",
                    "iam:UpdateAssumeRolePolicy",
                    "ssm:TerminateSession",
                ];
                let change = changes[self.chance.random_range(0..changes.len())];
                self.fault(effect, change, 1);
            }
            Event::Throttle => {
                let calls = self.any_calls();
                self.fault(Effect::Throttle, calls, 3);
            }
            Event::FailCalls => {
                let refusal = Refusal::new(500, "InternalServerException", "try later");
                let calls = self.any_calls();
                self.fault(Effect::Refuse(refusal), calls, 4);
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
        let is_member = action.starts_with("iam:") || action.starts_with("ssm:");
        let account = if is_member { &accounts(self.at)[0] } else { &self.management };
        let fault = Fault::new(effect).on(action).in_account(account).times(times);
        self.sim.world().faults.push(fault);
    }

    fn turn(&self, turn: Turn) {
        let mut world = self.sim.world();
        let organization = world.organizations.get_mut(&self.organization).expect("one");
        organization.directory.pace.next.push_back(turn);
    }

    fn any_calls(&mut self) -> &'static str {
        ["identitystore:*", "iam:*", "sso:*", "sso:*", "ssm:*"][self.chance.random_range(0..5)]
    }

    fn place(&mut self) -> Place {
        Place::ALL[self.chance.random_range(0..Place::ALL.len())]
    }

    async fn grant(&mut self) {
        let place = self.place();
        let id = format!("{}-{}", self.seed, self.grants.len());
        let is_long = self.chance.random_range(0..4) == 0;
        let seconds = if is_long { 3600 } else { self.chance.random_range(1..9) };
        let request = GrantRequest {
            integration: format!("org-{}", self.at),
            grant_id: id.clone(),
            recipient: Some(place.recipient(self.at)),
            units: vec![place.unit(self.at)],
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

    /// Somebody else makes the same where nothing of ours is, nor can come any more: elsewhere nobody
    /// could tell afterwards whose it is.
    async fn assign(&mut self) {
        let place = self.place();
        if !place.can_be_theirs() {
            return;
        }
        let of = place.of(self.at);
        let restless = format!(
            "SELECT (SELECT count(*) FROM connector.targets t
                 JOIN connector.integrations i ON i.id = t.integration_id
                 WHERE i.name = 'org-{at}' AND t.place = '{of}'
                 AND (t.next_at IS NOT NULL OR t.intent_verb IS NOT NULL))
               + (SELECT count(*) FROM connector.units u
                 JOIN connector.grants g USING (connector_id, grant_id)
                 JOIN connector.integrations i ON i.id = g.integration_id
                 WHERE i.name = 'org-{at}' AND u.state NOT IN ('ENDED', 'FAILED')
                 AND (u.account_id = '{of}' OR u.resource LIKE '%{of}'))",
            at = self.at
        );
        if self.database.count(&restless).await > 0 {
            return;
        }
        self.change_by_hand(place, true);
    }

    fn unassign(&mut self) {
        let place = self.place();
        self.change_by_hand(place, false);
    }

    fn change_by_hand(&mut self, place: Place, makes: bool) {
        self.tally.foreign += 1;
        self.theirs.insert(place, makes);
        place.by_hand(&mut self.sim.world(), (&self.organization, self.at), makes);
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
    pub(super) async fn judge(mut self, trouble: &Excuses, pace: &Pace, waits: &Waits) -> Tally {
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
        self.nothing_is_left(&live);
        for place in Place::ALL {
            let (has, removals) = {
                let mut world = self.sim.world();
                world.settle(&self.organization);
                let has = place.is_there(&mut world, (&self.organization, self.at));
                (has, place.removals(&world, (&self.organization, self.at)))
            };
            let is_theirs = self.theirs.get(&place).copied().unwrap_or_default();
            let live = live.get(&place).cloned().unwrap_or_default();
            assert_eq!(
                has,
                is_theirs || !live.is_empty(),
                "RANDOM_SEED={}: {place:?} is held by {live:?}, others: {is_theirs}; removed {removals:?}",
                self.seed
            );
            let of = place.of(self.at);
            let lost = self.lost(&of).await;
            let excuses = trouble.clone().with_aws(&self.sim, (&self.organization, &of), &lost);
            let excuses = excuses.with_waits(waits, (&format!("org-{}", self.at), &of));
            for gone in removals {
                let before = ends.get(&place).into_iter().flatten();
                let before = before.filter(|(start, _)| *start <= gone);
                // A grant that came when it was on its way out does not count.
                let end = before.map(|(_, end)| *end).filter(|end| *end <= gone).max();
                if let Some(end) = end {
                    self.tally.late.push((gone - end).to_std().unwrap_or_default());
                    let slowness = pace.slowness((end, gone));
                    let left = excuses.left_of((end, gone)).div_f64(slowness);
                    let told = if left > UNEXCUSED_MAX {
                        let account = self.account((end, gone), &of).await;
                        format!(
                            "seed {}: {place:?} from {end} to {gone}, a machine {slowness:.1} times as slow, {excuses:?}: {account:#?}",
                            self.seed
                        )
                    } else {
                        String::new()
                    };
                    self.tally.unexcused.push((left, told));
                }
            }
        }
        self.tally
    }

    /// What the connector and AWS did in a time.
    async fn account(&self, (from, to): Span, place: &str) -> Vec<String> {
        let acts = format!(
            "SELECT concat_ws(' ', to_char(a.at AT TIME ZONE 'UTC', 'HH24:MI:SS.MS'), a.grant_id, a.verb, a.object, a.detail)
             FROM connector.acts a JOIN connector.grants g USING (connector_id, grant_id)
             JOIN connector.integrations i ON i.id = g.integration_id
             WHERE i.name = 'org-{}' AND a.object LIKE '%{place}%'
             AND a.at BETWEEN '{from}' AND '{to}' ORDER BY a.number",
            self.at
        );
        let mut lines = self.database.texts(&acts).await;
        let world = self.sim.world();
        let calls = world.journal.iter().filter(|entry| entry.account == self.management);
        let calls = calls.filter(|entry| entry.at >= from && entry.at <= to);
        lines.extend(
            calls.map(|entry| format!("{} {} {}", entry.at.time(), entry.action, entry.code)),
        );
        lines
    }

    /// What was generated is gone, but for those who still have it.
    fn nothing_is_left(&self, live: &BTreeMap<Place, Vec<String>>) {
        // By a policy of the account, or by a set's own: a role is assumed by the first in any case.
        let by_policy = |place: &Place| !is_inline(self.at) || place.what == What::Role;
        let people = |is_meant: &dyn Fn(&Place) -> bool| {
            let generated = live.keys().filter(|place| place.is_generated() && is_meant(place));
            generated.map(|place| place.person).collect::<BTreeSet<_>>().len()
        };
        let (people, people_inline) = (people(&by_policy), people(&|place| !by_policy(place)));
        let assume = live.iter().filter(|(place, _)| place.what == What::Role);
        let assume: usize = assume.map(|(_, grants)| grants.len()).sum();
        let world = self.sim.world();
        let sets = world.organizations[&self.organization].directory.permission_sets.iter();
        let sets = sets.filter(|set| set.name.starts_with("apono-")).count();
        let policies = world.accounts[&accounts(self.at)[0]].managed_policies.keys();
        let policies = policies.filter(|policy| policy.path == "/apono/").count();
        let role = &world.accounts[&accounts(self.at)[0]].roles[place::ROLE];
        let let_in = role.trust["Statement"].as_array().map_or(0, Vec::len) - 1;
        let left = (sets, policies, let_in);
        let expected = (people + people_inline, people, assume);
        assert_eq!(left, expected, "RANDOM_SEED={}", self.seed);
        let eve = &world.accounts[&accounts(self.at)[0]].iam_users["eve"];
        let has_any = live.keys().any(|place| place.is_of_iam());
        assert!(has_any || *eve == before(), "RANDOM_SEED={}: {eve:?}", self.seed);
    }

    /// When the answer to a call was lost that was about a place.
    async fn lost(&self, place: &str) -> Vec<DateTime<Utc>> {
        let lost = format!(
            "SELECT to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')
             FROM connector.acts a JOIN connector.grants g USING (connector_id, grant_id)
             JOIN connector.integrations i ON i.id = g.integration_id
             WHERE i.name = 'org-{}' AND a.verb = 'NO_ANSWER' AND a.object LIKE '%{place}%'",
            self.at
        );
        let lost = self.database.texts(&lost).await;
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
