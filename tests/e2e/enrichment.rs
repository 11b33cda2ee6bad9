//! What is asked for beside a list: where it is denied the thing is there all the same, with
//! the values that it had; what has gone since it was listed is gone. Against `aws-sim`.

use std::collections::BTreeSet;

use apono_connector_proto::v1::{IntegrationSettings, SyncState};
use aws_sim::{Effect, Fault, answer::Refusal, seed};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::harness::{Api, Cloud, Daemon, Database, settings_with_every_type};

const ACCOUNT: &str = "222222222222";

struct Scene {
    cloud: Cloud,
    database: Database,
    api: Api,
    _daemon: Daemon,
}

async fn read_once() -> Scene {
    let cloud = Cloud::empty("aws").await;
    cloud.account(ACCOUNT, &cloud.root, "payments");
    let mut chance = StdRng::seed_from_u64(1);
    seed::stock(&mut cloud.sim.world(), ACCOUNT, cloud.region(), 3, &mut chance);
    seed::enroll(&mut cloud.sim.world(), &cloud.organization, cloud.region(), &[ACCOUNT], 3);
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let sync = api.create_and_sync(settings_with_every_type(&cloud)).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    Scene { cloud, database, api, _daemon: daemon }
}

/// Every call that tells more of what a list has told already, with what it tells of.
const BESIDE: [(&str, &str); 14] = [
    ("dynamodb:DescribeTable", "aws-dynamodb-table"),
    ("eks:DescribeCluster", "aws-eks-cluster"),
    ("iam:ListPolicyTags", "aws-iam-policy"),
    ("identitystore:ListGroupMemberships", "aws-identity-center-group"),
    ("sns:GetTopicAttributes", "aws-sns-topic"),
    ("sqs:GetQueueAttributes", "aws-sqs-queue"),
    ("sso:DescribePermissionSet", "aws-identity-center-permission-set"),
    ("sso:GetInlinePolicyForPermissionSet", "aws-identity-center-permission-set"),
    ("sso:GetPermissionsBoundaryForPermissionSet", "aws-identity-center-permission-set"),
    ("sso:ListAccountsForProvisionedPermissionSet", "aws-identity-center-permission-set"),
    (
        "sso:ListCustomerManagedPolicyReferencesInPermissionSet",
        "aws-identity-center-permission-set",
    ),
    ("sso:ListManagedPoliciesInPermissionSet", "aws-identity-center-permission-set"),
    ("sso:ListTagsForResource", "aws-identity-center-permission-set"),
    ("tag:GetResources", "aws-lambda-function"),
];

#[tokio::test]
async fn what_is_denied_beside_a_list_keeps_its_value_and_says_so() {
    let scene = read_once().await;
    let stored = || async {
        scene
            .database
            .texts("SELECT concat_ws(' ', arn, name, tags, attributes) FROM connector.resources ORDER BY arn")
            .await
    };
    let before = stored().await;
    for (action, _) in BESIDE {
        let refusal = Refusal::denied(action.split(':').next().unwrap_or_default(), "no");
        scene.cloud.sim.world().faults.push(Fault::new(Effect::Refuse(refusal)).on(action));
    }
    let sync = scene.api.sync("prod").await;
    assert_eq!((sync.scopes_incomplete, sync.resources_gone), (0, 0));
    assert_eq!(stored().await, before, "every value is kept");
    let unread: BTreeSet<String> = scene
        .api
        .resources()
        .await
        .into_iter()
        .filter(|resource| resource.unread.values().any(|reason| reason == "ACTION_DENIED"))
        .map(|resource| resource.r#type)
        .collect();
    for (action, kind) in BESIDE {
        assert!(unread.contains(kind), "{action}: {unread:?}");
    }

    scene.cloud.sim.world().faults.clear();
    scene.api.sync("prod").await;
    assert!(scene.api.resources().await.iter().all(|resource| resource.unread.is_empty()));
    assert_eq!(stored().await, before);
}

#[tokio::test]
async fn what_has_gone_since_it_was_listed_is_gone() {
    let scene = read_once().await;
    let gone = [
        ("dynamodb:DescribeTable", 400, "ResourceNotFoundException"),
        ("eks:DescribeCluster", 404, "ResourceNotFoundException"),
        ("sns:GetTopicAttributes", 404, "NotFound"),
        ("sqs:GetQueueAttributes", 400, "QueueDoesNotExist"),
        ("sso:DescribePermissionSet", 400, "ResourceNotFoundException"),
    ];
    for (action, status, code) in gone {
        let refusal = Refusal::new(status, code, "it is not there");
        let once = Fault::new(Effect::Refuse(refusal)).on(action).times(1);
        scene.cloud.sim.world().faults.push(once);
    }
    let sync = scene.api.sync("prod").await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", scene.api.problems().await);
    assert_eq!(sync.resources_gone, 5);
}

#[tokio::test]
async fn an_instance_that_is_elsewhere_is_one_problem_and_nothing_goes() {
    let scene = read_once().await;
    let before = scene.api.lines().await;
    {
        let mut world = scene.cloud.sim.world();
        let organization = world.organizations.get_mut(&scene.cloud.organization).expect("one");
        "us-east-1".clone_into(&mut organization.sso_region);
    }
    scene.api.sync("prod").await;
    assert_eq!(scene.api.problem_lines().await, ["IDENTITY_CENTER_MISSING 3"]);
    assert_eq!(scene.api.problems().await[0].subject, scene.cloud.region());
    assert_eq!(scene.api.lines().await, before);
}

#[tokio::test]
async fn of_what_one_pass_yields_only_chosen_types_are_kept() {
    let cloud = Cloud::empty("aws").await;
    cloud.account(ACCOUNT, &cloud.root, "payments");
    let mut chance = StdRng::seed_from_u64(1);
    seed::stock(&mut cloud.sim.world(), ACCOUNT, cloud.region(), 2, &mut chance);
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let settings = IntegrationSettings {
        resource_types: vec!["aws-iam-user".to_owned()],
        ..settings_with_every_type(&cloud)
    };
    api.create_and_sync(settings).await;
    let found: BTreeSet<String> = api.resources().await.into_iter().map(|r| r.r#type).collect();
    assert_eq!(found, ["aws-iam-user".to_owned()].into());
}
