//! S3 buckets.
//!
//! One list per account names them all, wherever they live; tags, and the key that encrypts it,
//! are asked for in each bucket's own region. An object may be encrypted with another key than new ones
//! are; its reader needs that one, too, which nobody tells.
//!
//! An ARN of S3 holds no account, and whoever deletes a bucket frees its name for everybody, so
//! each statement names the account of the bucket.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_s3::types::Bucket;
use futures::{StreamExt as _, stream};
use serde_json::Value;

use super::{
    CALLS_AT_ONCE, Collector, Grantable, Ground, Level, Page, ResourceType, Way, attributes,
    statements::{DECRYPT, ENCRYPT, KMS_KEY, key_use},
    time,
};
use crate::{
    aws::{Access, ApiError},
    model::{
        ids::Region,
        proof::PageToken,
        resource::{Resource, TAGS, Tags},
        scope::Reach,
        statement::{Operator, Statement, allow},
    },
    store::resources::Stored,
};

const LIST_BUCKETS: &str = "s3:ListAllMyBuckets";
const GET_BUCKET_LOCATION: &str = "s3:GetBucketLocation";
const GET_BUCKET_TAGGING: &str = "s3:GetBucketTagging";
const GET_ENCRYPTION: &str = "s3:GetEncryptionConfiguration";

const PAGE_BUCKETS: i32 = 200;

/// Reads buckets.
pub(super) struct Buckets;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-s3-bucket",
    display_name: "S3 bucket",
    permissions: PERMISSIONS,
    way_in: WAY_IN,
    attributes: &[
        ("creation_time", "When it was created, RFC 3339, UTC."),
        (KMS_KEY, "ARN, id or alias of the key that encrypts new objects; absent: S3's own."),
    ],
}];

const WAY_IN: Way = Way { console: "s3/buckets/{name}", command: "aws s3 ls s3://{name}" };

const PERMISSIONS: &[Grantable] = &[
    Grantable::of(
        "READ_ONLY",
        Level::Read,
        "List and read objects and their versions, by the bucket's name: other buckets are not listed",
        |on| Ok(within(on, &[LIST], &[GET], DECRYPT)),
    ),
    Grantable::of("READ_WRITE", Level::Write, "READ_ONLY; also write and delete objects", |on| {
        Ok(within(on, &[LIST], &[GET, PUT], ENCRYPT))
    }),
    Grantable::of(
        "ADMIN",
        Level::Write,
        "READ_WRITE; also delete versions for good, read all settings, change versioning, default encryption, metrics and tiers",
        |on| Ok(within(on, &[LIST, LOOK, SET], &[GET, PUT, LOOK_AT, PURGE], ENCRYPT)),
    ),
    Grantable::of(
        "OWNER",
        Level::Owner,
        "ADMIN; also policies, access lists, public access, tags, locks, expiry, replication, notifications, deleting the bucket: can leave lasting access",
        |on| {
            let objects = &[GET, PUT, LOOK_AT, PURGE, OWN_OBJECTS];
            Ok(within(on, &[LIST, LOOK, SET, OWN], objects, ENCRYPT))
        },
    ),
];

const LIST: &[&str] = &[
    "s3:GetBucketLocation",
    "s3:GetBucketTagging",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
];
const LOOK: &[&str] = &[
    "s3:GetAccelerateConfiguration",
    "s3:GetAnalyticsConfiguration",
    "s3:GetBucketAcl",
    "s3:GetBucketCORS",
    "s3:GetBucketLogging",
    "s3:GetBucketNotification",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:GetBucketPolicyStatus",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketRequestPayment",
    "s3:GetBucketWebsite",
    "s3:GetIntelligentTieringConfiguration",
    "s3:GetInventoryConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetMetricsConfiguration",
    "s3:GetReplicationConfiguration",
];
const SET: &[&str] = &[
    "s3:PutAccelerateConfiguration",
    "s3:PutBucketRequestPayment",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutIntelligentTieringConfiguration",
    "s3:PutMetricsConfiguration",
];
/// What changes who has access, and what goes on when a grant has ended: copies to other
/// buckets (analytics, inventory, logs, replication), messages to others (notifications),
/// deletion (life cycle), locks, a name that anybody may take (deletion of the bucket).
const OWN: &[&str] = &[
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:DeleteBucketWebsite",
    "s3:PutAnalyticsConfiguration",
    "s3:PutBucketAcl",
    "s3:PutBucketCORS",
    "s3:PutBucketLogging",
    "s3:PutBucketNotification",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging",
    "s3:PutBucketWebsite",
    "s3:PutInventoryConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
];

const GET: &[&str] = &[
    "s3:GetObject",
    "s3:GetObjectAttributes",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionAttributes",
    "s3:GetObjectVersionTagging",
    "s3:ListMultipartUploadParts",
];
const PUT: &[&str] =
    &["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject", "s3:RestoreObject"];
const LOOK_AT: &[&str] = &[
    "s3:GetObjectAcl",
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectVersionAcl",
];
const PURGE: &[&str] = &["s3:DeleteObjectVersion"];
const OWN_OBJECTS: &[&str] = &[
    "s3:BypassGovernanceRetention",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersionTagging",
    "s3:PutObjectAcl",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectVersionTagging",
];

/// Allows actions on a bucket, on its objects, and on the key that encrypts them.
fn within(on: &Stored, bucket: &[&[&str]], objects: &[&[&str]], key: &[&str]) -> Vec<Statement> {
    let allow = |actions: &[&[&str]], arn: String| {
        let account = [on.account_id.as_str()];
        allow(&actions.concat()).on([arn]).when(
            Operator::StringEquals,
            "aws:ResourceAccount",
            account,
        )
    };
    let mut all = vec![allow(bucket, on.arn.clone()), allow(objects, format!("{}/*", on.arn))];
    all.extend(key_use(on, "s3", key));
    all
}

#[async_trait]
impl Collector for Buckets {
    fn name(&self) -> &'static str {
        "s3_bucket"
    }

    fn reach(&self) -> Reach {
        Reach::Account
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_BUCKETS, GET_BUCKET_LOCATION, GET_BUCKET_TAGGING, GET_ENCRYPTION]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .s3()
            .list_buckets()
            .max_buckets(PAGE_BUCKETS)
            .set_continuation_token(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_BUCKETS, &error))?;
        let next = PageToken::of(answer.continuation_token());

        let (mut placed, mut passed_over) = (Vec::new(), Vec::new());
        for bucket in answer.buckets.unwrap_or_default() {
            let region = region(ground.access, &bucket).await?;
            let wanted = &ground.settings.regions;
            if wanted.is_empty() || wanted.contains(&region) {
                placed.push((bucket, region));
            } else if let Some(name) = &bucket.name {
                passed_over.push(arn(ground.access, name));
            }
        }
        let regions: HashMap<Region, Access> = placed
            .iter()
            .map(|(_, region)| (region.clone(), ground.access.in_region(region.clone())))
            .collect();
        let resources = stream::iter(placed)
            .map(|(bucket, region)| resource(&regions[&region], bucket, region.clone()))
            .buffered(CALLS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        Ok(Page { resources, passed_over, next })
    }
}

fn arn(access: &Access, name: &str) -> String {
    access.partition().arn("s3", "", "", name)
}

/// Where a bucket lives; the list says so, except for buckets of old.
async fn region(access: &Access, bucket: &Bucket) -> Result<Region, ApiError> {
    if let Some(region) = bucket.bucket_region().and_then(|region| region.parse().ok()) {
        return Ok(region);
    }
    let answer = access
        .s3()
        .get_bucket_location()
        .bucket(bucket.name().unwrap_or_default())
        .send()
        .await
        .map_err(|error| ApiError::of(GET_BUCKET_LOCATION, &error))?;
    // Two names are older than region names: none is us-east-1, `EU` is eu-west-1.
    let region =
        match answer.location_constraint().map(aws_sdk_s3::types::BucketLocationConstraint::as_str)
        {
            None | Some("") => "us-east-1",
            Some("EU") => "eu-west-1",
            Some(region) => region,
        };
    region.parse().map_err(|_| ApiError::answered(GET_BUCKET_LOCATION, "", region, 200))
}

/// None: the bucket has gone since it was listed.
async fn resource(access: &Access, bucket: Bucket, region: Region) -> Option<Resource> {
    let name = bucket.name?;
    let mut unread = BTreeMap::new();
    let tags = match tags(access, &name).await {
        Ok(tags) => tags?,
        Err(error) => {
            unread.insert(TAGS.to_owned(), error.reason.code);
            Tags::new()
        }
    };
    let kms_key = match kms_key(access, &name).await {
        Ok(key) => key.map(Value::from),
        Err(error) => {
            unread.insert(KMS_KEY.to_owned(), error.reason.code);
            None
        }
    };
    Some(Resource {
        arn: arn(access, &name),
        kind: TYPES[0].id,
        account: access.account().clone(),
        region: Some(region),
        name,
        tags,
        attributes: attributes([("creation_time", time(bucket.creation_date)), (KMS_KEY, kms_key)]),
        unread,
    })
}

/// The key that encrypts new objects; none: it is S3's own.
async fn kms_key(access: &Access, bucket: &str) -> Result<Option<String>, ApiError> {
    let answer = access.s3().get_bucket_encryption().bucket(bucket).send().await;
    let found = match answer.map_err(|error| ApiError::of(GET_ENCRYPTION, &error)) {
        Ok(found) => found.server_side_encryption_configuration,
        Err(error) => match error.code.as_deref() {
            Some("ServerSideEncryptionConfigurationNotFoundError" | "NoSuchBucket") => {
                return Ok(None);
            }
            _ => return Err(error),
        },
    };
    let rules = found.map(|found| found.rules).unwrap_or_default();
    let mut defaults =
        rules.into_iter().filter_map(|rule| rule.apply_server_side_encryption_by_default);
    Ok(defaults.find_map(|default| default.kms_master_key_id))
}

/// None: there is no such bucket any more.
async fn tags(access: &Access, bucket: &str) -> Result<Option<Tags>, ApiError> {
    match access.s3().get_bucket_tagging().bucket(bucket).send().await {
        Ok(answer) => {
            Ok(Some(answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect()))
        }
        Err(error) => {
            let error = ApiError::of(GET_BUCKET_TAGGING, &error);
            match error.code.as_deref() {
                Some("NoSuchTagSet") => Ok(Some(Tags::new())),
                Some("NoSuchBucket") => Ok(None),
                _ => Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::statements::tests::{a_resource, said};

    #[test]
    fn what_is_allowed_is_in_the_buckets_account() {
        let bucket = a_resource("arn:aws:s3:::logs", json!({}));
        let said = |asked| said("aws-s3-bucket", asked, &bucket);
        assert_eq!(
            said("READ_ONLY"),
            [
                "GetBucketLocation GetBucketTagging GetBucketVersioning GetEncryptionConfiguration \
                 ListBucket ListBucketMultipartUploads ListBucketVersions on arn:aws:s3:::logs \
                 when aws:ResourceAccount StringEquals 111122223333",
                "GetObject GetObjectAttributes GetObjectTagging GetObjectVersion \
                 GetObjectVersionAttributes GetObjectVersionTagging ListMultipartUploadParts on \
                 arn:aws:s3:::logs/* when aws:ResourceAccount StringEquals 111122223333",
            ]
        );
        for asked in ["READ_WRITE", "ADMIN", "OWNER"] {
            let in_account = "when aws:ResourceAccount StringEquals 111122223333";
            assert!(said(asked).iter().all(|line| line.ends_with(in_account)), "{asked}");
        }
        let encrypted = a_resource("arn:aws:s3:::logs", json!({ "kms_key": "1234-abcd" }));
        let key = super::super::statements::tests::said("aws-s3-bucket", "READ_ONLY", &encrypted);
        let own = "arn:aws:kms:eu-west-1:111122223333:key/1234-abcd";
        let via = "when kms:ViaService StringEquals s3.eu-west-1.amazonaws.com";
        assert_eq!(key[2], format!("Decrypt on {own} {via}"));
        assert!(said("READ_WRITE")[1].contains(" PutObject "));
        assert!(!said("READ_WRITE")[1].contains("DeleteObjectVersion"));
        for lasting in ["Policy", "Acl", "Replication", "Notification", "Lifecycle", "Tagging"] {
            let put = |line: &String| {
                line.split(' ').any(|action| action.starts_with("Put") && action.contains(lasting))
            };
            assert!(!said("ADMIN").iter().any(put), "{lasting}");
            assert!(said("OWNER").iter().any(put), "{lasting}");
        }
    }
}
