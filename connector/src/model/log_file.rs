//! Log files of an organization trail in S3: how they are named, who tells of them, and the records in them.
//!
//! Sources: the user guide of CloudTrail ("Finding your CloudTrail log files", "CloudTrail log file examples",
//! "Configuring Amazon SNS notifications for CloudTrail"), that of S3 ("Event message structure"), that of
//! `EventBridge` ("Amazon S3 events").

use std::{
    cell::Cell,
    fmt,
    io::{self, BufReader, Read},
};

use chrono::{DateTime, NaiveDateTime, Utc};
use flate2::read::MultiGzDecoder;
use percent_encoding::percent_decode_str;
use serde::{
    Deserializer as _,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::ids::{AccountId, OrganizationId, Region};

/// The longest record that is taken; CloudTrail writes none that is longer.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// The longest file that is taken, unpacked.
const FILE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Envelopes around what S3 tells.
const ENVELOPES_MAX: usize = 2;

/// Where the log files of an organization trail lie in their bucket.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// What stands before all names; empty: nothing.
    pub prefix: &'a str,
    /// The organization.
    pub organization: &'a OrganizationId,
}

/// A log file, told by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Account whose events are in it.
    pub account: AccountId,
    /// Region in which they happened.
    pub region: Region,
    /// When it was delivered, to the minute.
    pub delivered_at: DateTime<Utc>,
}

impl Layout<'_> {
    /// Where everything of the organization lies.
    #[must_use]
    pub fn folder(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}AWSLogs/{}/", self.prefix, self.organization)
    }

    /// Where the files lie that are delivered on the day of a time, of an account and region.
    #[must_use]
    pub fn day(&self, account: &AccountId, region: &Region, at: DateTime<Utc>) -> String {
        format!("{}{account}/CloudTrail/{region}/{}/", self.folder(), at.format("%Y/%m/%d"))
    }

    /// What the names of files begin with that are delivered in the minute of a time. Those of earlier ones
    /// sort before it.
    #[must_use]
    pub fn minute(&self, account: &AccountId, region: &Region, at: DateTime<Utc>) -> String {
        let day = self.day(account, region, at);
        format!("{day}{account}_CloudTrail_{region}_{}", at.format("%Y%m%dT%H%MZ"))
    }

    /// The file of a name; none: it is no log file of this trail, but a digest, or something else.
    #[must_use]
    pub fn file(&self, key: &str) -> Option<LogFile> {
        let mut parts = key.strip_prefix(&self.folder())?.split('/');
        let account: AccountId = parts.next()?.parse().ok()?;
        if parts.next()? != "CloudTrail" {
            return None;
        }
        let region: Region = parts.next()?.parse().ok()?;
        let name = parts.next_back().filter(|name| name.ends_with(".json.gz"))?;
        let rest = name.strip_prefix(&format!("{account}_CloudTrail_{region}_"))?;
        let (time, _) = rest.split_once('_')?;
        let delivered_at = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%MZ").ok()?.and_utc();
        Some(LogFile { account, region, delivered_at })
    }
}

/// A file that was delivered, as somebody tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Bucket.
    pub bucket: String,
    /// Name.
    pub key: String,
}

/// Which files a message tells of: one of S3 or of CloudTrail, by itself, from a topic of SNS, or from
/// `EventBridge`. None: it tells of something else.
#[must_use]
pub fn delivered(message: &str) -> Option<Vec<Delivered>> {
    unwrapped(message, ENVELOPES_MAX)
}

fn unwrapped(message: &str, envelopes: usize) -> Option<Vec<Delivered>> {
    // What CloudTrail sends when somebody sets it up.
    if message.starts_with("CloudTrail validation message") {
        return Some(Vec::new());
    }
    let told: Value = serde_json::from_str(message).ok()?;
    // What SNS sends then.
    if matches!(told["Type"].as_str(), Some("SubscriptionConfirmation" | "UnsubscribeConfirmation"))
    {
        return Some(Vec::new());
    }
    if let (Some(inner), Some(envelopes)) = (told["Message"].as_str(), envelopes.checked_sub(1)) {
        return unwrapped(inner, envelopes);
    }
    let one = |bucket: &Value, key: &Value| {
        Some(Delivered { bucket: bucket.as_str()?.to_owned(), key: key.as_str()?.to_owned() })
    };
    if let Some(records) = told["Records"].as_array() {
        let objects = records.iter().map(|record| {
            let s3 = &record["s3"];
            let Delivered { bucket, key } = one(&s3["bucket"]["name"], &s3["object"]["key"])?;
            let key = key.replace('+', " ");
            let key = percent_decode_str(&key).decode_utf8().ok()?.into_owned();
            Some(Delivered { bucket, key })
        });
        return objects.collect();
    }
    if let Some(keys) = told["s3ObjectKey"].as_array() {
        return keys.iter().map(|key| one(&told["s3Bucket"], key)).collect();
    }
    if told["source"] == "aws.s3" {
        let detail = &told["detail"];
        return one(&detail["bucket"]["name"], &detail["object"]["key"]).map(|one| vec![one]);
    }
    // What S3 sends when somebody sets it up.
    (told["Event"] == "s3:TestEvent").then(Vec::new)
}

/// A log file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("a log file of CloudTrail cannot be read to its end: {0}")]
pub struct Malformed(String);

/// Hands out the records of a log file as they are written, whatever its size in no more memory than the longest
/// takes. Those before what is wrong are handed out, too.
///
/// # Errors
///
/// When it is no log file, or ends early, or a record is too long.
pub fn records(compressed: &[u8], each: &mut dyn FnMut(&str)) -> Result<(), Malformed> {
    let budget = Cell::new(RECORD_BYTES_MAX);
    let unpacked = MultiGzDecoder::new(compressed).take(FILE_BYTES_MAX as u64 + 1);
    let reader = Budgeted { inner: BufReader::new(unpacked), budget: &budget, total: 0 };
    let mut json = serde_json::Deserializer::from_reader(reader);
    json.deserialize_map(File { budget: &budget, each })
        .and_then(|()| json.end())
        .map_err(|error| Malformed(error.to_string()))
}

/// Ends when too much was read since the last record, or at all.
struct Budgeted<'a, R> {
    inner: R,
    budget: &'a Cell<usize>,
    total: usize,
}

impl<R: Read> Read for Budgeted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.total += read;
        let left = self.budget.get().checked_sub(read);
        let Some(left) = left.filter(|_| self.total <= FILE_BYTES_MAX) else {
            return Err(io::Error::other("it is longer than any of CloudTrail"));
        };
        self.budget.set(left);
        Ok(read)
    }
}

/// The whole of a file: an object whose `Records` are wanted.
struct File<'a> {
    budget: &'a Cell<usize>,
    each: &'a mut dyn FnMut(&str),
}

impl<'de> Visitor<'de> for File<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with Records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { budget, each } = self;
        let mut has_records = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == "Records" {
                map.next_value_seed(Records { budget, each: &mut *each })?;
                has_records = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if has_records { Ok(()) } else { Err(serde::de::Error::missing_field("Records")) }
    }
}

struct Records<'a> {
    budget: &'a Cell<usize>,
    each: &'a mut dyn FnMut(&str),
}

impl<'de> DeserializeSeed<'de> for Records<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element::<Box<RawValue>>()? {
            (self.each)(record.get());
            self.budget.set(RECORD_BYTES_MAX);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use serde_json::json;

    use super::*;

    const FILE: &str = "logs/AWSLogs/o-a1b2c3d4e5/222222222222/CloudTrail/eu-west-1/2026/11/29/222222222222_CloudTrail_eu-west-1_20261129T0805Z_AbCdEfGh01234567.json.gz";

    fn organization() -> OrganizationId {
        "o-a1b2c3d4e5".parse().expect("an organization")
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    }

    fn read(packed: &[u8]) -> (Vec<String>, Result<(), Malformed>) {
        let mut found = Vec::new();
        let read = records(packed, &mut |record| found.push(record.to_owned()));
        (found, read)
    }

    #[test]
    fn a_file_is_told_by_its_name() {
        let organization = organization();
        let layout = Layout { prefix: "logs", organization: &organization };
        let file = layout.file(FILE).expect("a log file");
        assert_eq!((file.account.as_str(), file.region.as_str()), ("222222222222", "eu-west-1"));
        assert_eq!(file.delivered_at.to_rfc3339(), "2026-11-29T08:05:00+00:00");
        let minute = layout.minute(&file.account, &file.region, file.delivered_at);
        assert!(FILE.starts_with(&minute), "{minute}");
        assert!(minute.starts_with(&layout.day(&file.account, &file.region, file.delivered_at)));
        for other in [
            FILE.replace("/CloudTrail/", "/CloudTrail-Digest/"),
            FILE.replace("o-a1b2c3d4e5/", ""),
            FILE.replace("logs/", ""),
            FILE.replace(".gz", ""),
            FILE.replace("222222222222_", "333333333333_"),
            FILE.replace("20261129T0805Z", "20261399T0805Z"),
            String::new(),
        ] {
            assert_eq!(layout.file(&other), None, "{other}");
        }
        assert_eq!(Layout { prefix: "", ..layout }.folder(), "AWSLogs/o-a1b2c3d4e5/");
    }

    #[test]
    fn whoever_tells_of_a_file_is_understood() {
        let one = Delivered { bucket: "trail".to_owned(), key: "a b/ü".to_owned() };
        let s3 = json!({ "bucket": { "name": "trail" }, "object": { "key": "a+b/%C3%BC" } });
        let of_s3 = json!({ "Records": [{ "eventSource": "aws:s3", "s3": s3 }] });
        let of_trail = json!({ "s3Bucket": "trail", "s3ObjectKey": ["a b/ü"] });
        let detail = json!({ "bucket": { "name": "trail" }, "object": { "key": "a b/ü" } });
        let of_bridge =
            json!({ "source": "aws.s3", "detail-type": "Object Created", "detail": detail });
        for told in [&of_s3, &of_trail, &of_bridge] {
            assert_eq!(delivered(&told.to_string()), Some(vec![one.clone()]), "{told}");
            let by_topic = json!({ "Type": "Notification", "Message": told.to_string() });
            assert_eq!(delivered(&by_topic.to_string()), Some(vec![one.clone()]), "{told}");
        }
        let test = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "trail" });
        let validation = json!({ "Message": "CloudTrail validation message." });
        let confirmation = json!({ "Type": "SubscriptionConfirmation", "Message": "You have" });
        for none in [test, validation, confirmation] {
            assert_eq!(delivered(&none.to_string()), Some(Vec::new()), "{none}");
        }
        for other in ["", "[]", "{}", "3", "{\"Records\":[{}]}", "{\"Message\":\"\"}"] {
            assert_eq!(delivered(other), None, "{other}");
        }
    }

    #[test]
    fn records_are_handed_out_as_they_are_written() {
        let text = r#"{"note":[1,{"a":2}],"Records":[{"eventID":"1", "n":1.50},{"eventID":"2"}]}"#;
        let (found, read) = read(&packed(text));
        read.expect("a log file");
        assert_eq!(found, [r#"{"eventID":"1", "n":1.50}"#, r#"{"eventID":"2"}"#]);
    }

    #[test]
    fn a_file_in_several_parts_is_read_whole() {
        let parts = [packed(r#"{"Records":[{"a":1}"#), packed(r#",{"a":2}]}"#)].concat();
        let (found, read) = read(&parts);
        read.expect("a log file");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_is_before_the_fault_is_handed_out() {
        let whole = packed(r#"{"Records":[{"a":1},{"b":2}]}"#);
        let (_, cut) = read(&whole[..whole.len() - 9]);
        cut.expect_err("cut off");
        let (found, fault) = read(&packed(r#"{"Records":[{"a":1},{"b":]}"#));
        fault.expect_err("no JSON");
        assert_eq!(found, [r#"{"a":1}"#]);
        for other in ["", "{}", "[]", "null", r#"{"Records":{}}"#, r#"{"Records":[]}{}"#] {
            let (found, read) = read(&packed(other));
            read.expect_err(other);
            assert_eq!(found.len(), 0);
        }
        read(b"no gzip").1.expect_err("no gzip");
    }

    #[test]
    fn nothing_is_longer_than_a_record_may_be() {
        let long = "x".repeat(RECORD_BYTES_MAX);
        for hostile in [
            format!(r#"{{"Records":[{{"a":1}},{{"a":"{long}"}}]}}"#),
            format!(r#"{{"{long}":1,"Records":[]}}"#),
            format!(r#"{{"Records":[{}"#, " ".repeat(RECORD_BYTES_MAX)),
            format!(r#"{{"Records":[{}"#, "[".repeat(RECORD_BYTES_MAX)),
        ] {
            let (_, read) = read(&packed(&hostile));
            let error = read.expect_err("too long").to_string();
            assert!(error.contains("longer than any"), "{error}");
        }
    }
}
