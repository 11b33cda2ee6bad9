//! Nothing is shown as gone that was not proven gone, whatever AWS does. Against `aws-sim`.
//!
//! Each test takes something away behind a fault, so that a wrong tombstone would show.

use apono_connector_proto::v1::{
    IntegrationStatus, ReleaseRemovalsRequest, SummarizeCoverageRequest, Sync, SyncState,
};
use aws_sim::{Effect, Fault, seed::Plan};
use chrono::TimeDelta;

use crate::harness::{Api, Cloud, Daemon, Database, bucket, settings_for};

const ORGANIZATION: &str = "o-test123456";

struct Scene {
    cloud: Cloud,
    plan: Plan<'static>,
    api: Api,
    before: Vec<String>,
    _daemon: Daemon,
    _database: Database,
}

/// So many accounts in two regions, read whole once.
async fn read_once(accounts: usize) -> Scene {
    let plan = Plan {
        organization: ORGANIZATION,
        first_account: 700_000_000_000,
        accounts,
        units: 2,
        regions: &["eu-west-1", "us-east-1"],
        instances: 3,
        buckets: 2,
        seed: 11,
    };
    let cloud = Cloud::planned(&plan).await;
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    cloud.unit(EXCLUDED, &cloud.root, "Excluded");
    let mut settings = settings_for(&cloud);
    settings.excluded_ou_ids = vec![EXCLUDED.to_owned()];
    if accounts > ACCOUNTS_WITH_TAGS_MAX {
        settings.resource_types.retain(|kind| kind != "aws-account");
    }
    let has_accounts = settings.resource_types.len() == 3;
    let sync = api.create_and_sync(settings).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    let before = api.lines().await;
    let mut expected = cloud.expected(&[EXCLUDED]);
    expected.retain(|line| has_accounts || !line.contains(":organizations:"));
    assert_eq!(before, expected);
    Scene { cloud, plan, api, before, _daemon: daemon, _database: database }
}

const EXCLUDED: &str = "ou-test-excluded";

/// The tags of accounts are read at the ten calls a second that AWS allows.
const ACCOUNTS_WITH_TAGS_MAX: usize = 40;

impl Scene {
    /// Takes everything away that is in an account.
    fn empty(&self, id: &str) {
        let mut world = self.cloud.sim.world();
        let account = world.account(id);
        account.instances.clear();
        account.buckets.clear();
    }

    fn strike(&self, fault: Fault) {
        self.cloud.sim.world().faults.push(fault);
    }

    /// A sync that has removed nothing.
    async fn nothing_goes(&self) -> Sync {
        let sync = self.api.sync("prod").await;
        assert_eq!(sync.resources_gone, 0, "{sync:?}");
        assert_eq!(self.api.lines().await, self.before, "nothing may go");
        sync
    }
}

#[tokio::test]
async fn roles_that_are_gone_in_three_of_a_hundred_accounts_take_nothing_with_them() {
    let scene = read_once(100).await;
    for id in scene.plan.members().iter().take(3) {
        scene.empty(id);
        scene.cloud.sim.world().account(id).roles.clear();
    }
    scene.cloud.sim.world().clock.advance(TimeDelta::hours(2));
    let sync = scene.nothing_goes().await;
    assert_eq!(sync.state(), SyncState::SucceededWithProblems);
    assert_eq!(scene.api.problem_lines().await, ["MEMBER_ROLE_DENIED 3"]);
}

#[tokio::test]
async fn a_storm_of_throttles_takes_nothing_and_passes() {
    let scene = read_once(6).await;
    scene.empty(&scene.plan.members()[0]);
    scene.strike(Fault::new(Effect::Throttle).on("ec2:DescribeInstances"));
    scene.strike(Fault::new(Effect::Throttle).on("s3:ListAllMyBuckets"));
    let sync = scene.nothing_goes().await;
    assert_eq!(sync.state(), SyncState::SucceededWithProblems);
    assert_eq!(scene.api.problem_lines().await, ["THROTTLED 14", "THROTTLED 7"]);
    scene.cloud.sim.world().faults.clear();
    let sync = scene.api.sync("prod").await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", scene.api.problems().await);
    assert_eq!(scene.api.lines().await, scene.cloud.expected(&[EXCLUDED]));
}

#[tokio::test]
async fn an_empty_page_with_a_token_is_not_the_end() {
    let scene = read_once(3).await;
    scene.cloud.sim.world().begins_with_empty_pages = true;
    let sync = scene.nothing_goes().await;
    assert_eq!((sync.state(), sync.resources_written), (SyncState::Succeeded, 0));
}

#[tokio::test]
async fn sessions_that_are_shorter_than_the_crawl_are_renewed() {
    let scene = read_once(3).await;
    scene.cloud.sim.world().session_length_max = Some(TimeDelta::seconds(60));
    scene.cloud.sim.world().clock.advance(TimeDelta::hours(2));
    // Every few pages, all sessions that there are have ended.
    for calls in [2, 5, 8, 11] {
        let passes = Fault::new(Effect::TimePasses(TimeDelta::seconds(61)));
        scene.strike(passes.on("ec2:DescribeInstances").after(calls).times(1));
    }
    let assumed = scene.cloud.sim.world().calls("sts:AssumeRole");
    let sync = scene.nothing_goes().await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", scene.api.problems().await);
    let assumed = scene.cloud.sim.world().calls("sts:AssumeRole") - assumed;
    assert!(assumed > 4, "every account's session was made once, some again: {assumed}");
}

#[tokio::test]
async fn an_account_that_moves_into_an_exclusion_and_out_again_keeps_its_resources() {
    let scene = read_once(3).await;
    let id = scene.plan.members().remove(0);
    let home = scene.cloud.sim.world().account(&id).parent.clone();
    EXCLUDED.clone_into(&mut scene.cloud.sim.world().account(&id).parent);
    // Its buckets go while nobody looks; the account itself is no resource of ours any more.
    scene.cloud.sim.world().account(&id).buckets.clear();
    let sync = scene.api.sync("prod").await;
    assert_eq!(sync.resources_gone, 1, "only what is granted in: the account");
    let stale = scene.api.resources().await;
    let stale: Vec<_> = stale.iter().filter(|r| r.account_id == id).collect();
    assert_eq!(stale.len(), 8, "{stale:?}");
    assert!(stale.iter().all(|resource| resource.stale_reason == "NOT_COVERED"), "{stale:?}");

    scene.cloud.sim.world().account(&id).parent = home;
    let sync = scene.api.sync("prod").await;
    assert_eq!(sync.resources_gone, 0, "it is announced, and not read yet");
    let sync = scene.api.sync("prod").await;
    assert_eq!(sync.resources_gone, 2, "now it is read, and the buckets are gone");
    assert_eq!(scene.api.lines().await, scene.cloud.expected(&[EXCLUDED]));
}

#[tokio::test]
async fn an_account_in_an_unknown_state_is_neither_read_nor_gone() {
    let scene = read_once(3).await;
    let id = scene.plan.members().remove(0);
    "FROZEN".clone_into(&mut scene.cloud.sim.world().account(&id).state);
    scene.empty(&id);
    scene.nothing_goes().await;
    assert_eq!(scene.api.problem_lines().await, ["ACCOUNT_STATE_UNKNOWN 1"]);
}

#[tokio::test]
async fn what_an_account_held_goes_with_it_but_only_after_a_whole_walk() {
    let scene = read_once(30).await;
    let id = scene.plan.members().remove(0);
    let account = scene.cloud.sim.world().accounts.remove(&id);
    assert!(account.is_some());
    scene.strike(
        Fault::new(Effect::Reset).on("organizations:ListAccounts").on_later_pages().times(9),
    );
    assert_eq!(scene.nothing_goes().await.state(), SyncState::Failed);
    scene.cloud.sim.world().faults.clear();
    let sync = scene.api.sync("prod").await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", scene.api.problems().await);
    assert_eq!(sync.resources_gone, 9);
    assert_eq!(scene.api.lines().await, scene.cloud.expected(&[EXCLUDED]));
    assert_eq!(scene.api.status("prod").await, IntegrationStatus::Active);
}

#[tokio::test]
async fn many_small_removals_are_held_together_until_an_operator_releases_them() {
    let scene = read_once(30).await;
    // Each account loses two buckets: few of its scope, a fifth of the integration.
    for id in scene.plan.members() {
        scene.cloud.sim.world().account(&id).buckets.clear();
    }
    let sync = scene.api.sync("prod").await;
    let gone = sync.resources_gone;
    assert!(gone <= 27, "a tenth of 271: {gone}");
    let held: Vec<_> =
        scene.api.resources().await.into_iter().filter(|r| r.missing_reads == 1).collect();
    assert_eq!(held.len(), 60 - usize::try_from(gone).expect("a count"));
    let problem = scene.api.problems().await.remove(0);
    assert_eq!((problem.code.as_str(), problem.subject.as_str()), ("REMOVAL_HELD", "s3_bucket"));
    // All was read whole, so nothing is stale or uncovered.
    assert!(held.iter().all(|resource| resource.stale_reason.is_empty()), "{held:?}");
    let request = SummarizeCoverageRequest { integration: "prod".to_owned(), ..Default::default() };
    let coverage = scene.api.inventory().summarize_coverage(request).await.expect("a matrix");
    for cell in coverage.into_inner().cells {
        assert_eq!(cell.complete, cell.scopes, "{cell:?}");
    }

    // One of them comes back: it is held no more, and holds up no other.
    let back = held[0].name.clone();
    let account = held[0].account_id.clone();
    let found = bucket(&back, &held[0].region, &[("team", "red"), ("data", "internal")]);
    scene.cloud.sim.world().account(&account).buckets.push(found);
    // What goes beside those that were released is measured by itself.
    {
        let mut world = scene.cloud.sim.world();
        let regions = &mut world.account(&account).instances;
        regions.values_mut().find_map(Vec::pop).expect("an instance");
    }
    let request = ReleaseRemovalsRequest { integration: "prod".to_owned(), ..Default::default() };
    let released = scene.api.inventory().release_removals(request).await.expect("a release");
    let released = released.into_inner();
    assert_eq!(released.resources, i64::try_from(held.len()).expect("a count"));
    let sync = scene.api.watch(&released.sync_id).await;
    assert_eq!(sync.resources_gone, released.resources - 1 + 1);
    assert!(scene.api.problems().await.is_empty());
    let names: Vec<String> = scene.api.resources().await.into_iter().map(|r| r.name).collect();
    assert!(names.contains(&back), "it is there");
}

#[tokio::test]
async fn a_bucket_that_is_made_anew_in_another_account_is_never_gone() {
    let cloud = Cloud::empty("aws").await;
    let accounts = ["222222222221", "222222222222"];
    for id in accounts {
        cloud.account(id, &cloud.root, id);
    }
    cloud.sim.world().account(accounts[0]).buckets.push(bucket("logs", "eu-west-1", &[]));
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    // Both accounts are read at once: one misses the bucket while the other stores it.
    for turn in 0..6_usize {
        let (from, to) = (accounts[turn % 2], accounts[(turn + 1) % 2]);
        let moved = cloud.sim.world().account(from).buckets.remove(0);
        cloud.sim.world().account(to).buckets.push(moved);
        api.sync("prod").await;
        assert_eq!(api.lines().await, cloud.expected(&[]), "turn {turn}");
        let found = api.resources().await;
        let bucket = found.iter().find(|r| r.name == "logs").expect("a bucket");
        assert_eq!(bucket.account_id, to);
    }
}

#[tokio::test]
async fn what_goes_beside_a_release_is_measured_by_what_is_left() {
    let cloud = Cloud::empty("aws").await;
    let (small, large) = ("222222222221", "222222222222");
    for (id, buckets) in [(small, 100), (large, 400)] {
        cloud.account(id, &cloud.root, id);
        let made = (0..buckets).map(|at| bucket(&format!("{id}-{at}"), "eu-west-1", &[]));
        cloud.sim.world().account(id).buckets.extend(made);
    }
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    cloud.sim.world().account(small).buckets.truncate(40);
    assert_eq!(api.sync("prod").await.resources_gone, 0, "60 of 100");
    let request = ReleaseRemovalsRequest { integration: "prod".to_owned(), ..Default::default() };
    // Of the 40 that are left, 25 more are missing by then.
    cloud.sim.world().account(small).buckets.truncate(15);
    let released = api.inventory().release_removals(request).await.expect("a release");
    let sync = api.watch(&released.into_inner().sync_id).await;
    assert_eq!(sync.resources_gone, 60);
    let missing = api.resources().await.into_iter().filter(|r| r.missing_reads > 0);
    assert_eq!(missing.count(), 25);
}
