//! A sweep with every type, and what one more regional type costs.

use std::time::Duration;

use aws_sim::seed::{self, Plan};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    crawl::{Line, cloud, daemon, wall},
    harness::{Cloud, Database, settings_with_every_type},
    measure::{each_us, ratio},
};

const ACCOUNTS: usize = 200;
const REGIONS: [&str; 4] = ["eu-central-1", "eu-west-1", "us-east-1", "us-west-2"];
/// The type that is left out and comes: a list, and a call for each thing.
const ONE_MORE: &str = "aws-sqs-queue";

/// Accounts with two of everything in each region.
async fn stocked() -> Cloud {
    let plan = Plan {
        organization: "o-test123456",
        first_account: 700_000_000_000,
        accounts: ACCOUNTS,
        units: 10,
        regions: &REGIONS,
        instances: 2,
        buckets: 2,
        seed: 1,
    };
    let cloud = cloud(&plan).await;
    let mut chance = StdRng::seed_from_u64(1);
    let members = plan.members();
    let mut world = cloud.sim.world();
    for id in &members {
        for region in REGIONS {
            seed::stock(&mut world, id, region, 2, &mut chance);
        }
    }
    let some: Vec<&str> = members.iter().take(20).map(String::as_str).collect();
    seed::enroll(&mut world, plan.organization, cloud.region(), &some, 20);
    drop(world);
    cloud
}

pub(crate) async fn run() {
    println!(
        "## Sweep\n\nAll types over {ACCOUNTS} accounts and {} regions, two of everything in each; the same without {ONE_MORE}, and what that one costs.\n",
        REGIONS.len()
    );
    println!(
        "| types | sync | resources | scopes | calls | throttled | wall s | CPU s | CPU µs a call | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let cloud = stocked().await;
    let mut took = Vec::new();
    for leaves_out in [ONE_MORE, ""] {
        let database = Database::create().await;
        let daemons = [daemon(&cloud, &database, &[], Vec::new())];
        let api = daemons[0].api().await;
        let mut settings = settings_with_every_type(&cloud);
        settings.resource_types.retain(|kind| kind != leaves_out);
        let types = settings.resource_types.len();
        for (sync, settings) in [("first", Some(settings)), ("again", None)] {
            let line = Line::measure(&cloud, &database, &daemons, &api, settings).await;
            println!(
                "| {types} | {sync} | {} | {} | {} | {:.1} % | {:.1} | {:.1} | {:.0} | {} |",
                line.sync.resources_seen,
                line.sync.scopes_complete,
                line.calls,
                100.0 * ratio(line.throttled, line.calls),
                wall(&line.sync).as_secs_f64(),
                line.cpu.as_secs_f64(),
                each_us(line.cpu, line.calls),
                line.peak_mib,
            );
            took.push((line.calls, line.cpu, wall(&line.sync)));
        }
    }
    // Of re-syncs: the first ones write the same rows besides.
    let places = ACCOUNTS * REGIONS.len();
    let (without, with) = (took[1], took[3]);
    println!(
        "| one more | again | | {places} | {} | | {:+.1} | {:+.1} | | |\n",
        with.0 - without.0,
        difference_s(with.2, without.2),
        difference_s(with.1, without.1),
    );
}

fn difference_s(more: Duration, less: Duration) -> f64 {
    more.as_secs_f64() - less.as_secs_f64()
}
