//! S3: what lies in buckets, to those who may read it: of another account by the bucket's policy.
//!
//! Sources: the API reference of S3 (`ListObjectsV2`, `GetObject`, `GetBucketNotificationConfiguration`).

use std::{collections::BTreeSet, ops::Bound};

use chrono::SecondsFormat;

use super::{resources, s3, unknown};
use crate::{
    answer::{Answer, Refusal},
    delivery::Object,
    identity::Session,
    request::Call,
    world::{Bucket, World},
    xml::Xml,
};

/// The most that a page holds.
const PAGE_ITEMS_MAX: usize = 1000;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 5;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    world.deliver_due();
    let world = &*world;
    let (owner, bucket) = world
        .bucket(&call.bucket)
        .ok_or_else(|| Refusal::new(404, "NoSuchBucket", "The specified bucket does not exist"))?;
    if owner != session.account && !bucket.readers.contains(&session.role_arn) {
        let words = format!(
            "User: {} is not authorized to perform: {} because no resource-based policy allows the {} action",
            session.arn,
            call.action(),
            call.action()
        );
        return Err(Refusal::denied("s3", words));
    }
    s3::check_region(bucket, call)?;
    match call.operation.as_str() {
        "ListObjectsV2" => Ok(list(world, bucket, call)),
        "GetObject" => get(world, session, bucket, call),
        "GetBucketNotification" => Ok(notification(bucket)),
        _ => Err(unknown(call)),
    }
}

/// In the order of their names; what lies behind a delimiter is told by its folder alone.
fn list(world: &World, bucket: &Bucket, call: &Call) -> Answer {
    let form = |name: &str| call.form.get(name).map(String::as_str).unwrap_or_default();
    let (prefix, delimiter) = (form("prefix"), form("delimiter"));
    let after = form("start-after").max(form("continuation-token"));
    let asked = call.number("max-keys").unwrap_or(PAGE_ITEMS_MAX).min(PAGE_ITEMS_MAX);
    let page_items = world.page_items(asked, PAGE_GIVEN_MAX);
    let range = (Bound::Excluded(after.to_owned()), Bound::Unbounded);
    let found = bucket.objects.range(range).filter(|(key, _)| key.starts_with(prefix));
    let (mut objects, mut folders, mut last, mut is_cut) = (Vec::new(), BTreeSet::new(), "", false);
    for (key, object) in found {
        let rest = &key[prefix.len()..];
        let folder = (!delimiter.is_empty()).then(|| rest.split_once(delimiter)).flatten();
        let folder = folder.map(|(name, _)| format!("{prefix}{name}{delimiter}"));
        // A page that ends within a folder goes on behind it.
        let is_new =
            folder.as_ref().is_none_or(|one| !folders.contains(one) && !after.starts_with(one));
        if is_new && objects.len() + folders.len() >= page_items {
            is_cut = true;
            break;
        }
        last = key;
        match folder {
            Some(folder) if is_new => drop(folders.insert(folder)),
            Some(_) => {}
            None => objects.push((key, object)),
        }
    }
    let mut xml = Xml::default();
    xml.element("ListBucketResult", |xml| {
        xml.text("Name", &bucket.name).text("IsTruncated", is_cut.to_string());
        if is_cut {
            xml.text("NextContinuationToken", last);
        }
        for (key, object) in objects {
            let at = object.modified.to_rfc3339_opts(SecondsFormat::Millis, true);
            xml.element("Contents", |xml| {
                let size = object.body.len().to_string();
                xml.text("Key", key).text("LastModified", at).text("Size", size);
            });
        }
        for folder in folders {
            xml.element("CommonPrefixes", |xml| {
                xml.text("Prefix", folder);
            });
        }
    });
    Answer::xml(xml)
}

fn get(world: &World, session: &Session, bucket: &Bucket, call: &Call) -> Result<Answer, Refusal> {
    let Some(Object { body, kms_key, .. }) = bucket.objects.get(call.key()) else {
        return Err(Refusal::new(404, "NoSuchKey", "The specified key does not exist."));
    };
    let mut headers = vec![("content-encoding", "gzip".to_owned())];
    if !kms_key.is_empty() {
        if !resources::may(world, session, "kms:Decrypt", kms_key) {
            let words = format!(
                "User: {} is not authorized to perform: kms:Decrypt on resource: {kms_key} because no identity-based policy allows the kms:Decrypt action",
                session.arn
            );
            return Err(Refusal::denied("s3", words));
        }
        headers.push(("x-amz-server-side-encryption", "aws:kms".to_owned()));
        headers.push(("x-amz-server-side-encryption-aws-kms-key-id", kms_key.clone()));
    }
    let content_type = "application/json".to_owned();
    Ok(Answer { status: 200, content_type, body: body.clone(), code: String::new(), headers })
}

fn notification(bucket: &Bucket) -> Answer {
    let mut xml = Xml::default();
    xml.element("NotificationConfiguration", |xml| {
        for queue in &bucket.notifies {
            xml.element("QueueConfiguration", |xml| {
                xml.text("Id", "trail").text("Queue", queue).text("Event", "s3:ObjectCreated:*");
            });
        }
    });
    Answer::xml(xml)
}
