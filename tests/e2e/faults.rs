//! What cannot be read stays as it was, is marked stale, and is told once. Against
//! `aws-sim`.

use apono_connector_proto::v1::{IntegrationStatus, Resource, Severity, Sync, SyncState};
use aws_sim::{Effect, Entry, Fault, answer::Refusal};
use chrono::TimeDelta;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::harness::{Api, Cloud, Daemon, Database, settings_for};

const A: &str = "222222222201";
const B: &str = "222222222202";

struct Scene {
    cloud: Cloud,
    api: Api,
    before: Vec<String>,
    _daemon: Daemon,
    _database: Database,
}

/// Two accounts, read whole once; then half of everything goes, so that a wrong
/// tombstone would show.
async fn read_once() -> Scene {
    let cloud = Cloud::empty("aws").await;
    let root = cloud.root.clone();
    let mut chance = StdRng::seed_from_u64(3);
    for id in [A, B] {
        cloud.account(id, &root, &format!("account-{id}"));
        aws_sim::seed::furnish(&mut cloud.sim.world(), id, &mut chance, 4, 4);
    }
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let sync = api.create_and_sync(settings_for(&cloud)).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    let before = api.lines().await;
    assert_eq!(before, cloud.expected(&[]));
    Scene { cloud, api, before, _daemon: daemon, _database: database }
}

impl Scene {
    fn strike(&self, fault: Fault) {
        self.cloud.sim.world().faults.push(fault);
    }

    async fn sync(&self) -> Sync {
        self.api.sync("prod").await
    }

    /// Nothing has gone, and the places that are named stand there stale.
    async fn stale(&self, reason: &str) -> Vec<Resource> {
        assert_eq!(self.api.lines().await, self.before, "nothing may go");
        let resources = self.api.resources().await;
        let stale: Vec<Resource> =
            resources.into_iter().filter(|resource| resource.stale_reason == reason).collect();
        assert!(!stale.is_empty(), "nothing is marked {reason}");
        stale
    }
}

#[tokio::test]
async fn a_region_denied_by_scp_is_coverage_and_not_a_warning() {
    let scene = read_once().await;
    scene.strike(Fault::new(Effect::DenyByScp).in_region("us-east-1").on("ec2:DescribeInstances"));
    let sync = scene.sync().await;
    assert_eq!(sync.state(), SyncState::Succeeded);
    for resource in scene.stale("DENIED_BY_SCP").await {
        assert_eq!(resource.region, "us-east-1");
    }
    assert_eq!(scene.api.problem_lines().await, ["DENIED_BY_SCP 3"]);
    assert_eq!(scene.api.problems().await[0].severity(), Severity::Notice);
    assert_eq!(scene.api.status("prod").await, IntegrationStatus::Active);
}

#[tokio::test]
async fn an_account_whose_role_is_gone_keeps_its_resources() {
    let scene = read_once().await;
    scene.cloud.sim.world().account(A).roles.clear();
    let short = TimeDelta::hours(2);
    scene.cloud.sim.world().clock.advance(short);
    let sync = scene.sync().await;
    assert_eq!(sync.state(), SyncState::SucceededWithProblems);
    for resource in scene.stale("MEMBER_ROLE_DENIED").await {
        assert_eq!(resource.account_id, A);
    }
    assert_eq!(scene.api.problem_lines().await, ["MEMBER_ROLE_DENIED 1"]);
    assert_eq!(scene.api.status("prod").await, IntegrationStatus::Warning);
}

#[tokio::test]
async fn a_page_that_fails_for_good_costs_its_scope_and_no_other() {
    let scene = read_once().await;
    let refusal = Refusal::new(500, "InternalError", "An internal error has occurred");
    scene.strike(
        Fault::new(Effect::Refuse(refusal))
            .on("ec2:DescribeInstances")
            .in_account(A)
            .in_region("eu-west-1"),
    );
    let sync = scene.sync().await;
    assert_eq!((sync.scopes_incomplete, sync.resources_gone), (1, 0));
    for resource in scene.stale("SERVICE_ERROR").await {
        assert_eq!((resource.account_id.as_str(), resource.region.as_str()), (A, "eu-west-1"));
    }
    assert_eq!(scene.api.problem_lines().await, ["SERVICE_ERROR 1"]);
}

#[tokio::test]
async fn a_later_page_that_fails_leaves_what_was_on_it() {
    let scene = read_once().await;
    let refusal = Refusal::new(500, "InternalError", "An internal error has occurred");
    let fault = Fault::new(Effect::Refuse(refusal)).on("ec2:DescribeInstances").in_account(A);
    scene.strike(fault.in_region("eu-west-1").on_later_pages());
    let sync = scene.sync().await;
    assert_eq!((sync.scopes_incomplete, sync.resources_gone), (1, 0));
    scene.stale("SERVICE_ERROR").await;
}

#[tokio::test]
async fn a_missing_action_is_named() {
    let scene = read_once().await;
    for policy in
        &mut scene.cloud.sim.world().account(B).roles.values_mut().next().expect("a role").policies
    {
        let actions = policy["Statement"][0]["Action"].as_array_mut().expect("actions");
        actions.retain(|action| action != "s3:ListAllMyBuckets");
    }
    scene.sync().await;
    scene.stale("ACTION_DENIED").await;
    let problem = scene.api.problems().await.remove(0);
    assert_eq!(
        (problem.code.as_str(), problem.subject.as_str()),
        ("ACTION_DENIED", "s3:ListAllMyBuckets")
    );
}

#[tokio::test]
async fn enrichment_that_fails_keeps_the_stored_value_and_says_so() {
    let scene = read_once().await;
    scene.strike(Fault::new(Effect::DenyByScp).on("s3:GetBucketTagging"));
    scene.strike(Fault::new(Effect::DenyByScp).on("ssm:DescribeInstanceInformation"));
    let states = |resources: &[Resource]| -> Vec<String> {
        resources.iter().map(|resource| format!("{:?}", resource.attributes)).collect()
    };
    let before = states(&scene.api.resources().await);
    let sync = scene.sync().await;
    assert_eq!(sync.state(), SyncState::Succeeded);
    let resources = scene.api.resources().await;
    assert_eq!(scene.api.lines().await, scene.before, "tags are as they were");
    assert_eq!(states(&resources), before, "states are as they were");
    for resource in resources {
        let unread = match resource.r#type.as_str() {
            "aws-s3-bucket" => Some("tags"),
            "aws-ec2-instance" => Some("ssm_state"),
            _ => None,
        };
        let marked = resource.unread.keys().map(String::as_str).next();
        assert_eq!(marked, unread, "{}", resource.arn);
    }
}

#[tokio::test]
async fn credentials_that_end_amid_a_scope_are_renewed() {
    let scene = read_once().await;
    scene.cloud.sim.world().session_length_max = Some(TimeDelta::seconds(60));
    scene.cloud.sim.world().clock.advance(TimeDelta::hours(2));
    // The sessions of the sync live 60 seconds, and end between two pages.
    scene.strike(
        Fault::new(Effect::TimePasses(TimeDelta::seconds(61)))
            .on("ec2:DescribeInstances")
            .in_account(A)
            .on_later_pages()
            .times(1),
    );
    let sync = scene.sync().await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", scene.api.problems().await);
    assert_eq!(scene.api.lines().await, scene.before);
    let world = scene.cloud.sim.world();
    let ended = |entry: &&Entry| entry.account == A && entry.has_token && !entry.code.is_empty();
    assert!(world.journal.iter().filter(ended).count() > 0, "no session ended amid a scope");
}

#[tokio::test]
async fn credentials_that_cannot_be_renewed_never_read_as_nothing_here() {
    let scene = read_once().await;
    // Every session that there is ends, and those that follow are refused after a page.
    scene.cloud.sim.world().clock.advance(TimeDelta::hours(2));
    scene.strike(
        Fault::new(Effect::Refuse(Refusal::new(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        )))
        .on("ec2:DescribeInstances")
        .in_account(A)
        .on_later_pages(),
    );
    let sync = scene.sync().await;
    assert_eq!((sync.state(), sync.resources_gone), (SyncState::SucceededWithProblems, 0));
    for resource in scene.stale("CREDENTIALS_EXPIRED").await {
        assert_eq!(resource.account_id, A);
    }
    assert_eq!(scene.api.problem_lines().await, ["CREDENTIALS_EXPIRED 3"]);
}

#[tokio::test]
async fn a_walk_that_fails_half_way_changes_nothing() {
    let scene = read_once().await;
    if let Some(organization) =
        scene.cloud.sim.world().organizations.get_mut(&scene.cloud.organization)
    {
        organization.page_items = 2;
    }
    // A problem that is there before.
    let denied = Refusal::denied("s3", "no");
    scene.strike(Fault::new(Effect::Refuse(denied)).on("s3:ListAllMyBuckets").in_account(B));
    scene.sync().await;
    assert_eq!(scene.api.problem_lines().await, ["ACTION_DENIED 1"]);
    let before = scene.api.problems().await.remove(0);

    let refusal =
        Refusal::new(500, "ServiceException", "AWS Organizations can't complete your request");
    scene.strike(
        Fault::new(Effect::Refuse(refusal)).on("organizations:ListAccounts").on_later_pages(),
    );
    let sync = scene.sync().await;
    assert_eq!(sync.state(), SyncState::Failed);
    assert_eq!(scene.api.status("prod").await, IntegrationStatus::Error);
    assert_eq!(scene.api.lines().await, scene.before);
    // A sync that could not read anything has not seen that problem end.
    assert_eq!(scene.api.problem_lines().await, ["ACTION_DENIED 1", "SERVICE_ERROR 2"]);
    let after = scene.api.problems().await;
    let after = after.iter().find(|problem| problem.code == before.code).expect("one");
    assert_eq!(after.first_seen_time, before.first_seen_time);
}

#[tokio::test]
async fn silence_and_cut_connections_are_no_absence() {
    let scene = read_once().await;
    scene.strike(
        Fault::new(Effect::Hang)
            .on("ec2:DescribeInstances")
            .in_account(A)
            .in_region("eu-west-1")
            .times(9),
    );
    scene.strike(Fault::new(Effect::Reset).on("s3:ListAllMyBuckets").in_account(B).times(3));
    scene.strike(Fault::new(Effect::Throttle).on("ec2:DescribeInstances").in_account(B).times(4));
    let sync = scene.sync().await;
    assert_eq!(sync.resources_gone, 0);
    scene.stale("UNREACHABLE").await;
    let sync = scene.sync().await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", scene.api.problems().await);
    assert_eq!(scene.api.lines().await, scene.before);
}

#[tokio::test]
async fn half_of_a_scope_that_goes_at_once_is_held_until_three_reads_agree() {
    let cloud = Cloud::empty("aws").await;
    let root = cloud.root.clone();
    cloud.account(A, &root, "large");
    let mut chance = StdRng::seed_from_u64(4);
    aws_sim::seed::furnish(&mut cloud.sim.world(), A, &mut chance, 0, 50);
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    let before = api.lines().await;
    cloud.sim.world().account(A).buckets.truncate(10);
    for read in 1..=2 {
        let sync = api.sync("prod").await;
        assert_eq!(sync.resources_gone, 0, "read {read}");
        assert_eq!(api.lines().await, before);
        assert_eq!(api.problem_lines().await, ["REMOVAL_HELD 1"]);
    }
    assert_eq!(api.sync("prod").await.resources_gone, 40);
    assert_eq!(api.lines().await, cloud.expected(&[]));
    assert!(api.problems().await.is_empty());
}
