//! S3 buckets.
//!
//! One list per account names them all, wherever they live; tags are asked for in
//! each bucket's own region.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_s3::types::Bucket;
use futures::{StreamExt as _, stream};

use super::{CALLS_AT_ONCE, Collector, Ground, Page, ResourceType, attributes, time};
use crate::{
    aws::{Access, ApiError},
    model::{
        ids::Region,
        proof::PageToken,
        resource::{Resource, TAGS, Tags},
        scope::Reach,
    },
};

const LIST_BUCKETS: &str = "s3:ListAllMyBuckets";
const GET_BUCKET_LOCATION: &str = "s3:GetBucketLocation";
const GET_BUCKET_TAGGING: &str = "s3:GetBucketTagging";

const PAGE_BUCKETS: i32 = 200;

/// Reads buckets.
pub(super) struct Buckets;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-s3-bucket",
    display_name: "S3 bucket",
    attributes: &[("creation_time", "When it was created, RFC 3339, UTC.")],
}];

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
        &[LIST_BUCKETS, GET_BUCKET_LOCATION, GET_BUCKET_TAGGING]
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
    let (tags, unread) = match tags(access, &name).await {
        Ok(tags) => (tags?, BTreeMap::new()),
        Err(error) => (Tags::new(), BTreeMap::from([(TAGS.to_owned(), error.reason.code)])),
    };
    Some(Resource {
        arn: arn(access, &name),
        kind: TYPES[0].id,
        account: access.account().clone(),
        region: Some(region),
        name,
        tags,
        attributes: attributes([("creation_time", time(bucket.creation_date))]),
        unread,
    })
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
