//! What is said of session audit: for how long it is kept, and where the organization trail lies.

use std::time::Duration;

use url::Url;

use super::{Check, required, said};
use crate::model::{
    arn::RoleArn,
    integration::{
        AUDIT_RETENTION_DEFAULT, AUDIT_RETENTION_MAX, AUDIT_RETENTION_MIN, ROLE_NAME_PREFIX,
        Settings, TRAIL_PREFIX_CHARACTERS_MAX, Trail,
    },
};

/// An organization trail as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the unchecked twin of `Trail`'s")]
pub struct DraftTrail {
    pub bucket: String,
    pub prefix: String,
    pub region: String,
    pub kms_key_arn: String,
    pub queue_url: String,
    pub role_arn: String,
}

impl Check {
    pub(super) fn audit_retention(&mut self, length: Option<Duration>) -> Option<Duration> {
        let length = length.unwrap_or(AUDIT_RETENTION_DEFAULT);
        if (AUDIT_RETENTION_MIN..=AUDIT_RETENTION_MAX).contains(&length) {
            return Some(length);
        }
        let found = length.as_secs();
        self.note(
            "audit_retention",
            format!("is {found} seconds; choose 86400 (1 day) to 315360000 (3650 days)"),
        );
        None
    }

    pub(super) fn trail(&mut self, trail: &DraftTrail) -> Option<Trail> {
        let bucket = self.noted("trail.bucket", bucket(&trail.bucket));
        let prefix = self.noted("trail.prefix", prefix(&trail.prefix));
        let region = self.region("trail.region", &trail.region);
        let kms_key_arn = self.optional(&trail.kms_key_arn, |check, text| {
            check.noted("trail.kms_key_arn", kms_key(text))
        });
        let queue_url = self.optional(&trail.queue_url, |check, text| {
            check.noted("trail.queue_url", queue(text, &trail.region))
        });
        let role_arn =
            self.optional(&trail.role_arn, |check, text| check.noted("trail.role_arn", role(text)));
        Some(Trail {
            bucket: bucket?,
            prefix: prefix?,
            region: region?,
            kms_key_arn: kms_key_arn.ok()?.unwrap_or_default(),
            queue_url: queue_url.ok()?,
            role_arn: role_arn.ok()?,
        })
    }

    /// What no field of a trail can say alone.
    pub(super) fn trail_together(&mut self, settings: &Settings) {
        let Some(trail) = &settings.trail else { return };
        let partition = settings.management_role_arn.partition();
        let role = trail.role_arn.as_ref().map(RoleArn::partition);
        let key = trail.kms_key_arn.split(':').nth(1);
        for (field, is_there) in [
            ("trail.region", partition.has_region(trail.region.as_str())),
            ("trail.role_arn", role.is_none_or(|one| one == partition)),
            ("trail.kms_key_arn", key.is_none_or(|one| one == partition.as_str())),
        ] {
            if !is_there {
                self.note(
                    field,
                    format!("is not of partition {partition}, which management_role_arn names; an organization trail lies in that partition"),
                );
            }
        }
    }
}

fn bucket(text: &str) -> Result<String, String> {
    let text = required(text)?;
    let is_name = (3..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if is_name {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not the name of a bucket; give the name alone, without s3:// and without what lies in it"
    ))
}

fn prefix(text: &str) -> Result<String, String> {
    let characters = text.chars().count();
    if characters > TRAIL_PREFIX_CHARACTERS_MAX {
        return Err(format!(
            "has {characters} characters; CloudTrail takes at most {TRAIL_PREFIX_CHARACTERS_MAX}"
        ));
    }
    let is_whole = text.split('/').all(|part| part != "AWSLogs")
        && !text.starts_with('/')
        && !text.ends_with('/')
        && !text.chars().any(char::is_control);
    if is_whole {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not the prefix of a trail; give what stands before /AWSLogs, without slashes around it; empty: nothing does"
    ))
}

fn kms_key(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let is_key = matches!(
        parts.as_slice(),
        ["arn", _, "kms", region, account, key]
            if !region.is_empty() && account.len() == 12 && key.starts_with("key/")
    );
    if is_key {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not the ARN of a KMS key; `aws cloudtrail get-trail` shows it as KmsKeyId: …:key/…, not an alias"
    ))
}

fn queue(text: &str, region: &str) -> Result<Url, String> {
    const EXPECTED: &str =
        "use the queue's URL, such as https://sqs.<region>.amazonaws.com/123456789012/trail";
    let url =
        Url::parse(text).map_err(|error| format!("{text:?} is no URL ({error}); {EXPECTED}"))?;
    let host = url.host_str().unwrap_or_default();
    let segments: Vec<&str> = url.path_segments().into_iter().flatten().collect();
    let is_queue = url.scheme() == "https"
        && host.contains("amazonaws.com")
        && matches!(segments.as_slice(), [account, name] if account.len() == 12 && !name.is_empty());
    if !is_queue {
        return Err(format!("{text:?} is not the URL of a queue; {EXPECTED}"));
    }
    if !host.split('.').any(|part| part == region) {
        return Err(format!(
            "{text:?} is not in {region}, the region of the bucket (trail.region), which notifies queues of its own region alone"
        ));
    }
    Ok(url)
}

fn role(text: &str) -> Result<RoleArn, String> {
    let arn: RoleArn = text.parse().map_err(said)?;
    if arn.name().starts_with(ROLE_NAME_PREFIX) {
        return Ok(arn);
    }
    Err(format!(
        "names the role {:?}, but the connector assumes only roles whose names begin with {ROLE_NAME_PREFIX}; empty: the role of the management account",
        arn.name()
    ))
}
