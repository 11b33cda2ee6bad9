//! Several replicas on one database: each scope is stored once, whoever is killed, stopped
//! or cut off. Against `aws-sim`.

use std::time::Duration;

use apono_connector_proto::v1::{IntegrationSettings, SyncState};
use aws_sim::{Effect, Fault, seed::Plan};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;

use crate::harness::{Api, Cloud, Daemon, Database, Options, settings_for, wait_for};

fn plan(accounts: usize) -> Plan<'static> {
    Plan {
        organization: "o-test123456",
        first_account: 700_000_000_000,
        accounts,
        units: 2,
        regions: &["eu-central-1", "eu-west-1", "us-east-1"],
        instances: 2,
        buckets: 2,
        seed: 5,
    }
}

/// Notes each outcome that is stored, and who stored it.
async fn note_outcomes(database: &Database) {
    database
        .execute(
            "CREATE TABLE outcomes (place text, generation bigint, backend integer);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO outcomes VALUES (
                     concat_ws(' ', NEW.account_id, NEW.region, NEW.collector),
                     NEW.tried_generation, pg_backend_pid());
                 RETURN NEW;
             END $$;
             CREATE TRIGGER note AFTER INSERT OR UPDATE OF tried_generation
                 ON connector.scopes FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
}

/// No scope was stored twice in one generation, and all were.
async fn each_scope_was_stored_once(database: &Database, scopes: i64) {
    let twice = database
        .texts("SELECT place FROM outcomes GROUP BY place, generation HAVING count(*) > 1")
        .await;
    assert!(twice.is_empty(), "stored twice: {twice:?}");
    assert_eq!(database.count("SELECT count(*) FROM outcomes").await, scopes);
}

/// The organization's walk; of each account its opening, its buckets, three regions.
fn scopes(accounts: i64) -> i64 {
    1 + (accounts + 1) * (2 + 3)
}

/// Without accounts: their tags are read at the ten calls a second that AWS allows, and
/// from the start after each kill.
fn settings(cloud: &Cloud) -> IntegrationSettings {
    let mut settings = settings_for(cloud);
    settings.resource_types.retain(|kind| kind != "aws-account");
    settings
}

async fn what_was_made_is_found(cloud: &Cloud, api: &Api) {
    let mut expected = cloud.expected(&[]);
    expected.retain(|line| !line.contains(":organizations:"));
    assert_eq!(api.lines().await, expected);
}

/// A replica that reads little at once, so that there is something for the others.
fn a_small_replica(cloud: &Cloud, database: &Database) -> Daemon {
    let options = Options::default()
        .set("DATABASE_URL", &database.url)
        .set("APONO__SYNC__GROUPS_AT_ONCE", "4");
    Daemon::start_with(cloud, options)
}

/// Replicas share a first sync.
async fn share(replicas: usize) {
    let cloud = Cloud::planned(&plan(20)).await;
    let slow = Fault::new(Effect::Delay(Duration::from_millis(20)));
    cloud.sim.world().faults.push(slow);
    let database = Database::create().await;
    note_outcomes(&database).await;
    let daemons: Vec<Daemon> = (0..replicas).map(|_| a_small_replica(&cloud, &database)).collect();
    let api = daemons[0].api().await;
    let sync = api.create_and_sync(settings(&cloud)).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    what_was_made_is_found(&cloud, &api).await;
    each_scope_was_stored_once(&database, scopes(20)).await;
    for daemon in &daemons {
        let leased = daemon.metric("connector_groups_leased_total");
        assert!(leased > 0.0, "every replica took part");
    }
}

#[tokio::test]
async fn two_replicas_share_a_sync_and_store_each_scope_once() {
    share(2).await;
}

#[tokio::test]
async fn four_replicas_share_a_sync_and_store_each_scope_once() {
    share(4).await;
}

#[tokio::test]
async fn a_replica_that_was_stopped_beyond_its_lease_writes_nothing_when_it_goes_on() {
    let cloud = Cloud::planned(&plan(6)).await;
    // The first replica comes to no end of its reads.
    cloud
        .sim
        .world()
        .faults
        .push(Fault::new(Effect::Delay(Duration::from_millis(1500))).on("ec2:DescribeInstances"));
    let database = Database::create().await;
    note_outcomes(&database).await;
    let stopped = Daemon::start(&cloud, &database);
    let api = stopped.api().await;
    let created = api.create(settings(&cloud)).await.expect("an integration");
    wait_for("reads under way", || async {
        let held = "SELECT count(*) FROM connector.sync_groups WHERE region <> '' AND leased_until IS NOT NULL";
        (database.count(held).await >= 10).then_some(())
    })
    .await;
    stopped.signal(Signal::STOP);
    let stored = "SELECT count(*) FROM outcomes";
    let before = database.count(stored).await;
    cloud.sim.world().faults.clear();

    let other = Daemon::start(&cloud, &database);
    let api = other.api().await;
    let sync = api.watch(&created.sync_id).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    assert!(database.count(stored).await > before);
    let versions = "SELECT md5(string_agg(concat_ws(' ', arn, xmin, ctid), ',' ORDER BY arn)) FROM connector.resources";
    let (resources, outcomes) = (database.texts(versions).await, database.count(stored).await);

    stopped.signal(Signal::CONT);
    wait_for("what it held is refused", || async {
        stopped.has_said("was lost; another replica reads it").then_some(())
    })
    .await;
    wait_for("idle slots", || async {
        (stopped.metric("connector_groups_held") == 0.0).then_some(())
    })
    .await;
    assert_eq!(database.texts(versions).await, resources, "it wrote resources");
    assert_eq!(database.count(stored).await, outcomes, "it wrote outcomes");
    each_scope_was_stored_once(&database, scopes(6)).await;
    what_was_made_is_found(&cloud, &api).await;
}

#[tokio::test]
async fn a_replica_that_was_stopped_amid_a_transaction_holds_up_no_other_for_long() {
    let cloud = Cloud::planned(&plan(6)).await;
    let database = Database::create().await;
    // Every transaction that stores an outcome passes a gate, which the test can shut.
    database
        .execute(
            "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
             CREATE TRIGGER gate BEFORE INSERT ON connector.scopes EXECUTE FUNCTION gate()",
        )
        .await;
    let mut gatekeeper = database.conn().await;
    let mut gate = async |sql: &str| {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut gatekeeper).await.expect("a lock");
    };
    gate("SELECT pg_advisory_lock(42)").await;
    let stopped = Daemon::start(&cloud, &database);
    let api = stopped.api().await;
    let created = api.create(settings(&cloud)).await.expect("an integration");
    wait_for("a transaction at the gate", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
        (database.count(waiting).await > 0).then_some(())
    })
    .await;
    stopped.signal(Signal::STOP);
    // Its statement ends; the transaction stays open, with its locks.
    gate("SELECT pg_advisory_unlock(42)").await;

    let other = Daemon::start(&cloud, &database);
    let api = other.api().await;
    let sync = api.watch(&created.sync_id).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    what_was_made_is_found(&cloud, &api).await;
    stopped.signal(Signal::CONT);
    wait_for("an end of what it held", || async {
        (stopped.metric("connector_groups_held") == 0.0).then_some(())
    })
    .await;
    what_was_made_is_found(&cloud, &api).await;
}

#[tokio::test]
async fn killed_at_random_until_it_is_done_the_inventory_is_exact() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let cloud = Cloud::planned(&plan(30)).await;
    let slow = Fault::new(Effect::Delay(Duration::from_millis(60)));
    cloud.sim.world().faults.push(slow);
    let database = Database::create().await;
    note_outcomes(&database).await;
    let start = || a_small_replica(&cloud, &database);
    let mut daemons = vec![start(), start()];
    let created = daemons[0].api().await.create(settings(&cloud)).await;
    let sync_id = created.expect("an integration").sync_id;
    let open = "SELECT count(*) FROM connector.syncs WHERE ended_at IS NULL";
    let mut kills = 0;
    while database.count(open).await > 0 {
        let rest = Duration::from_millis(chance.random_range(300..1300));
        connector::base::clock::sleep(rest).await;
        daemons.remove(0).kill();
        kills += 1;
        daemons.push(start());
    }
    println!("seed {seed}: killed {kills} times");
    assert!(kills >= 3, "seed {seed}: it was hardly killed");
    let api: Api = daemons[1].api().await;
    let sync = api.watch(&sync_id).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "seed {seed}: {:?}", api.problems().await);
    assert_eq!(sync.scopes_planned, sync.scopes_complete, "seed {seed}");
    what_was_made_is_found(&cloud, &api).await;
    each_scope_was_stored_once(&database, scopes(30)).await;
}
