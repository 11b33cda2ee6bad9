//! First syncs and unchanged re-syncs of organizations of several sizes, by one or several
//! replicas, beside the bare SDK.

use std::{env, time::Duration};

use apono_connector_proto::v1::{ExplainSyncRequest, IntegrationSettings, Sync, SyncState};
use aws_sim::{
    Latency, Quotas,
    seed::{DEFAULT_REGIONS, Plan},
};
use connector::sync::WALK;

use crate::{
    AT_ONCE, LATENCY_MS, bare,
    harness::{Api, Cloud, Daemon, Database, Options, settings_for},
    measure::{cpu, each_us, peak_mib, ratio, wal_bytes},
};

/// The share of the published rates that the daemon may use.
const RATE_SHARE: &str = "0.95";

/// A cloud that is as slow as AWS and counts calls against the published quotas.
pub(crate) async fn cloud(plan: &Plan<'_>) -> Cloud {
    let cloud = Cloud::planned(plan).await;
    as_slow_as_aws(&cloud);
    cloud
}

/// Real pages, latencies and quotas; every instance is one that Session Manager manages,
/// so that the bare loop knows which calls to make.
pub(crate) fn as_slow_as_aws(cloud: &Cloud) {
    let mut world = cloud.sim.world();
    world.latency = Some(Latency::spread(Duration::from_millis(LATENCY_MS), 0.25, 1));
    world.quotas = Some(Quotas::published(1.0));
    world.pages_as_asked = true;
    world.only_counts = true;
    for account in world.accounts.values_mut() {
        for instance in account.instances.values_mut().flatten() {
            "Online".clone_into(&mut instance.ping);
        }
    }
}

/// A daemon as it would run in production, but for what it may use.
pub(crate) fn daemon(
    cloud: &Cloud,
    database: &Database,
    settings: &[(&str, &str)],
    connectors: Vec<String>,
) -> Daemon {
    let at_once = AT_ONCE.to_string();
    let mut options = Options::default()
        .set("DATABASE_URL", &database.url)
        .set("APONO__LOG__FILTER", "error,connector::daemon=info")
        .set("APONO__SYNC__LEASE", "15s")
        .set("APONO__SYNC__HEARTBEAT", "5s")
        .set("APONO__AWS__ATTEMPT_TIMEOUT", "20s")
        .set("APONO__DATABASE__CONNECTIONS_MAX", "30")
        .set("APONO__SYNC__GROUPS_AT_ONCE", &at_once)
        .set("APONO__AWS__RATE_SHARE", RATE_SHARE);
    for (name, value) in settings {
        options = options.set(name, value);
    }
    options.connectors = connectors;
    Daemon::start_with(cloud, options)
}

/// How long a sync took, from its plan to its end.
pub(crate) fn wall(sync: &Sync) -> Duration {
    let at = |time: &Option<prost_types::Timestamp>| {
        let time = time.as_ref().expect("a time");
        Duration::new(time.seconds.unsigned_abs(), time.nanos.unsigned_abs())
    };
    at(&sync.end_time).saturating_sub(at(&sync.create_time))
}

fn numbers(variable: &str, default: &[usize]) -> Vec<usize> {
    let text = env::var(variable).unwrap_or_default();
    let chosen: Vec<usize> = text.split(',').filter_map(|number| number.parse().ok()).collect();
    if chosen.is_empty() { default.to_vec() } else { chosen }
}

/// What AWS's own rates allow: the walk's pages are the only calls that share a bucket.
fn quota(accounts: usize) -> Duration {
    let pages = accounts.div_ceil(20);
    Duration::from_millis(u64::try_from(pages.saturating_sub(12) * 1000 / 8).unwrap_or(u64::MAX))
}

pub(crate) async fn run() {
    println!(
        "## Crawl\n\n17 regions, an instance in each and a bucket in each account, {LATENCY_MS} ms latency, published quotas, {AT_ONCE} places at once.\n"
    );
    println!(
        "| accounts | replicas | sync | scopes | calls | throttled | rows written | wall s | of it the walk | bound s | wall / bound | CPU µs a call | bare | CPU / bare | peak MiB | WAL MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for accounts in numbers("BENCH_ACCOUNTS", &[100, 1000, 5000]) {
        let plan = Plan {
            organization: "o-test123456",
            first_account: 700_000_000_000,
            accounts,
            units: 10,
            regions: &DEFAULT_REGIONS,
            instances: 1,
            buckets: 1,
            seed: 1,
        };
        let cloud = cloud(&plan).await;
        let bare = bare::run(&cloud, &plan.members(), &DEFAULT_REGIONS).await;
        for replicas in numbers("BENCH_REPLICAS", &[1, 2, 4]) {
            let database = Database::create().await;
            let daemons: Vec<Daemon> =
                (0..replicas).map(|_| daemon(&cloud, &database, &[], Vec::new())).collect();
            let api = daemons[0].api().await;
            let mut settings = settings_for(&cloud);
            // The tags of accounts are read at the ten calls a second that AWS allows, beside
            // everything else: with them, nothing but that would be measured.
            settings.resource_types.retain(|kind| kind != "aws-account");
            for (sync, settings) in [("first", Some(settings)), ("again", None)] {
                let line = Line::measure(&cloud, &database, &daemons, &api, settings).await;
                line.print(accounts, replicas, sync, bare, quota(accounts));
            }
        }
        println!(
            "| {accounts} | | bare SDK | | {} | | | {:.1} | | | | {:.0} | | | | |",
            bare.calls,
            bare.wall.as_secs_f64(),
            each_us(bare.cpu, bare.calls)
        );
    }
    println!();
}

/// What one sync took.
pub(crate) struct Line {
    pub(crate) sync: Sync,
    /// Of the sync, before anything else can be planned.
    walk: Duration,
    pub(crate) calls: usize,
    pub(crate) throttled: usize,
    pub(crate) cpu: Duration,
    pub(crate) peak_mib: u64,
    wal_bytes: i64,
}

impl Line {
    /// Measures the first sync of an integration with these settings, or one more.
    pub(crate) async fn measure(
        cloud: &Cloud,
        database: &Database,
        daemons: &[Daemon],
        api: &Api,
        settings: Option<IntegrationSettings>,
    ) -> Self {
        let throttled =
            || -> usize { cloud.sim.world().tally.values().map(|tally| tally.throttled).sum() };
        let used = || daemons.iter().map(|daemon| cpu(daemon.child.id())).sum::<Duration>();
        let before = (bare::calls(cloud), throttled(), used(), wal_bytes(database).await);
        let sync = match settings {
            Some(settings) => api.create_and_sync(settings).await,
            None => api.sync("prod").await,
        };
        assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
        let request = ExplainSyncRequest { sync_id: sync.id.clone(), ..Default::default() };
        let explained = api.syncs().explain_sync(request).await.expect("one").into_inner();
        let walk = explained.collectors.iter().find(|runs| runs.collector == WALK);
        Self {
            walk: Duration::try_from(walk.and_then(|walk| walk.total).expect("a walk"))
                .expect("a time"),
            calls: bare::calls(cloud) - before.0,
            throttled: throttled() - before.1,
            cpu: used().saturating_sub(before.2),
            wal_bytes: wal_bytes(database).await - before.3,
            peak_mib: daemons.iter().map(|daemon| peak_mib(daemon.child.id())).max().unwrap_or(0),
            sync,
        }
    }

    fn print(
        &self,
        accounts: usize,
        replicas: usize,
        sync: &str,
        bare: bare::Took,
        quota: Duration,
    ) {
        let wall = wall(&self.sync).as_secs_f64();
        let bound = bare.wall.max(quota).as_secs_f64();
        let (own, of_bare) = (each_us(self.cpu, self.calls), each_us(bare.cpu, bare.calls));
        println!(
            "| {accounts} | {replicas} | {sync} | {} | {} | {:.1} % | {} | {wall:.1} | {:.1} | {bound:.1} | {:.2} | {own:.0} | {of_bare:.0} | {:.2} | {} | {} |",
            self.sync.scopes_complete,
            self.calls,
            100.0 * ratio(self.throttled, self.calls),
            self.sync.resources_written,
            self.walk.as_secs_f64(),
            wall / bound,
            own / of_bare,
            self.peak_mib,
            self.wal_bytes / (1024 * 1024),
        );
    }
}
