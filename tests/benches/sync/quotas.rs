//! A sync that nothing holds up but a quota: the tags of accounts, at the calls a second
//! that AWS Organizations allows, beside members that must not notice.

use std::time::Duration;

use apono_connector_proto::v1::ExplainSyncRequest;
use aws_sim::{Quotas, seed::Plan};

use crate::{
    crawl::{as_slow_as_aws, daemon, wall},
    harness::{Cloud, Database, settings_for},
    measure::ratio,
};

const ACCOUNTS: usize = 600;
const TAGS: &str = "organizations:ListTagsForResource";
/// Published: calls a second, and at once.
const TAGS_RATE: (f64, f64) = (10.0, 15.0);

/// What AWS gives of the published rates, and what the daemon believes it may use.
const ROWS: [(&str, f64, &str); 2] = [
    ("AWS gives the published rates; `rate_share = 0.5`", 1.0, "0.5"),
    ("AWS gives half of them, unsaid; `rate_share = 1`", 0.5, "1.0"),
];

pub(crate) async fn run() {
    println!(
        "## Quotas\n\nTags of {ACCOUNTS} accounts, one call each, at half of the {} a second that AWS publishes.\n",
        TAGS_RATE.0
    );
    println!(
        "| set-up | calls | throttled | wall s | the quota allows s | ratio | slowest scope of a member s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, given, share) in ROWS {
        let plan = Plan {
            organization: "o-test123456",
            first_account: 700_000_000_000,
            accounts: ACCOUNTS,
            units: 1,
            regions: &["eu-west-1"],
            instances: 1,
            buckets: 0,
            seed: 1,
        };
        let cloud = Cloud::planned(&plan).await;
        as_slow_as_aws(&cloud);
        cloud.sim.world().quotas = Some(Quotas::published(given));
        let database = Database::create().await;
        let settings = [("APONO__AWS__RATE_SHARE", share)];
        let daemon = daemon(&cloud, &database, &settings, Vec::new());
        let api = daemon.api().await;
        let sync = api.create_and_sync(settings_for(&cloud)).await;
        let tally = cloud.sim.world().tally[TAGS];

        let half = 0.5;
        let allowed = (ratio(ACCOUNTS + 1, 1) - TAGS_RATE.1 * half) / (TAGS_RATE.0 * half);
        let request = ExplainSyncRequest { sync_id: sync.id.clone(), ..Default::default() };
        let explained = api.syncs().explain_sync(request).await.expect("one").into_inner();
        let slowest = explained
            .slowest
            .iter()
            .filter(|run| run.collector == "ec2_instance")
            .filter_map(|run| Duration::try_from(run.took?).ok())
            .max()
            .unwrap_or_default();
        let took = wall(&sync).as_secs_f64();
        println!(
            "| {name} | {} | {:.1} % | {took:.1} | {allowed:.1} | {:.2} | {:.2} |",
            tally.calls,
            100.0 * ratio(tally.throttled, tally.calls),
            took / allowed,
            slowest.as_secs_f64(),
        );
    }
    println!();
}
