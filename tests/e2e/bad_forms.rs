//! Bad forms are refused field by field, with what would be right, and nothing is
//! stored. Against `aws-sim`.

use std::collections::BTreeSet;

use apono_connector_proto::v1::{
    IntegrationOwner, IntegrationSettings, OrganizationTrail, ResourceOwner,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Cloud, Daemon, Database, settings_for};

/// A change of good settings, the field that it spoils, and what is said of it.
type BadForm = (fn(&mut IntegrationSettings), &'static str, &'static str);

const REGION: &str = "is not a region name, such as eu-west-1";
const OU: &str = "is not a root or organizational unit id, such as r-a1b2 or ou-a1b2-c3d4e5f6";
const PARTITION: &str = "is not a region of partition aws, which management_role_arn names; choose one of that partition";
const PORTAL: &str =
    "use the AWS access portal URL, such as https://d-1234567890.awsapps.com/start";
const TYPES: &str = "choose from aws-account, aws-dynamodb-table, aws-ec2-instance, aws-eks-cluster, aws-iam-group, aws-iam-policy, aws-iam-role, aws-iam-user, aws-identity-center-group, aws-identity-center-permission-set, aws-identity-center-user, aws-lambda-function, aws-rds-cluster, aws-rds-instance, aws-s3-bucket, aws-secretsmanager-secret, aws-sns-topic, aws-sqs-queue";

/// In the reasons, `@REGION` and its like stand for the constants above.
const BAD_FORMS: &[BadForm] = &[
    (|s| s.name.clear(), "name", "is required; use letters, digits, `-` and `_`"),
    (
        |s| s.name = "my org".into(),
        "name",
        "\"my org\" cannot be a name; use 1 to 64 letters, digits, `-` and `_`",
    ),
    (|s| s.region.clear(), "region", "is required"),
    (|s| s.region = "Ireland".into(), "region", "\"Ireland\" @REGION"),
    (|s| s.region = "cn-north-1".into(), "region", "cn-north-1 @PARTITION"),
    (|s| s.sso_region = "eu-west".into(), "sso_region", "\"eu-west\" @REGION"),
    (|s| s.sso_region = "us-gov-west-1".into(), "sso_region", "us-gov-west-1 @PARTITION"),
    (
        |s| s.sso_portal_url = "d-1.awsapps.com".into(),
        "sso_portal_url",
        "\"d-1.awsapps.com\" is not a URL (relative URL without a base); @PORTAL",
    ),
    (
        |s| s.sso_portal_url = "https://example.com".into(),
        "sso_portal_url",
        "\"https://example.com\" is not an access portal; @PORTAL",
    ),
    (|s| s.management_role_arn.clear(), "management_role_arn", "is required"),
    (
        |s| s.management_role_arn = "apono-x".into(),
        "management_role_arn",
        "\"apono-x\" is not the ARN of an IAM role, such as arn:<partition>:iam::123456789012:role/apono-connector",
    ),
    (
        |s| s.management_role_arn = "arn:aws:iam::111111111111:role/admin".into(),
        "management_role_arn",
        "names the role \"admin\", but the connector assumes only roles whose names begin with apono-; use the stack's output ManagementAccountRoleArnOutput",
    ),
    (|s| s.root_or_ou_id.clear(), "root_or_ou_id", "is required"),
    (
        |s| s.root_or_ou_id = "o-test123456".into(),
        "root_or_ou_id",
        "\"o-test123456\" is the organization; use its root (r-…), which `aws organizations list-roots` shows, or an organizational unit (ou-…)",
    ),
    (|s| s.root_or_ou_id = "root".into(), "root_or_ou_id", "\"root\" @OU"),
    (|s| s.excluded_ou_ids = vec!["box".into()], "excluded_ou_ids[0]", "\"box\" @OU"),
    (
        |s| s.excluded_ou_ids = vec!["r-a1b2".into()],
        "excluded_ou_ids[0]",
        "\"r-a1b2\" is a root; only organizational units (ou-…) can be excluded",
    ),
    (
        |s| s.excluded_ou_ids = vec!["ou-aaa1-1111".into(); 2],
        "excluded_ou_ids[1]",
        "\"ou-aaa1-1111\" is there twice; remove one",
    ),
    (
        |s| {
            s.root_or_ou_id = "ou-aaaa-11111111".into();
            s.excluded_ou_ids = vec![s.root_or_ou_id.clone()];
        },
        "excluded_ou_ids",
        "holds root_or_ou_id itself, so nothing would be read; remove it",
    ),
    (
        |s| s.excluded_ou_ids = vec!["ou-aaaa-11111111".into(); 201],
        "excluded_ou_ids",
        "has 201 entries; at most 200 are allowed",
    ),
    (|s| s.regions = vec!["mars-1".into()], "regions[0]", "\"mars-1\" @REGION"),
    (|s| s.regions = vec!["cn-north-1".into()], "regions[0]", "cn-north-1 @PARTITION"),
    (|s| s.resource_types.clear(), "resource_types", "is required; @TYPES"),
    (
        |s| s.resource_types = vec!["s3".into()],
        "resource_types[0]",
        "\"s3\" is not a resource type; @TYPES",
    ),
    (
        |s| s.resource_types = vec!["aws-identity-center-user".into()],
        "sso_region",
        "is required for aws-identity-center-user; name the region of IAM Identity Center",
    ),
    (
        |s| s.custom_access_details = "ש".repeat(401),
        "custom_access_details",
        "has 401 characters; shorten it to 400",
    ),
    (
        |s| s.custom_access_details = "bell \u{7}".into(),
        "custom_access_details",
        "holds the control character U+0007; remove it (line breaks are allowed)",
    ),
    (
        |s| s.integration_owner = Some(owner(0, "okta", &["ann"])),
        "integration_owner.attribute",
        "is required; choose user or group",
    ),
    (
        |s| s.integration_owner = Some(owner(1, "", &["ann"])),
        "integration_owner.source",
        "has 0 characters; use 1 to 256",
    ),
    (
        |s| s.integration_owner = Some(owner(1, "okta", &[])),
        "integration_owner.values",
        "has 0 entries; name 1 to 50 users or groups",
    ),
    (
        |s| s.integration_owner = Some(owner(2, "okta", &["a\nb"])),
        "integration_owner.values[0]",
        "holds a control character; remove it",
    ),
    (
        |s| s.resource_owner = Some(resource_owner("owner", "group")),
        "integration_owner",
        "is required when a resource owner is set; name a fallback approver",
    ),
    (
        |s| {
            s.integration_owner = Some(owner(1, "okta", &["ann"]));
            s.resource_owner = Some(resource_owner(&"k".repeat(129), "group"));
        },
        "resource_owner.tag_key",
        "has 129 characters; use 1 to 128",
    ),
    (
        |s| {
            s.integration_owner = Some(owner(1, "okta", &["ann"]));
            s.resource_owner = Some(resource_owner("owner", ""));
        },
        "resource_owner.attribute",
        "has 0 characters; use 1 to 256",
    ),
    (
        |s| s.sync_interval = Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        "sync_interval",
        "is 60 seconds; choose 300 (5 minutes) to 604800 (7 days)",
    ),
    (
        |s| s.sync_interval = Some(prost_types::Duration { seconds: -5, nanos: 0 }),
        "sync_interval",
        "is 0 seconds; choose 300 (5 minutes) to 604800 (7 days)",
    ),
    (
        |s| s.audit_retention = Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        "audit_retention",
        "is 3600 seconds; choose 86400 (1 day) to 315360000 (3650 days)",
    ),
    (
        |s| s.trail = Some(trail(|t| &mut t.bucket, "s3://logs")),
        "trail.bucket",
        "\"s3://logs\" is not the name of a bucket; give the name alone, without s3:// and without what lies in it",
    ),
    (
        |s| s.trail = Some(trail(|t| &mut t.prefix, "org/AWSLogs")),
        "trail.prefix",
        "\"org/AWSLogs\" is not the prefix of a trail; give what stands before /AWSLogs, without slashes around it; empty: nothing does",
    ),
    (
        |s| s.trail = Some(trail(|t| &mut t.prefix, &"p".repeat(201))),
        "trail.prefix",
        "has 201 characters; CloudTrail takes at most 200",
    ),
    (|s| s.trail = Some(trail(|t| &mut t.region, "")), "trail.region", "is required"),
    (
        |s| s.trail = Some(trail(|t| &mut t.region, "cn-north-1")),
        "trail.region",
        "is not of partition aws, which management_role_arn names; an organization trail lies in that partition",
    ),
    (
        |s| s.trail = Some(trail(|t| &mut t.kms_key_arn, "alias/trail")),
        "trail.kms_key_arn",
        "\"alias/trail\" is not the ARN of a KMS key; `aws cloudtrail get-trail` shows it as KmsKeyId: …:key/…, not an alias",
    ),
    (
        |s| {
            s.trail = Some(trail(
                |t| &mut t.queue_url,
                "https://sqs.us-east-1.amazonaws.com/123456789012/q",
            ));
        },
        "trail.queue_url",
        "\"https://sqs.us-east-1.amazonaws.com/123456789012/q\" is not in eu-west-1, the region of the bucket (trail.region), which notifies queues of its own region alone",
    ),
    (
        |s| s.trail = Some(trail(|t| &mut t.queue_url, "https://example.com/q")),
        "trail.queue_url",
        "\"https://example.com/q\" is not the URL of a queue; use the queue's URL, such as https://sqs.<region>.amazonaws.com/123456789012/trail",
    ),
    (
        |s| s.trail = Some(trail(|t| &mut t.role_arn, "arn:aws:iam::123456789012:role/logs")),
        "trail.role_arn",
        "names the role \"logs\", but the connector assumes only roles whose names begin with apono-; empty: the role of the management account",
    ),
];

/// A trail with a field that is not good.
fn trail(field: fn(&mut OrganizationTrail) -> &mut String, value: &str) -> OrganizationTrail {
    let (bucket, region) = ("logs".to_owned(), "eu-west-1".to_owned());
    let mut trail = OrganizationTrail { bucket, region, ..OrganizationTrail::default() };
    value.clone_into(field(&mut trail));
    trail
}

fn owner(attribute: i32, source: &str, values: &[&str]) -> IntegrationOwner {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    IntegrationOwner { attribute, source: source.to_owned(), values }
}

fn resource_owner(tag_key: &str, attribute: &str) -> ResourceOwner {
    ResourceOwner {
        tag_key: tag_key.to_owned(),
        attribute: attribute.to_owned(),
        source: "okta".to_owned(),
    }
}

fn whole(reason: &str) -> String {
    let parts = [("@REGION", REGION), ("@OU", OU), ("@PARTITION", PARTITION)];
    let parts = parts.into_iter().chain([("@PORTAL", PORTAL), ("@TYPES", TYPES)]);
    parts.fold(reason.to_owned(), |reason, (short, long)| reason.replace(short, long))
}

#[tokio::test]
async fn bad_forms_are_refused_field_by_field_and_nothing_is_stored() {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let before = database.row_counts().await;
    let mut seen = BTreeSet::new();
    for (spoil, field, reason) in BAD_FORMS {
        assert!(seen.insert((field, reason)), "{field} {reason} is tried twice");
        let mut settings = settings_for(&cloud);
        spoil(&mut settings);
        let status = api.create(settings).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(violations(&status), [(format!("settings.{field}"), whole(reason))]);
    }
    assert_eq!(database.row_counts().await, before);
    assert_eq!(cloud.sim.world().calls("sts:AssumeRole"), 0, "AWS was not asked");
}

fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    violations.into_iter().flatten().map(|bad| (bad.field, bad.description)).collect()
}
