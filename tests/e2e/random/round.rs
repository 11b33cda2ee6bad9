//! Histories beside each other, on two daemons that are mostly not left in peace.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apono_connector_proto::v1::IntegrationSettings;
use aws_sim::Sim;
use chrono::{DateTime, Utc};
use connector::base::clock;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::{
    Tally,
    history::History,
    lateness::{Excuses, Span, metronome, watch},
    place,
};
use crate::{
    access::{fast, membership, settings},
    harness::{Api, Cloud, Daemon, Database},
};

/// Everything has come to rest by then.
const REST_MAX: Duration = Duration::from_secs(90);
/// A daemon is stopped for longer than its lease lasts.
const STOPPED: Duration = Duration::from_millis(2600);

/// The APIs of the daemons that are up.
#[derive(Clone, Default)]
pub(super) struct Apis(Arc<Mutex<Vec<Option<Api>>>>);

impl Apis {
    fn set(&self, at: usize, api: Option<Api>) {
        let mut apis = self.0.lock().expect("apis");
        apis.resize(2, None);
        apis[at] = api;
    }

    /// One that is up, by turns.
    pub(super) fn any(&self, turn: usize) -> Option<Api> {
        let apis = self.0.lock().expect("apis");
        let up: Vec<&Api> = apis.iter().flatten().collect();
        up.get(turn % up.len().max(1)).map(|api| (*api).clone())
    }
}

pub(super) struct Round {
    database: Arc<Database>,
    clouds: Vec<Cloud>,
    apis: Apis,
}

impl Round {
    /// Runs a history for each seed, and judges where they came to rest. `is_calm`: the daemons are
    /// left in peace, so that only AWS excuses what comes late.
    pub(super) async fn run(seeds: &[u64], is_calm: bool) -> Tally {
        let sim = Arc::new(Sim::start().await.expect("a simulator"));
        let connector_id = connector::base::chance::uuid().to_string();
        let clouds: Vec<Cloud> =
            (0..seeds.len()).map(|at| organization(&sim, &connector_id, at)).collect();
        let round =
            Self { database: Arc::new(Database::create().await), clouds, apis: Apis::default() };
        let daemons = vec![round.start(0).await, round.start(1).await];
        round.connect().await;

        let is_over = AtomicBool::new(false);
        let is_at_rest = Arc::new(AtomicBool::new(false));
        let trouble = round.trouble(daemons, (seeds[0], is_calm), &is_over);
        let histories = async {
            let histories = seeds.iter().enumerate().map(|(at, seed)| {
                let cloud = &round.clouds[at];
                History::new(*seed, at, cloud, &round.database, &round.apis).run()
            });
            let ended = futures::future::join_all(histories).await;
            is_over.store(true, Ordering::SeqCst);
            ended
        };
        let resting = async {
            let ((daemons, trouble, tally), histories) = tokio::join!(trouble, histories);
            calm(&sim);
            round.comes_to_rest(seeds).await;
            is_at_rest.store(true, Ordering::SeqCst);
            (daemons, trouble, tally, histories)
        };
        let beats = metronome(Arc::clone(&is_at_rest));
        let watched = watch(&round.database, &is_at_rest);
        let ((daemons, trouble, mut tally, histories), pace, waits) =
            tokio::join!(resting, beats, watched);
        let excuses = Excuses::of_trouble(&trouble);
        for history in histories {
            tally += history.judge(&excuses, &pace, &waits).await;
        }
        tally.lost = round.acts("verb = 'NO_ANSWER'").await;
        tally.conflicts = round.acts("detail LIKE '%ConflictException%'").await;
        drop(daemons);
        tally
    }

    async fn start(&self, at: usize) -> Daemon {
        let cloud = &self.clouds[0];
        let options = fast(&self.database).set("APONO__ACCESS__AUDIT_INTERVAL", "2s");
        let daemon = tokio::task::block_in_place(|| Daemon::start_with(cloud, options));
        self.apis.set(at, Some(daemon.api().await));
        daemon
    }

    /// Connects every organization, and waits for its first sync.
    async fn connect(&self) {
        let mut connecting = JoinSet::new();
        for (at, cloud) in self.clouds.iter().enumerate() {
            let api = self.apis.any(at).expect("a daemon");
            let settings = IntegrationSettings {
                name: format!("org-{at}"),
                inline_policies: is_inline(at),
                ..settings(cloud)
            };
            let mut settings = membership::with_groups(settings);
            let more = ["aws-ec2-instance", "aws-iam-group", "aws-iam-role", "aws-s3-bucket"];
            settings.resource_types.extend(more.map(str::to_owned));
            settings.resource_types.sort_unstable();
            connecting.spawn(async move { api.create_and_sync(settings).await });
        }
        connecting.join_all().await;
    }

    /// Kills, stops and cuts off, until the histories are over; then both daemons are up. When it did.
    async fn trouble(
        &self,
        mut daemons: Vec<Daemon>,
        (seed, is_calm): (u64, bool),
        is_over: &AtomicBool,
    ) -> (Vec<Daemon>, Vec<Span>, Tally) {
        let mut chance = StdRng::seed_from_u64(seed);
        let (mut tally, mut times) = (Tally::default(), Vec::new());
        let mut turn = chance.random_range(0..4);
        while !is_over.load(Ordering::SeqCst) {
            clock::sleep(Duration::from_millis(chance.random_range(300..1200))).await;
            if is_calm {
                continue;
            }
            let at = chance.random_range(0..2);
            turn += 1;
            let from = self.now();
            match turn % 4 {
                0 | 2 => {
                    tally.kills += 1;
                    self.apis.set(at, None);
                    daemons[at].kill();
                    clock::sleep(Duration::from_millis(chance.random_range(0..800))).await;
                    daemons[at] = self.start(at).await;
                }
                1 => {
                    tally.stops += 1;
                    self.apis.set(at, None);
                    daemons[at].signal(Signal::STOP);
                    clock::sleep(STOPPED).await;
                    daemons[at].signal(Signal::CONT);
                    self.apis.set(at, Some(daemons[at].api().await));
                }
                _ => {
                    tally.cuts += 1;
                    // The daemons' connections, and not what the test asks beside them.
                    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name = 'apono-connector'";
                    self.database.execute(cut).await;
                }
            }
            times.push((from, self.now()));
        }
        (daemons, times, tally)
    }

    fn now(&self) -> DateTime<Utc> {
        self.clouds[0].sim.world().clock.now()
    }

    /// Until nothing is to be done any more but to look whether all is well.
    async fn comes_to_rest(&self, seeds: &[u64]) {
        let restless = "SELECT
            (SELECT count(*) FROM connector.units u JOIN connector.grants g USING (connector_id, grant_id)
             WHERE u.state IN ('PENDING', 'REVOKING', 'SETTLING')
                OR (u.state = 'ACTIVE' AND least(g.expires_at, g.revoked_at) <= connector.now()))
          + (SELECT count(*) FROM connector.targets t
             WHERE t.intent_verb IS NOT NULL OR t.doubt_create OR t.doubt_delete
                OR (t.next_at IS NOT NULL AND NOT EXISTS (
                    SELECT FROM connector.holdings h WHERE h.target_id = t.id AND h.state = 'ACTIVE')))";
        let resting = async {
            while self.database.count(restless).await > 0 {
                clock::sleep(Duration::from_millis(100)).await;
            }
            // A look that was due by then is over.
            clock::sleep(Duration::from_millis(2600)).await;
            while self.database.count(restless).await > 0 {
                clock::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(REST_MAX, resting).await.is_err() {
            let rows = "SELECT concat_ws(' ', i.name, t.object_key, t.origin, t.intent_verb, t.intent_request,
                t.next_at, t.failures, t.stuck_reason) FROM connector.targets t
                JOIN connector.integrations i ON i.id = t.integration_id WHERE t.next_at IS NOT NULL";
            let rows = self.database.texts(rows).await;
            panic!("RANDOM_SEED={} RANDOM_SEEDS={}: no rest: {rows:#?}", seeds[0], seeds.len());
        }
    }

    async fn acts(&self, which: &str) -> usize {
        let count = format!("SELECT count(*) FROM connector.acts WHERE {which}");
        usize::try_from(self.database.count(&count).await).expect("a count")
    }
}

/// AWS does what it is asked from now on.
fn calm(sim: &Sim) {
    let mut world = sim.world();
    world.faults.clear();
    for organization in world.organizations.values_mut() {
        organization.directory.pace.next.clear();
    }
}

/// The accounts of an organization.
pub(super) fn accounts(at: usize) -> [String; 2] {
    [1, 2].map(|account| format!("6{at:06}0000{account}"))
}

/// Whether its generated access stands in inline policies.
pub(super) fn is_inline(at: usize) -> bool {
    at % 3 == 2
}

/// An organization with users, permission sets and two accounts.
fn organization(sim: &Arc<Sim>, connector_id: &str, at: usize) -> Cloud {
    let organization = format!("o-rand{at:06}");
    let management = format!("6{at:06}00000");
    let root = sim.world().add_organization(&organization, "aws", &management);
    let cloud = Cloud {
        sim: Arc::clone(sim),
        organization,
        root,
        management,
        partition: "aws".to_owned(),
        connector_id: connector_id.to_owned(),
        hub_role_arn: aws_sim::seed::HUB_ROLE_ARN.to_owned(),
    };
    for account in accounts(at) {
        cloud.account(&account, &cloud.root, "payments");
    }
    place::furnish(&mut sim.world(), at);
    aws_sim::seed::enroll(&mut sim.world(), &cloud.organization, "eu-west-1", &[], 4);
    cloud.deploy_all();
    cloud
}
