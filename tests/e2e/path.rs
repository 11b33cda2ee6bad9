//! The whole path, from a role to resources over gRPC. Against `aws-sim`.

use apono_connector_proto::v1::{
    AccountCoverage, Facet, GetTreeRequest, IntegrationSettings, IntegrationStatus, Resource,
    SummarizeResourcesRequest, SyncState, UpdateIntegrationRequest,
};
use aws_sim::{seed, text::Text};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::json;

use crate::harness::{
    Api, Cloud, Daemon, Database, bucket, instance, settings_for, settings_with_every_type,
};

/// Units in units, one of them to exclude, and things in every account.
async fn a_furnished_cloud(partition: &str) -> Cloud {
    let cloud = Cloud::empty(partition).await;
    let root = cloud.root.clone();
    cloud.unit("ou-test-aaaaaaaa", &root, "Production");
    cloud.unit("ou-test-bbbbbbbb", "ou-test-aaaaaaaa", "Payments");
    cloud.unit("ou-test-cccccccc", &root, "Sandbox");
    cloud.unit("ou-test-dddddddd", "ou-test-cccccccc", "Deeper");
    let parents = ["ou-test-aaaaaaaa", "ou-test-bbbbbbbb", "ou-test-cccccccc", "ou-test-dddddddd"];
    let mut chance = StdRng::seed_from_u64(1);
    for number in 0..26_usize {
        let id = format!("2222222222{number:02}");
        cloud.account(&id, parents[number % parents.len()], &format!("account-{number}"));
        seed::furnish(&mut cloud.sim.world(), &id, &mut chance, 3, 2);
        seed::stock(&mut cloud.sim.world(), &id, cloud.region(), 3, &mut chance);
    }
    let management = cloud.management.clone();
    seed::furnish(&mut cloud.sim.world(), &management, &mut chance, 1, 1);
    let accounts = ["222222222200", "222222222201"];
    seed::enroll(&mut cloud.sim.world(), &cloud.organization, cloud.region(), &accounts, 5);
    cloud.sim.world().account("222222222200").tags =
        [(Text::from("owner"), Text::from("ann"))].into();
    cloud.deploy();
    cloud
}

async fn what_was_made_is_found(cloud: &Cloud) {
    let database = Database::create().await;
    let daemon = Daemon::start(cloud, &database);
    let api = daemon.api().await;
    let settings = IntegrationSettings {
        excluded_ou_ids: vec!["ou-test-cccccccc".to_owned()],
        ..settings_with_every_type(cloud)
    };
    let sync = api.create_and_sync(settings).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    assert_eq!(sync.scopes_planned, sync.scopes_complete);
    assert_eq!(api.lines().await, cloud.expected_of_every_type(&["ou-test-cccccccc"]));
    attributes_are_stored(&database).await;
    facets_add_up(&api).await;
    assert_eq!(api.status("prod").await, IntegrationStatus::Active);
}

/// The counts are those of what is listed.
async fn facets_add_up(api: &Api) {
    let request =
        SummarizeResourcesRequest { integration: "prod".to_owned(), ..Default::default() };
    let facets = api.inventory().summarize_resources(request).await.expect("counts").into_inner();
    let listed = api.resources().await;
    let counted = |facets: &[Facet], value: &str| {
        facets.iter().find(|facet| facet.value == value).map_or(0, |facet| facet.resources)
    };
    let of = |holds: &dyn Fn(&Resource) -> bool| {
        i64::try_from(listed.iter().filter(|resource| holds(resource)).count()).expect("a count")
    };
    assert_eq!(facets.resources, of(&|_| true));
    for (facets, value, expected) in [
        (&facets.types, "aws-iam-role", of(&|r| r.r#type == "aws-iam-role")),
        (&facets.accounts, "222222222201", of(&|r| r.account_id == "222222222201")),
        (&facets.regions, "", of(&|r| r.region.is_empty())),
        (&facets.tag_keys, "team", of(&|r| r.tags.contains_key("team"))),
    ] {
        assert!(expected > 0, "{value}");
        assert_eq!(counted(facets, value), expected, "{value}");
    }
    let units = &facets.organizational_units;
    let (outer, inner) = (counted(units, "ou-test-aaaaaaaa"), counted(units, "ou-test-bbbbbbbb"));
    assert!(outer > inner && inner > 0, "a unit counts what lies below: {units:?}");
    assert!(units.iter().any(|unit| unit.display_name == "Production"));
    assert!(facets.types.is_sorted_by(|a, b| a.resources >= b.resources));
}

/// What a person needs to recognise a thing, read from the answers of several calls.
async fn attributes_are_stored(database: &Database) {
    let table = [
        ("aws-dynamodb-table", "orders-0", "keys", json!(["id"])),
        ("aws-eks-cluster", "platform-0", "authentication_mode", json!("API_AND_CONFIG_MAP")),
        ("aws-iam-policy", "read-orders-0", "default_version", json!("v2")),
        ("aws-iam-role", "apono-connector-member", "trust_conditions", json!(["sts:ExternalId"])),
        ("aws-iam-role", "resize-0", "last_used", json!("2026-03-04")),
        ("aws-iam-role", "resize-0", "trusted_principals", json!(["lambda.amazonaws.com"])),
        ("aws-iam-user", "ci-0", "groups", json!(["developers-0"])),
        ("aws-identity-center-group", "team-4", "member_count", json!(5)),
        ("aws-identity-center-permission-set", "Team0", "inline_policy", json!(true)),
        (
            "aws-identity-center-permission-set",
            "Team0",
            "accounts",
            json!(["222222222200", "222222222201"]),
        ),
        (
            "aws-identity-center-permission-set",
            "Team0",
            "permissions_boundary",
            json!("arn:aws:iam::aws:policy/Bounds"),
        ),
        (
            "aws-identity-center-permission-set",
            "Team1",
            "customer_managed_policies",
            json!(["/team-1"]),
        ),
        ("aws-identity-center-user", "ann0", "disabled", json!(true)),
        ("aws-lambda-function", "resize-images-0", "runtime", json!("python3.13")),
        ("aws-rds-cluster", "ledger-0", "members", json!(["ledger-writer-0"])),
        ("aws-rds-instance", "ledger-writer-0", "public", json!(false)),
        ("aws-secretsmanager-secret", "prod/database-0", "rotation", json!(true)),
        ("aws-sns-topic", "alerts-0", "kms_key", json!("alias/aws/sns")),
        ("aws-sqs-queue", "jobs-0", "retention_s", json!(345_600)),
    ];
    for (kind, name, attribute, expected) in table {
        let stored = database
            .texts(&format!(
                "SELECT DISTINCT attributes ->> '{attribute}' FROM connector.resources
                 WHERE type = '{kind}' AND name = '{name}'"
            ))
            .await;
        let expected = expected.as_str().map_or_else(|| expected.to_string(), ToOwned::to_owned);
        let stored: Vec<String> = stored.iter().map(|text| text.replace(", ", ",")).collect();
        assert_eq!(stored, [expected], "{attribute} of {kind} {name}");
    }
    let unread = "SELECT count(*) FROM connector.resources WHERE unread <> '{}'";
    assert_eq!(database.count(unread).await, 0);
}

#[tokio::test]
async fn what_was_made_is_found_in_aws() {
    what_was_made_is_found(&a_furnished_cloud("aws").await).await;
}

#[tokio::test]
async fn what_was_made_is_found_in_govcloud() {
    what_was_made_is_found(&a_furnished_cloud("aws-us-gov").await).await;
}

#[tokio::test]
async fn what_was_made_is_found_in_china() {
    what_was_made_is_found(&a_furnished_cloud("aws-cn").await).await;
}

#[tokio::test]
async fn without_paths_and_with_empty_pages_the_walk_finds_the_same() {
    let cloud = a_furnished_cloud("aws").await;
    if let Some(organization) = cloud.sim.world().organizations.get_mut(&cloud.organization) {
        organization.tells_paths = false;
        organization.begins_with_empty_page = true;
        organization.page_items = 3;
    }
    what_was_made_is_found(&cloud).await;
}

#[tokio::test]
async fn a_missing_role_is_a_warning_until_it_is_planted_and_nothing_is_written_twice() {
    let cloud = Cloud::sample().await;
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let settings = IntegrationSettings {
        excluded_ou_ids: vec!["ou-samp-sandbox1".to_owned()],
        sso_region: "eu-west-1".to_owned(),
        ..settings_for(&cloud)
    };
    let sync = api.create_and_sync(settings).await;
    assert_eq!(sync.state(), SyncState::SucceededWithProblems);
    assert_eq!(api.status("prod").await, IntegrationStatus::Warning);
    assert_eq!(api.problem_lines().await, ["MEMBER_ROLE_DENIED 1"]);
    let problem = api.problems().await.remove(0);
    assert_eq!(problem.examples, [seed::SAMPLE_WITHOUT_ROLE]);
    assert!(problem.remedy.contains("StackSet"), "{}", problem.remedy);
    coverage_is_told(&api).await;

    let before = row_versions(&database).await;
    cloud.deploy();
    let sync = api.sync("prod").await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    assert_eq!(api.status("prod").await, IntegrationStatus::Active);
    assert_eq!(api.lines().await, cloud.expected(&["ou-samp-sandbox1"]));
    let after = row_versions(&database).await;
    assert!(before.iter().all(|row| after.contains(row)), "rows were written that had not changed");
    let new = i64::try_from(after.len() - before.len()).expect("a count");
    assert_eq!(sync.resources_written, new, "only what is new was written");

    let sync = api.sync("prod").await;
    assert_eq!((sync.resources_written, sync.resources_gone), (0, 0));
    assert_eq!(row_versions(&database).await, after);
}

async fn coverage_is_told(api: &Api) {
    let request = GetTreeRequest { integration: "prod".to_owned(), ..Default::default() };
    let tree = api.inventory().get_tree(request).await.expect("a tree").into_inner();
    let account = |id: &str| {
        tree.accounts.iter().find(|account| account.id == id).expect("an account").clone()
    };
    assert_eq!(account("100000000010").coverage(), AccountCoverage::Excluded);
    assert_eq!(account("100000000012").coverage(), AccountCoverage::Inactive);
    assert_eq!(account("100000000001").coverage(), AccountCoverage::Crawled);
    assert!(account("100000000001").resources > 0);
    let unread = account(seed::SAMPLE_WITHOUT_ROLE).unread;
    assert_eq!(unread[0].reason, "MEMBER_ROLE_DENIED");
    assert_eq!(tree.organizational_units[0].id, "r-samp");
    assert!(tree.organizational_units.iter().any(|unit| unit.excluded));
}

async fn row_versions(database: &Database) -> Vec<String> {
    database
        .texts("SELECT concat_ws(' ', arn, xmin, ctid) FROM connector.resources ORDER BY arn")
        .await
}

#[tokio::test]
async fn what_goes_is_gone_and_what_changes_is_written_once() {
    let cloud = a_furnished_cloud("aws").await;
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_with_every_type(&cloud)).await;

    cloud.sim.world().account("222222222201").buckets.pop();
    cloud.sim.world().account("222222222202").buckets[0].tags =
        [(Text::from("team"), Text::from("new"))].into();
    let sync = api.sync("prod").await;
    assert_eq!((sync.resources_written, sync.resources_gone), (1, 1));
    assert_eq!(api.lines().await, cloud.expected_of_every_type(&[]));
}

#[tokio::test]
async fn tags_that_are_no_text_are_stored_without_loss() {
    let cloud = Cloud::empty("aws").await;
    let root = cloud.root.clone();
    cloud.account("222222222222", &root, "odd");
    let odd = Text::of_units(&[0x61, 0, 0xd800, 0x62]);
    {
        let mut world = cloud.sim.world();
        let account = world.account("222222222222");
        account.tags =
            [(Text::from("odd"), odd.clone()), (Text::from("mark"), Text::from("␚"))].into();
        let mut machine = instance("i-0000000000000001", &[]);
        machine.tags = [(odd.clone(), odd.clone())].into();
        account.instances.insert("eu-west-1".into(), vec![machine]);
        let mut store = bucket("odd-bucket", "eu-west-1", &[]);
        store.tags = [(Text::from("pair 😀"), odd)].into();
        account.buckets.push(store);
    }
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let sync = api.create_and_sync(settings_for(&cloud)).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);

    let resources = api.resources().await;
    let tags = |kind: &str, account: &str| {
        let found = resources.iter().find(|r| r.r#type == kind && r.account_id == account);
        found.expect("a resource").tags.clone()
    };
    let escaped = "a␚0000␚d800b";
    assert_eq!(tags("aws-account", "222222222222")["odd"], escaped);
    assert_eq!(tags("aws-account", "222222222222")["mark"], "␚241a");
    assert_eq!(tags("aws-ec2-instance", "222222222222")[escaped], escaped);
    assert_eq!(tags("aws-s3-bucket", "222222222222")["pair 😀"], escaped);
}

#[tokio::test]
async fn what_is_no_longer_read_is_kept_and_marked() {
    let cloud = a_furnished_cloud("aws").await;
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(settings_with_every_type(&cloud)).await;
    let before = api.lines().await;
    // Of what one pass over IAM yields, roles alone are still wanted.
    let still = ["aws-account", "aws-iam-role", "aws-s3-bucket"];
    let update = UpdateIntegrationRequest {
        integration: "prod".to_owned(),
        etag: api.get("prod").await.etag,
        settings: Some(IntegrationSettings {
            resource_types: still.map(str::to_owned).to_vec(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["resource_types".to_owned()] }),
        ..Default::default()
    };
    api.integrations().update_integration(update).await.expect("an update");
    let sync = api.sync("prod").await;
    assert_eq!((sync.state(), sync.resources_gone), (SyncState::Succeeded, 0));
    assert_eq!(api.lines().await, before);
    for resource in api.resources().await {
        let reason = if still.contains(&resource.r#type.as_str()) { "" } else { "NOT_COVERED" };
        assert_eq!(resource.stale_reason, reason, "{}", resource.arn);
    }
    assert_eq!(api.status("prod").await, IntegrationStatus::Active);
}
