//! What is called is what is declared: the templates are made from the declaration, and the
//! simulator refuses whatever they do not allow. Against `aws-sim`.

use std::collections::BTreeSet;

use apono_connector_proto::v1::SyncState;
use aws_sim::seed;
use connector::{catalog, privileges};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::harness::{Cloud, Daemon, Database, settings_with_every_type};

/// The actions that a role was seen to use; who calls needs none to ask who it is.
fn called(cloud: &Cloud, role: &str) -> BTreeSet<String> {
    let world = cloud.sim.world();
    let of_role = world.journal.iter().filter(|entry| entry.principal.contains(role));
    of_role
        .map(|entry| entry.action.clone())
        .filter(|action| action != "sts:GetCallerIdentity")
        .collect()
}

#[tokio::test]
async fn every_declared_action_is_used_and_nothing_else_is_called() {
    let cloud = Cloud::empty("aws").await;
    let (root, management) = (cloud.root.clone(), cloud.management.clone());
    cloud.unit("ou-test-aaaaaaaa", &root, "Production");
    cloud.account("222222222222", "ou-test-aaaaaaaa", "payments");
    let mut chance = StdRng::seed_from_u64(1);
    for id in ["222222222222", management.as_str()] {
        // Enough instances that some are in every state.
        seed::furnish(&mut cloud.sim.world(), id, &mut chance, 12, 2);
        seed::stock(&mut cloud.sim.world(), id, cloud.region(), 1, &mut chance);
    }
    let accounts = ["222222222222"];
    seed::enroll(&mut cloud.sim.world(), &cloud.organization, cloud.region(), &accounts, 2);
    {
        let mut world = cloud.sim.world();
        // What is called only where AWS tells less than it could.
        let organization = world.organizations.get_mut(&cloud.organization).expect("one");
        organization.tells_paths = false;
        organization.tells_bucket_regions = false;
    }
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let sync = api.create_and_sync(settings_with_every_type(&cloud)).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);

    let declared = privileges::discovery(catalog::type_ids());
    let texts = |actions: BTreeSet<&str>| -> BTreeSet<String> {
        actions.into_iter().map(str::to_owned).collect()
    };
    assert_eq!(called(&cloud, "apono-connector-member"), texts(declared.member));
    assert_eq!(called(&cloud, "apono-connector-management"), texts(declared.management));
}
