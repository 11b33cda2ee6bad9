//! One connector with a large organization, and ten with small ones.

use std::{sync::Arc, time::Duration};

use apono_connector_proto::v1::GetSyncRequest;
use aws_sim::seed::{DEFAULT_REGIONS, Plan};

use crate::{
    crawl::{as_slow_as_aws, daemon, wall},
    harness::{Api, Cloud, Daemon, Database, settings_for},
};

const LARGE: usize = 2000;
const SMALL: usize = 10;
const SMALL_CONNECTORS: usize = 10;

fn plan(organization: &str, number: usize, accounts: usize) -> Plan<'_> {
    let first_account = 500_000_000_000 + 1_000_000 * u64::try_from(number).unwrap_or(0);
    Plan {
        organization,
        first_account,
        accounts,
        units: 2,
        regions: &DEFAULT_REGIONS,
        instances: 1,
        buckets: 1,
        seed: 1,
    }
}

/// The same daemon, asked about another of its connectors.
fn of(api: &Api, cloud: &Cloud) -> Api {
    Api { connector_id: cloud.connector_id.clone(), ..api.clone() }
}

/// Starts the first syncs of the small connectors at once; how long the slowest took.
async fn small_ones(api: &Api, clouds: &[Cloud]) -> Duration {
    let syncs = clouds.iter().map(|cloud| {
        let api = of(api, cloud);
        async move { wall(&api.create_and_sync(settings_for(cloud)).await) }
    });
    futures::future::join_all(syncs).await.into_iter().max().unwrap_or_default()
}

/// The small organizations on the simulator of a large one.
async fn scene() -> (Cloud, Vec<Cloud>, Database, Daemon, Api) {
    let large = Cloud::planned(&plan("o-large12345", 0, LARGE)).await;
    let small: Vec<Cloud> = (1..=SMALL_CONNECTORS)
        .map(|number| {
            let organization = format!("o-{number:05}small");
            Cloud::on(Arc::clone(&large.sim), &plan(&organization, number, SMALL))
        })
        .collect();
    as_slow_as_aws(&large);
    let database = Database::create().await;
    let connectors = small.iter().map(|cloud| cloud.connector_id.clone()).collect();
    let daemon = daemon(&large, &database, &[], connectors);
    let api = daemon.api().await;
    (large, small, database, daemon, api)
}

pub(crate) async fn run() {
    println!(
        "## Fairness\n\nTen connectors with {SMALL} accounts each, alone and beside one with {LARGE}; how long the slowest of the ten takes.\n"
    );
    println!("| beside the large one | slowest of the ten, s | ratio |\n|---|---|---|");
    let alone = {
        let (_cloud, small, _database, _running, api) = scene().await;
        small_ones(&api, &small).await
    };
    println!("| no | {:.1} | |", alone.as_secs_f64());

    let (large, small, _database, _running, api) = scene().await;
    let of_large = of(&api, &large);
    let mut settings = settings_for(&large);
    settings.resource_types.retain(|kind| kind != "aws-account");
    let created = of_large.create(settings).await.expect("an integration");
    // It has taken all places by then.
    crate::harness::wait_for("a busy daemon", || async {
        (large.sim.world().calls("ec2:DescribeInstances") > 1000).then_some(())
    })
    .await;
    let beside = small_ones(&api, &small).await;
    let request = GetSyncRequest {
        connector_id: of_large.connector_id.clone(),
        sync_id: created.sync_id.clone(),
    };
    let sync = of_large.syncs().get_sync(request).await.expect("one").into_inner().sync;
    assert!(
        sync.is_some_and(|sync| sync.end_time.is_none()),
        "the large one was beside them all the time"
    );
    println!(
        "| yes | {:.1} | {:.2} |\n",
        beside.as_secs_f64(),
        beside.as_secs_f64() / alone.as_secs_f64()
    );
}
