//! Every type, in an organization of some size: what is found is what was made, to the tag.
//! Against `aws-sim`.

use apono_connector_proto::v1::SyncState;
use aws_sim::seed::{self, Plan};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::harness::{Cloud, Daemon, Database, Options, settings_with_every_type};

const REGIONS: [&str; 4] = ["eu-central-1", "eu-west-1", "us-east-1", "us-west-2"];

async fn all_is_found(tells_paths: bool) {
    let plan = Plan {
        organization: "o-test123456",
        first_account: 700_000_000_000,
        accounts: 300,
        units: 12,
        regions: &REGIONS,
        instances: 2,
        buckets: 2,
        seed: 5,
    };
    let cloud = Cloud::planned(&plan).await;
    let members = plan.members();
    {
        let mut world = cloud.sim.world();
        let mut chance = StdRng::seed_from_u64(5);
        for id in &members {
            for region in REGIONS {
                seed::stock(&mut world, id, region, 1, &mut chance);
            }
        }
        let accounts: Vec<&str> = members.iter().take(30).map(String::as_str).collect();
        seed::enroll(&mut world, plan.organization, cloud.region(), &accounts, 20);
        let organization = world.organizations.get_mut(plan.organization).expect("one");
        organization.tells_paths = tells_paths;
    }
    let database = Database::create().await;
    // The simulator counts nothing here, so the published rates may be used whole.
    let options =
        Options::default().set("DATABASE_URL", &database.url).set("APONO__AWS__RATE_SHARE", "1.0");
    let daemon = Daemon::start_with(&cloud, options);
    let api = daemon.api().await;
    let sync = api.create_and_sync(settings_with_every_type(&cloud)).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    let (found, expected) = (api.lines().await, cloud.expected_of_every_type(&[]));
    assert!(found.len() > 14_000, "{}", found.len());
    assert!(found == expected, "{} found, {} expected", found.len(), expected.len());
}

#[tokio::test]
async fn three_hundred_accounts_are_found_by_their_paths() {
    all_is_found(true).await;
}

#[tokio::test]
async fn three_hundred_accounts_are_found_by_walking_the_tree() {
    all_is_found(false).await;
}
