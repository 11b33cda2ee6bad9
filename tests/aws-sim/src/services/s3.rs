//! S3: buckets, their tags, what encrypts them, and what lies in them.

use chrono::SecondsFormat;

use super::{objects, page, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    world::{Bucket, World},
    xml::Xml,
};

const PAGE_ITEMS_MAX: usize = 10_000;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 3;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "ListBuckets" => list(world, session, call),
        "GetBucketLocation" => bucket(world, session, call).map(location),
        "GetBucketEncryption" => encryption(bucket(world, session, call)?, call),
        "GetBucketTagging" => tags(bucket(world, session, call)?, call),
        "ListObjectsV2" | "GetObject" | "GetBucketNotification" => {
            objects::answer(world, session, call)
        }
        _ => Err(unknown(call)),
    }
}

fn list(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let none = Vec::new();
    let buckets = world.accounts.get(&session.account).map_or(&none, |account| &account.buckets);
    let asked = call.form.get("max-buckets").and_then(|text| text.parse().ok());
    let (items, next) = page(
        &session.account,
        call,
        buckets,
        asked.map_or(PAGE_ITEMS_MAX, |asked| world.page_items(asked, PAGE_GIVEN_MAX)),
        world.begins_with_empty_pages,
    )?;
    let organization = world.organization_of(&session.account);
    let tells_regions = organization.is_none_or(|o| o.tells_bucket_regions);
    let mut xml = Xml::default();
    xml.element("ListAllMyBucketsResult", |xml| {
        xml.element("Buckets", |xml| {
            for bucket in items {
                xml.element("Bucket", |xml| {
                    xml.text("Name", &bucket.name).text(
                        "CreationDate",
                        bucket.created.to_rfc3339_opts(SecondsFormat::Millis, true),
                    );
                    if tells_regions {
                        xml.text("BucketRegion", &bucket.region);
                    }
                });
            }
        });
        if let Some(next) = next {
            xml.text("ContinuationToken", next);
        }
    });
    Ok(Answer::xml(xml))
}

fn bucket<'a>(world: &'a World, session: &Session, call: &Call) -> Result<&'a Bucket, Refusal> {
    world
        .accounts
        .get(&session.account)
        .and_then(|account| account.buckets.iter().find(|bucket| bucket.name == call.bucket))
        .ok_or_else(|| Refusal::new(404, "NoSuchBucket", "The specified bucket does not exist"))
}

/// The old name of us-east-1 is none at all.
fn location(bucket: &Bucket) -> Answer {
    let region = if bucket.region == "us-east-1" { "" } else { &bucket.region };
    let mut xml = Xml::default();
    xml.text("LocationConstraint", region);
    Answer::xml(xml)
}

/// A bucket answers in its own region.
pub(super) fn check_region(bucket: &Bucket, call: &Call) -> Result<(), Refusal> {
    if bucket.region == call.region {
        return Ok(());
    }
    Err(Refusal::new(301, "PermanentRedirect", "use the bucket's own region"))
}

/// Every bucket is encrypted, one without another key with S3's own.
fn encryption(bucket: &Bucket, call: &Call) -> Result<Answer, Refusal> {
    check_region(bucket, call)?;
    let mut xml = Xml::default();
    xml.element("ServerSideEncryptionConfiguration", |xml| {
        xml.element("Rule", |xml| {
            xml.element("ApplyServerSideEncryptionByDefault", |xml| {
                if bucket.kms_key.is_empty() {
                    xml.text("SSEAlgorithm", "AES256");
                } else {
                    xml.text("SSEAlgorithm", "aws:kms").text("KMSMasterKeyID", &bucket.kms_key);
                }
            });
        });
    });
    Ok(Answer::xml(xml))
}

fn tags(bucket: &Bucket, call: &Call) -> Result<Answer, Refusal> {
    check_region(bucket, call)?;
    if bucket.tags.is_empty() {
        return Err(Refusal::new(404, "NoSuchTagSet", "The TagSet does not exist"));
    }
    let mut xml = Xml::default();
    xml.element("Tagging", |xml| {
        xml.element("TagSet", |xml| {
            for (key, value) in &bucket.tags {
                xml.element("Tag", |xml| {
                    xml.raw("Key", &key.xml()).raw("Value", &value.xml());
                });
            }
        });
    });
    Ok(Answer::xml(xml))
}
