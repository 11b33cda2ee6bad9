//! 1,200 assignments given and taken away at the published quotas, while the organization is crawled
//! again and again.

use std::time::{Duration, Instant};

use apono_connector_proto::v1::{GrantRequest, RevokeAllRequest, UpdateIntegrationRequest};
use chrono::TimeDelta;
use connector::base::clock;

use crate::{Scene, measure::ratio, request, unit};

const PEOPLE: usize = 120;
const UNITS_EACH: usize = 10;
const ASSIGNMENTS: usize = PEOPLE * UNITS_EACH;
const ACCOUNTS: usize = 60;
/// How long AWS takes for an assignment.
const OPERATION: Duration = Duration::from_secs(2);
/// Published: calls a second of the instance, and at once.
const CALLS: (f64, f64) = (20.0, 20.0);
/// Published: assignments that AWS works on at once.
const AT_ONCE: f64 = 15.0;
/// The calls that no assignment can do without: is it there, the change, its end, is it there.
const CALLS_EACH: usize = 4;

/// How long the quotas make so many assignments take at least.
fn bound() -> f64 {
    let calls = ratio(ASSIGNMENTS * CALLS_EACH, 1);
    let by_calls = (calls - CALLS.1) / CALLS.0;
    let by_operations = ratio(ASSIGNMENTS, 1) * OPERATION.as_secs_f64() / AT_ONCE;
    by_calls.max(by_operations)
}

pub(crate) async fn run() {
    println!(
        "## Quotas\n\n{ASSIGNMENTS} assignments ({PEOPLE} people, {UNITS_EACH} units each, {ACCOUNTS} accounts), {} s each in AWS, while full crawls run one after the other.\n",
        OPERATION.as_secs()
    );
    println!(
        "| phase | assignments | failed | wall s | the quotas allow s | ratio | calls of sso an assignment | throttled | a wait in the revoke lane ms | in the crawl's ms | crawls |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let scene = Scene::build(ACCOUNTS, PEOPLE, &[]).await;
    scene.connect().await;
    let mut settings = scene.settings();
    settings.resource_types = Vec::new();
    let integration = scene.api.get("prod").await;
    let types = crate::harness::settings_for(&scene.cloud).resource_types;
    settings.resource_types.extend(types.into_iter().chain([
        "aws-identity-center-permission-set".to_owned(),
        "aws-identity-center-group".to_owned(),
        "aws-identity-center-user".to_owned(),
    ]));
    settings.resource_types.dedup();
    let update = UpdateIntegrationRequest {
        integration: "prod".to_owned(),
        settings: Some(settings),
        etag: integration.etag,
        ..Default::default()
    };
    scene.api.integrations().update_integration(update).await.expect("an update");
    scene.directory(|directory| {
        directory.pace.takes = TimeDelta::from_std(OPERATION).expect("a time");
    });
    let crawling = crawl_on(&scene);

    let grants = (1..=PEOPLE).map(|person| {
        let first = (person - 1) * UNITS_EACH;
        let units = (first..first + UNITS_EACH).map(|at| unit(at % ACCOUNTS)).collect();
        let request = GrantRequest { units, ..request(&format!("g{person}"), person, 8 * 3600) };
        let mut api = scene.access();
        async move { api.grant(request).await.expect("a grant") }
    });
    let before = Phase::begin(&scene);
    futures::future::join_all(grants).await;
    scene.wait_for_all("ACTIVE").await;
    before.end("grant", &scene).await;

    let before = Phase::begin(&scene);
    let everything = RevokeAllRequest { everything: true, ..Default::default() };
    scene.access().revoke_all(everything).await.expect("an end");
    scene.wait_for_all("ENDED").await;
    before.end("revoke", &scene).await;
    crawling.abort();
    assert!(scene.directory(|directory| directory.assignments.is_empty()), "all are gone");
    println!();
}

/// One crawl after the other, until it is aborted.
fn crawl_on(scene: &Scene) -> tokio::task::JoinHandle<()> {
    let api = scene.api.clone();
    tokio::spawn(async move {
        loop {
            api.sync("prod").await;
        }
    })
}

impl Scene {
    async fn wait_for_all(&self, state: &str) {
        let left = format!(
            "SELECT count(*) FROM connector.units WHERE state NOT IN ('{state}', 'FAILED')"
        );
        while self.database.count(&left).await > 0 {
            clock::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How long calls waited in a lane, and how many did.
    fn waits(&self, lane: &str) -> (f64, f64) {
        let metrics = self.daemon.get("/metrics");
        let read = |what: &str| {
            let name = format!("connector_aws_budget_wait_seconds_{what}{{");
            let lane = format!("lane=\"{lane}\"");
            let lines = metrics.lines().filter(|line| {
                line.starts_with(&name) && line.contains(&lane) && line.contains("service=\"sso\"")
            });
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
        };
        (read("sum"), read("count"))
    }
}

/// What was counted when a phase began.
struct Phase {
    at: Instant,
    calls: (usize, usize),
    crawl: (f64, f64),
    revoke: (f64, f64),
}

impl Phase {
    fn begin(scene: &Scene) -> Self {
        Self {
            at: Instant::now(),
            calls: scene.calls("sso:"),
            crawl: scene.waits("crawl"),
            revoke: scene.waits("revoke"),
        }
    }

    async fn end(self, name: &str, scene: &Scene) {
        let (took, allowed) = (self.at.elapsed().as_secs_f64(), bound());
        let failed = "SELECT count(*) FROM connector.units WHERE state = 'FAILED'";
        let failed = scene.database.count(failed).await;
        let calls = scene.calls("sso:");
        let wait = |before: (f64, f64), lane: &str| {
            let now = scene.waits(lane);
            1000.0 * (now.0 - before.0) / (now.1 - before.1).max(1.0)
        };
        let crawls = "SELECT count(*) FROM connector.syncs WHERE ended_at IS NOT NULL";
        println!(
            "| {name} | {ASSIGNMENTS} | {failed} | {took:.0} | {allowed:.0} | {:.2} | {:.2} | {} | {:.0} | {:.0} | {} |",
            took / allowed,
            ratio(calls.0 - self.calls.0, ASSIGNMENTS),
            calls.1 - self.calls.1,
            wait(self.revoke, "revoke"),
            wait(self.crawl, "crawl"),
            scene.database.count(crawls).await,
        );
    }
}
