//! What a preflight asks of a trail: its bucket, one of its files, its queue. Nothing is changed by it.

use super::{GET_OBJECT, LIST_BUCKET, RECEIVE_MESSAGE};
use crate::{
    aws::{Access, ApiError},
    model::log_file::{self, Malformed},
};

/// The IAM action.
pub const GET_NOTIFICATION: &str = "s3:GetBucketNotification";
/// Messages that are looked at.
const MESSAGES: i32 = 10;

/// The names of the folders in a folder of a bucket.
///
/// # Errors
///
/// When S3 does not tell.
pub async fn folders(access: &Access, bucket: &str, folder: &str) -> Result<Vec<String>, ApiError> {
    let asked = access.s3().list_objects_v2().bucket(bucket);
    let mut pages = asked.prefix(folder).delimiter("/").into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| ApiError::of(LIST_BUCKET, &error))?;
        let names = page.common_prefixes().iter().filter_map(|one| one.prefix());
        let names = names.filter_map(|name| name.strip_prefix(folder));
        found.extend(names.map(|name| name.trim_end_matches('/').to_owned()));
    }
    Ok(found)
}

/// A file in a folder, if there is one.
///
/// # Errors
///
/// When S3 does not tell.
pub async fn file(access: &Access, bucket: &str, folder: &str) -> Result<Option<String>, ApiError> {
    let page = access.s3().list_objects_v2().bucket(bucket).prefix(folder).send().await;
    let page = page.map_err(|error| ApiError::of(LIST_BUCKET, &error))?;
    Ok(page.contents().last().and_then(|object| object.key()).map(str::to_owned))
}

/// A log file that was read.
#[derive(Debug)]
pub struct Read {
    /// The KMS key that encrypts it; empty: none does.
    pub kms_key: String,
    /// How many records are in it, if it is one.
    pub records: Result<usize, Malformed>,
}

/// Reads a log file.
///
/// # Errors
///
/// When S3 does not hand it out.
pub async fn read(access: &Access, bucket: &str, key: &str) -> Result<Read, ApiError> {
    let got = access.s3().get_object().bucket(bucket).key(key).send().await;
    let got = got.map_err(|error| ApiError::of(GET_OBJECT, &error))?;
    let kms_key = got.ssekms_key_id().unwrap_or_default().to_owned();
    let body = got.body.collect().await;
    let body = body.map_err(|error| ApiError::answered(GET_OBJECT, "", &error.to_string(), 503))?;
    let mut records = 0_usize;
    let read = log_file::records(&body.into_bytes(), &mut |_| records += 1);
    Ok(Read { kms_key, records: read.map(|()| records) })
}

/// What the messages of a queue tell of first.
#[derive(Debug)]
pub enum Told {
    /// Nothing is in it.
    Nothing,
    /// The bucket.
    OfIt,
    /// Another bucket.
    OfAnother(String),
}

/// What a queue tells of; the messages stay for the daemon.
///
/// # Errors
///
/// When SQS does not tell.
pub async fn told(access: &Access, url: &str, bucket: &str) -> Result<Told, ApiError> {
    let asked = access.sqs().receive_message().queue_url(url).visibility_timeout(0);
    let answer = asked.max_number_of_messages(MESSAGES).send().await;
    let answer = answer.map_err(|error| ApiError::of(RECEIVE_MESSAGE, &error))?;
    let bodies = answer.messages().iter().filter_map(|message| message.body());
    let told = bodies.flat_map(|body| log_file::delivered(body).unwrap_or_default());
    let told: Vec<_> = told.map(|one| one.bucket).collect();
    Ok(match told.iter().find(|one| *one != bucket) {
        Some(other) => Told::OfAnother(other.clone()),
        None if told.is_empty() => Told::Nothing,
        None => Told::OfIt,
    })
}

/// Whom a bucket tells of new files.
#[derive(Debug)]
pub struct Notified {
    /// Queues, by ARN.
    pub queues: Vec<String>,
    /// Whether it also tells topics or `EventBridge`, which may tell queues.
    pub has_others: bool,
}

/// Whom a bucket tells of new files.
///
/// # Errors
///
/// When S3 does not tell.
pub async fn notified(access: &Access, bucket: &str) -> Result<Notified, ApiError> {
    let asked = access.s3().get_bucket_notification_configuration().bucket(bucket);
    let told = asked.send().await.map_err(|error| ApiError::of(GET_NOTIFICATION, &error))?;
    let queues = told.queue_configurations().iter().map(|one| one.queue_arn().to_owned());
    let has_others =
        !told.topic_configurations().is_empty() || told.event_bridge_configuration().is_some();
    Ok(Notified { queues: queues.collect(), has_others })
}
