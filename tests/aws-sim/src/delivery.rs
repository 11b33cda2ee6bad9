//! An organization trail: log files of what CloudTrail has recorded, in a bucket, and messages of a queue that tell
//! of them.
//!
//! Files come into being when somebody looks, with the times at which they were delivered. Sources: the user guide
//! of CloudTrail ("Finding your CloudTrail log files", "CloudTrail log file examples"), that of S3 ("Event message
//! structure").

use std::{collections::BTreeMap, io::Write as _};

use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::{
    trail::Record,
    world::{Bucket, World},
};

/// What is recorded in such a time goes into one file.
const ONE_FILE: TimeDelta = TimeDelta::minutes(5);

/// A trail that delivers log files.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Organization.
    pub organization: String,
    /// Account of the bucket.
    pub account: String,
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// What stands before `AWSLogs`; empty: nothing.
    pub prefix: String,
    /// Whether it is a trail of the organization; else of its management account alone.
    pub is_of_organization: bool,
    /// Whether it records data events.
    pub has_data_events: bool,
    /// ARN of the key that encrypts the files; empty: none does.
    pub kms_key: String,
    /// For how long the bucket took nothing, so that files came later than their names say.
    pub stalled: TimeDelta,
}

/// A file in a bucket.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// What is in it.
    pub body: Vec<u8>,
    /// When it was written.
    pub modified: DateTime<Utc>,
    /// ARN of the key that encrypts it; empty: S3's own.
    pub kms_key: String,
}

/// A message of a queue.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// What it says.
    pub body: String,
    /// From when on it shows.
    pub visible: DateTime<Utc>,
}

impl World {
    /// Has a trail deliver log files from now on, into a bucket that is made if it is not there.
    pub fn deliver(&mut self, delivery: Delivery) {
        let created = self.clock.now();
        let Delivery { bucket, region, .. } = &delivery;
        let buckets = &mut self.account(&delivery.account).buckets;
        if !buckets.iter().any(|one| one.name == *bucket) {
            let (name, region) = (bucket.clone(), region.clone());
            buckets.push(Bucket { name, region, created, ..Bucket::default() });
        }
        self.trail.delivery = Some(delivery);
    }

    /// A bucket of any account.
    pub(crate) fn bucket(&self, name: &str) -> Option<(&str, &Bucket)> {
        self.accounts.iter().find_map(|(id, account)| {
            let found = account.buckets.iter().find(|bucket| bucket.name == name)?;
            Some((id.as_str(), found))
        })
    }

    /// Puts a file into the bucket of the trail, and tells those that are to know.
    ///
    /// # Panics
    ///
    /// When there is no trail.
    pub fn put_object(&mut self, key: &str, object: Object) {
        let delivery = self.trail.delivery.clone().expect("a trail");
        let mut buckets = self.account(&delivery.account).buckets.iter_mut();
        let bucket = buckets.find(|one| one.name == delivery.bucket).expect("its bucket");
        let (told, notified) = (told_of(&delivery, key, &object), bucket.notifies.clone());
        bucket.objects.insert(key.to_owned(), object);
        for queue in notified {
            self.send(&queue, told.to_string());
        }
    }

    /// Puts a message into a queue.
    pub fn send(&mut self, queue: &str, body: String) {
        let visible = self.clock.now();
        let messages = self.queues.entry(queue.to_owned()).or_default();
        let id = format!("00000000-0000-4000-a000-{:012x}", self.messages_sent);
        self.messages_sent += 1;
        messages.push(Message { id, body, visible });
    }

    /// Delivers a log file of an account and region, in which somebody has asked who they are.
    pub fn log(&mut self, account: &str, region: &str) {
        let event = json!({ "eventName": "GetCallerIdentity", "managementEvent": true });
        self.record(account, region, "", event);
        self.deliver_due();
    }

    /// Delivers what is due.
    pub(crate) fn deliver_due(&mut self) {
        let Some(delivery) = self.trail.delivery.clone() else { return };
        let now = self.clock.now();
        let management = self.organizations.get(&delivery.organization);
        let management = management.map(|found| found.management.clone()).unwrap_or_default();
        let is_meant = |record: &Record| {
            (delivery.is_of_organization || record.account == management)
                && (delivery.has_data_events || record.is_management)
        };
        let mut files: BTreeMap<(String, String, DateTime<Utc>), Vec<Value>> = BTreeMap::new();
        for record in &mut self.trail.records {
            if record.is_filed || record.delivered + delivery.stalled > now {
                continue;
            }
            record.is_filed = true;
            if is_meant(record) {
                let at = record.delivered.duration_trunc(ONE_FILE).unwrap_or(record.delivered);
                let file = (record.account.clone(), record.region.clone(), at);
                files.entry(file).or_default().push(record.event.clone());
            }
        }
        for ((account, region, at), records) in files {
            // In no order.
            let records: Vec<_> = records.into_iter().rev().collect();
            let at = (at + ONE_FILE).min(now);
            for _ in 0..=u8::from(self.trail.repeats) {
                let key = self.file_name(&delivery, &account, &region, at);
                let body = packed(&json!({ "Records": records }).to_string());
                let modified = at + delivery.stalled;
                let kms_key = delivery.kms_key.clone();
                self.put_object(&key, Object { body, modified: modified.min(now), kms_key });
            }
        }
    }

    fn file_name(
        &mut self,
        delivery: &Delivery,
        account: &str,
        region: &str,
        at: DateTime<Utc>,
    ) -> String {
        self.trail.files += 1;
        let Delivery { prefix, organization, is_of_organization, .. } = delivery;
        let organization = if *is_of_organization { organization } else { "" };
        let folders = [prefix, "AWSLogs", organization, account, "CloudTrail", region];
        let folders: Vec<&str> = folders.into_iter().filter(|one| !one.is_empty()).collect();
        // The last part of a name is random.
        let unique = self.trail.files.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{}/{}/{account}_CloudTrail_{region}_{}_{unique:016x}.json.gz",
            folders.join("/"),
            at.format("%Y/%m/%d"),
            at.format("%Y%m%dT%H%MZ")
        )
    }
}

/// What S3 tells of a file.
fn told_of(delivery: &Delivery, key: &str, object: &Object) -> Value {
    let Delivery { bucket, region, .. } = delivery;
    let at = object.modified.to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({
        "Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": region,
            "eventTime": at,
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": { "name": bucket, "arn": format!("arn:aws:s3:::{bucket}") },
                "object": { "key": key.replace(':', "%3A"), "size": object.body.len() },
            },
        }],
    })
}

/// A text, packed as log files are.
///
/// # Panics
///
/// Never: memory takes what is written.
#[must_use]
pub fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}
