//! What a large organization's gaps look like: two problems, one matrix, one status.
//! Against `aws-sim`.

use apono_connector_proto::v1::{
    CancelSyncRequest, DisableIntegrationRequest, EnableIntegrationRequest, ExplainSyncRequest,
    IntegrationStatus, ListCoverageRequest, ListProblemsRequest, MuteProblemRequest, Severity,
    StartSyncRequest, SummarizeCoverageRequest, SyncState, WatchSyncRequest,
};
use aws_sim::{
    Effect, Fault,
    seed::{DEFAULT_REGIONS, Plan},
};
use tonic::Code;

use crate::harness::{Cloud, Daemon, Database, settings_for, wait_for};

const ACCOUNTS: usize = 400;
const DENIED_REGIONS: usize = 13;
const WITHOUT_ROLE: usize = 3;

#[tokio::test]
async fn four_hundred_accounts_with_thirteen_denied_regions_and_three_missing_roles() {
    let plan = Plan {
        organization: "o-test123456",
        first_account: 700_000_000_000,
        accounts: ACCOUNTS,
        units: 4,
        regions: &DEFAULT_REGIONS,
        instances: 0,
        buckets: 1,
        seed: 1,
    };
    let cloud = Cloud::planned(&plan).await;
    for region in &DEFAULT_REGIONS[..DENIED_REGIONS] {
        let denied = Fault::new(Effect::DenyByScp).in_region(region).on("ec2:DescribeInstances");
        cloud.sim.world().faults.push(denied);
    }
    for id in plan.members().iter().take(WITHOUT_ROLE) {
        cloud.sim.world().account(id).roles.clear();
    }
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let mut settings = settings_for(&cloud);
    // The tags of accounts are read at the ten calls a second that AWS allows.
    settings.resource_types.retain(|kind| kind != "aws-account");
    let sync = api.create_and_sync(settings).await;
    assert_eq!(sync.state(), SyncState::SucceededWithProblems);

    // Two problems, and only the roles count for the status.
    let opened = ACCOUNTS + 1 - WITHOUT_ROLE;
    let denied = opened * DENIED_REGIONS;
    assert_eq!(
        api.problem_lines().await,
        [format!("DENIED_BY_SCP {denied}"), format!("MEMBER_ROLE_DENIED {WITHOUT_ROLE}")]
    );
    let problems = api.problems().await;
    let severity = |code: &str| {
        problems.iter().find(|problem| problem.code == code).expect("a problem").severity()
    };
    assert_eq!(severity("DENIED_BY_SCP"), Severity::Notice);
    assert_eq!(severity("MEMBER_ROLE_DENIED"), Severity::Warning);
    assert_eq!(api.status("prod").await, IntegrationStatus::Warning);

    // The matrix: regions × collectors.
    let request = SummarizeCoverageRequest { integration: "prod".to_owned(), ..Default::default() };
    let matrix = api.inventory().summarize_coverage(request).await.expect("a matrix").into_inner();
    let cell = |region: &str, collector: &str| {
        let found =
            matrix.cells.iter().find(|cell| cell.region == region && cell.collector == collector);
        let cell = found.unwrap_or_else(|| panic!("{collector} in {region:?}: {matrix:#?}"));
        let unread: Vec<String> =
            cell.unread.iter().map(|u| format!("{} {}", u.reason, u.scopes)).collect();
        (cell.complete, cell.scopes, unread.join(", "))
    };
    let count = |number: usize| i64::try_from(number).expect("a count");
    for (at, region) in DEFAULT_REGIONS.iter().enumerate() {
        let expected = if at < DENIED_REGIONS {
            (0, count(opened), format!("DENIED_BY_SCP {opened}"))
        } else {
            (count(opened), count(opened), String::new())
        };
        assert_eq!(cell(region, "ec2_instance"), expected, "{region}");
    }
    let missing = format!("MEMBER_ROLE_DENIED {WITHOUT_ROLE}");
    assert_eq!(cell("", "s3_bucket"), (count(opened), count(ACCOUNTS + 1), missing));
    assert_eq!(cell("", "organization"), (1, 1, String::new()));

    // Scope by scope, page by page.
    let mut request = ListCoverageRequest {
        integration: "prod".to_owned(),
        only_unread: true,
        page_size: 500,
        ..Default::default()
    };
    let mut scopes = Vec::new();
    loop {
        let page = api.inventory().list_coverage(request.clone()).await.expect("a page");
        let page = page.into_inner();
        scopes.extend(page.scopes);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(scopes.len(), denied + 2 * WITHOUT_ROLE);
    assert!(scopes.iter().all(|scope| scope.complete_time.is_none() && !scope.reason.is_empty()));

    // The explanation counts what was tried, and is kept with the sync.
    let request = ExplainSyncRequest { sync_id: sync.id.clone(), ..Default::default() };
    let explained = api.syncs().explain_sync(request.clone()).await.expect("one").into_inner();
    let runs = |name: &str| {
        explained.collectors.iter().find(|runs| runs.collector == name).expect("runs").clone()
    };
    assert_eq!(runs("ec2_instance").scopes, count(opened * DEFAULT_REGIONS.len()));
    assert_eq!(runs("ec2_instance").calls, runs("ec2_instance").scopes);
    assert_eq!(runs("s3_bucket").complete, count(opened));
    assert_eq!(explained.unread[0].scopes, count(denied));
    database.execute("UPDATE connector.scopes SET took_ms = 0, calls = 0").await;
    let again = api.syncs().explain_sync(request).await.expect("one").into_inner();
    assert_eq!(again, explained);
}

#[tokio::test]
async fn problems_are_resolved_by_themselves_and_muted_ones_do_not_count() {
    let cloud = Cloud::empty("aws").await;
    cloud.account("222222222222", &cloud.root, "payments");
    cloud.deploy();
    cloud.sim.world().account("222222222222").roles.clear();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_for(&cloud)).await;
    assert_eq!(api.status("prod").await, IntegrationStatus::Warning);
    let found = api.problems().await.remove(0);

    let end = |seconds| {
        let now = connector::base::clock::now().timestamp();
        Some(prost_types::Timestamp { seconds: now + seconds, nanos: 0 })
    };
    let mute = MuteProblemRequest {
        integration: "prod".to_owned(),
        code: found.code.clone(),
        subject: found.subject.clone(),
        reason: "being deployed".to_owned(),
        expire_time: end(3600),
        ..Default::default()
    };
    let refused = [
        (MuteProblemRequest { reason: String::new(), ..mute.clone() }, Code::InvalidArgument),
        (MuteProblemRequest { expire_time: None, ..mute.clone() }, Code::InvalidArgument),
        (MuteProblemRequest { expire_time: end(-60), ..mute.clone() }, Code::InvalidArgument),
        (MuteProblemRequest { subject: "other".to_owned(), ..mute.clone() }, Code::NotFound),
    ];
    for (request, code) in refused {
        let status = api.operations().mute_problem(request).await.expect_err("a refusal");
        assert_eq!(status.code(), code, "{status}");
    }
    api.operations().mute_problem(mute).await.expect("a mute");
    assert_eq!(api.status("prod").await, IntegrationStatus::Active);
    assert_eq!(api.problems().await[0].mute_reason, "being deployed");
    // It outlives syncs, and ends by itself.
    api.sync("prod").await;
    assert_eq!(api.status("prod").await, IntegrationStatus::Active);
    database.move_time("30 minutes").await;
    assert_eq!(api.status("prod").await, IntegrationStatus::Active);
    database.move_time("61 minutes").await;
    wait_for("the end of the mute", || async {
        (api.status("prod").await == IntegrationStatus::Warning).then_some(())
    })
    .await;

    cloud.deploy();
    api.sync("prod").await;
    assert!(api.problems().await.is_empty());
    let request = ListProblemsRequest { include_resolved: true, ..Default::default() };
    let all = api.operations().list_problems(request).await.expect("problems").into_inner();
    assert_eq!(all.problems.len(), 1);
    assert!(all.problems[0].resolve_time.is_some());
}

#[tokio::test]
async fn a_sync_that_is_cancelled_stops_asking_and_the_next_one_reads_it_all() {
    let cloud = Cloud::empty("aws").await;
    for number in 0..20 {
        cloud.account(&format!("2222222222{number:02}"), &cloud.root, "account");
    }
    cloud.deploy();
    // Nobody ever answers, until the fault is taken away.
    cloud.sim.world().faults.push(Fault::new(Effect::Hang).on("ec2:DescribeInstances"));
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let created = api.create(settings_for(&cloud)).await.expect("an integration");
    wait_for("a sync that reads", || async {
        (cloud.sim.world().calls("s3:ListAllMyBuckets") > 3).then_some(())
    })
    .await;
    let request = CancelSyncRequest { sync_id: created.sync_id.clone(), ..Default::default() };
    let cancelled = api.syncs().cancel_sync(request.clone()).await.expect("an end").into_inner();
    let cancelled = cancelled.sync.expect("a sync");
    assert_eq!(cancelled.state(), SyncState::Cancelled);
    assert_eq!(cancelled.detail, "cancelled by a caller");
    // Its readers are stopped, though AWS never answered them.
    wait_for("idle slots", || async {
        daemon.get("/metrics").contains("connector_groups_held 0").then_some(())
    })
    .await;
    cloud.sim.world().faults.clear();
    let sync = api.sync("prod").await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    assert_eq!(api.lines().await, cloud.expected(&[]));
    // To cancel what has ended changes nothing.
    let again = api.syncs().cancel_sync(request).await.expect("the same").into_inner();
    assert_eq!(again.sync.expect("a sync"), cancelled);

    // Paused, nothing is synced; resumed, it is at once.
    let pause = DisableIntegrationRequest { integration: "prod".to_owned(), ..Default::default() };
    api.integrations().disable_integration(pause).await.expect("a pause");
    assert_eq!(api.status("prod").await, IntegrationStatus::Disabled);
    let start = StartSyncRequest { integration: "prod".to_owned(), ..Default::default() };
    let status = api.syncs().start_sync(start).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let resume = EnableIntegrationRequest { integration: "prod".to_owned(), ..Default::default() };
    api.integrations().enable_integration(resume).await.expect("a start");
    wait_for("the next sync", || async {
        let latest = "SELECT count(*) FROM connector.syncs WHERE generation = 3";
        (database.count(latest).await == 1).then_some(())
    })
    .await;
    let watch = WatchSyncRequest { sync_id: created.sync_id, ..Default::default() };
    assert!(api.syncs().watch_sync(watch).await.is_ok());
}
