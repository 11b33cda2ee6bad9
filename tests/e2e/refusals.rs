//! What AWS does not allow is refused when an integration is created: the failed step
//! with its remedy, and nothing stored. Against `aws-sim`.

use apono_connector_proto::v1::IntegrationSettings;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{Cloud, Daemon, Database, settings_for};

const MANAGEMENT_ROLE: &str = "apono-connector-management";

/// Creates an integration after something was spoiled, and holds that exactly one step
/// failed, and how.
async fn refused(
    spoil: impl FnOnce(&Cloud, &mut IntegrationSettings),
    code: &str,
    finding: &str,
    remedy: &str,
) {
    let cloud = Cloud::empty("aws").await;
    cloud.unit("ou-test-aaaaaaaa", &cloud.root.clone(), "Production");
    cloud.account("222222222222", "ou-test-aaaaaaaa", "payments");
    cloud.deploy();
    let mut settings = settings_for(&cloud);
    spoil(&cloud, &mut settings);
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let before = database.row_counts().await;
    let status = daemon.api().await.create(settings).await.expect_err(code);
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let details = status.get_error_details();
    let failed = details.precondition_failure().expect("the failed steps").violations.clone();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].r#type, code);
    assert!(failed[0].subject.contains(finding), "{}", failed[0].subject);
    assert!(failed[0].description.contains(remedy), "{}", failed[0].description);
    assert_eq!(database.row_counts().await, before);
}

/// Changes the trust policy's only statement.
fn spoil_trust(cloud: &Cloud, change: impl FnOnce(&mut serde_json::Value)) {
    let mut world = cloud.sim.world();
    let role = world.account(&cloud.management).roles.get_mut(MANAGEMENT_ROLE).expect("a role");
    change(&mut role.trust["Statement"][0]);
}

#[tokio::test]
async fn a_role_that_needs_no_external_id() {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    spoil_trust(&cloud, |statement| {
        statement.as_object_mut().expect("a statement").remove("Condition");
    });
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let status = daemon.api().await.create(settings_for(&cloud)).await.expect_err("too open");
    let details = status.get_error_details();
    let failed = details.precondition_failure().expect("the failed steps").violations.clone();
    let codes: Vec<&str> = failed.iter().map(|step| step.r#type.as_str()).collect();
    assert_eq!(codes, ["EXTERNAL_ID"]);
    assert!(failed[0].description.contains(&cloud.connector_id), "{}", failed[0].description);
}

#[tokio::test]
async fn a_role_that_trusts_somebody_elses_connector() {
    refused(
        |cloud, _| {
            spoil_trust(cloud, |statement| {
                statement["Condition"] = json!({ "StringEquals": { "sts:ExternalId": "other" } });
            });
        },
        "MANAGEMENT_ROLE",
        "cannot be assumed",
        "AponoConnectorId is",
    )
    .await;
}

#[tokio::test]
async fn a_role_that_is_not_there() {
    refused(
        |cloud, _| cloud.sim.world().account(&cloud.management).roles.clear(),
        "MANAGEMENT_ROLE",
        "cannot be assumed",
        "Deploy or update the CloudFormation stack",
    )
    .await;
}

#[tokio::test]
async fn a_role_outside_the_management_account() {
    refused(
        |cloud, settings| {
            let mut world = cloud.sim.world();
            let role = world.account(&cloud.management).roles[MANAGEMENT_ROLE].clone();
            world.account("222222222222").roles.insert(role.name.clone(), role);
            settings.management_role_arn =
                format!("arn:aws:iam::222222222222:role/{MANAGEMENT_ROLE}");
        },
        "ORGANIZATION",
        "may not call organizations:DescribeOrganization",
        "Update the stack",
    )
    .await;
}

#[tokio::test]
async fn an_excluded_unit_that_is_a_typo() {
    refused(
        |_, settings| settings.excluded_ou_ids = vec!["ou-test-aaaaaaab".to_owned()],
        "ORGANIZATION_TREE",
        "the excluded unit ou-test-aaaaaaab is not in this organization",
        "ou-test-aaaaaaaa (Production)",
    )
    .await;
}

#[tokio::test]
async fn a_root_of_another_organization() {
    refused(
        |_, settings| settings.root_or_ou_id = "r-zzzz".to_owned(),
        "ORGANIZATION_TREE",
        "root_or_ou_id r-zzzz is not in this organization",
        "Use one of: r-test (Root)",
    )
    .await;
}
