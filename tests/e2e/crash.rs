//! Killed at any time, the daemon goes on where it was. Against `aws-sim`.

use std::time::Duration;

use apono_connector_proto::v1::SyncState;
use aws_sim::{Effect, Fault};
use connector::{
    model::ids::ConnectorId,
    store::{Config, Db, connectors},
};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::harness::{Cloud, Daemon, Database, settings_for, wait_for};

#[tokio::test]
async fn killed_amid_a_sync_it_completes_and_reads_no_finished_scope_again() {
    let cloud = Cloud::empty("aws").await;
    let root = cloud.root.clone();
    let mut chance = StdRng::seed_from_u64(5);
    for number in 0..12 {
        let id = format!("3333333333{number:02}");
        cloud.account(&id, &root, &format!("account-{number}"));
        aws_sim::seed::furnish(&mut cloud.sim.world(), &id, &mut chance, 2, 2);
    }
    cloud.deploy();
    // Slow enough to be killed amid.
    let slow = Fault::new(Effect::Delay(Duration::from_millis(150)));
    cloud.sim.world().faults.push(slow.on("ec2:DescribeInstances"));
    let database = Database::create().await;
    let mut daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let created = api.create(settings_for(&cloud)).await.expect("an integration");
    let finished = "SELECT count(*) FROM connector.scopes WHERE collector = 'ec2_instance'";
    wait_for("the first scopes", || async { (database.count(finished).await >= 5).then_some(()) })
        .await;
    daemon.kill();
    let done = database
        .texts("SELECT concat_ws(' ', account_id, region) FROM connector.scopes WHERE collector = 'ec2_instance'")
        .await;
    assert!(done.len() < 39, "it was killed amid the sync");
    let calls_before = cloud.sim.world().journal.len();

    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let sync = api.watch(&created.sync_id).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    assert_eq!(api.lines().await, cloud.expected(&[]));
    let world = cloud.sim.world();
    for entry in &world.journal[calls_before..] {
        let place = format!("{} {}", entry.account, entry.region);
        let again = entry.action == "ec2:DescribeInstances" && done.contains(&place);
        assert!(!again, "{place} was read again");
    }
}

#[tokio::test]
async fn replicas_that_start_at_once_on_an_empty_database_agree_on_one_connector() {
    let database = Database::create().await;
    let options = database.url.parse().expect("a URL");
    let db = Db::connect(&Config::new(options, 8)).await.expect("a database");
    let starting = (0..6).map(|_| {
        let db = db.clone();
        tokio::spawn(async move {
            let mine = ConnectorId::from(connector::base::chance::uuid());
            let mut tx = db.begin().await.expect("a transaction");
            let agreed = connectors::list_or_make(&mut tx, &mine).await.expect("connectors");
            tx.commit().await.expect("a commit");
            agreed
        })
    });
    let starting: Vec<_> = starting.collect();
    let mut agreed = Vec::new();
    for replica in starting {
        agreed.push(replica.await.expect("a replica"));
    }
    assert_eq!(agreed[0].len(), 1);
    assert!(agreed.iter().all(|connectors| *connectors == agreed[0]), "{agreed:?}");
}
