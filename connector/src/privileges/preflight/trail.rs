//! Can the organization trail be read? One file of it is, as the daemon will.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Preflight, Report};
use crate::{
    audit::{
        GET_OBJECT, LIST_BUCKET, QUEUE_IAM_ACTIONS,
        trial::{self, Notified, Told},
    },
    aws::{Access, ApiError, sessions::Kind},
    base::clock,
    model::{
        failure::ReasonCode,
        ids::{AccountId, OrganizationId, Region},
        integration::Trail,
        log_file::Layout,
        problem,
        validation::Step,
    },
};

const BUCKET: &str = "TRAIL_BUCKET";
const ORGANIZATION: &str = "TRAIL_ORGANIZATION";
const FILE: &str = "TRAIL_FILE";
const QUEUE: &str = "TRAIL_QUEUE";

/// CloudTrail's global services are recorded in this region.
const GLOBAL: &str = "us-east-1";

/// A step that found something wrong: what, and what to do.
type Wrong = (String, String);

/// What is known of an organization when its trail is tried.
struct Trying<'a> {
    trail: &'a Trail,
    access: Access,
    organization: &'a OrganizationId,
    management: &'a AccountId,
    /// Accounts that are read.
    crawled: &'a [AccountId],
    /// Home region of the integration.
    home: &'a Region,
}

impl Preflight<'_> {
    /// Tries the trail, step by step; each needs those before.
    pub(super) async fn trail(
        &self,
        (management, organization): &(AccountId, OrganizationId),
        crawled: &[AccountId],
        report: Report<'_>,
    ) {
        let Some(trail) = &self.settings.trail else { return };
        let role = trail.role_arn.as_ref().unwrap_or(&self.settings.management_role_arn).clone();
        let is_management = role.account() == management;
        let kind = if is_management { Kind::Management } else { Kind::Member };
        let access = self.access(role, kind).in_region(trail.region.clone());
        let home = &self.settings.region;
        let trying = Trying { trail, access, organization, management, crawled, home };
        let (accounts, told) = match trying.bucket().await {
            Ok(told) => told,
            Err(wrong) => return report(warning(BUCKET, wrong)),
        };
        report(Step::passed(BUCKET, told));
        match trying.organization(&accounts) {
            Ok(told) => report(Step::passed(ORGANIZATION, told)),
            Err(wrong) => return report(warning(ORGANIZATION, wrong)),
        }
        match trying.file().await {
            Ok(told) => report(Step::passed(FILE, told)),
            Err(wrong) => return report(warning(FILE, wrong)),
        }
        if trail.queue_url.is_some() {
            report(match trying.queue().await {
                Ok(told) => Step::passed(QUEUE, told),
                Err(wrong) => warning(QUEUE, wrong),
            });
        }
    }
}

fn warning(code: &str, (finding, remedy): Wrong) -> Step {
    Step::warning(code, finding, remedy)
}

impl Trying<'_> {
    fn layout(&self) -> Layout<'_> {
        Layout { prefix: &self.trail.prefix, organization: self.organization }
    }

    /// The accounts whose log files are in the bucket.
    async fn bucket(&self) -> Result<(Vec<String>, String), Wrong> {
        let (role, bucket, region) = (self.access.role(), &self.trail.bucket, &self.trail.region);
        let folder = self.layout().folder();
        if let Err(error) = self.access.open().await {
            let explained = explained(&error.meaning());
            return Err((format!("{role} cannot be assumed: {}", explained.0), explained.1));
        }
        let accounts = trial::folders(&self.access, bucket, &folder).await.map_err(|error| match error.code.as_deref() {
            Some("NoSuchBucket") => (
                format!("there is no bucket {bucket}"),
                "Correct trail.bucket: `aws cloudtrail describe-trails` shows it as S3BucketName.".to_owned(),
            ),
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => (
                format!("the bucket {bucket} is not in {region}"),
                format!("Correct trail.region: `aws s3api get-bucket-location --bucket {bucket}` shows it."),
            ),
            Some("AccessDenied") => self.denied(&format!("list the bucket {bucket}")),
            _ => explained(&error),
        })?;
        if !accounts.is_empty() {
            let told = format!("{role} lists {bucket}: log files of {} accounts", accounts.len());
            return Ok((accounts, told));
        }
        let all = folder.trim_end_matches('/').rsplit_once('/').map_or("", |(all, _)| all);
        let others = trial::folders(&self.access, bucket, &format!("{all}/"))
            .await
            .map_err(|error| explained(&error))?;
        Err(match others.first() {
            Some(other) => (
                format!("the trail in {bucket} is not that of {}: {all}/ holds {other}", self.organization),
                "Make it a trail of the organization (`aws cloudtrail update-trail --is-organization-trail`), or correct trail.bucket.".to_owned(),
            ),
            None => (
                format!("nothing is in {bucket} below {all}/"),
                "Correct trail.prefix: `aws cloudtrail describe-trails` shows it as S3KeyPrefix. A new trail delivers within 15 minutes.".to_owned(),
            ),
        })
    }

    fn organization(&self, accounts: &[String]) -> Result<String, Wrong> {
        let members = || self.crawled.iter().filter(|id| *id != self.management);
        let is_there = |id: &&AccountId| accounts.iter().any(|one| one == id.as_str());
        let (there, all) = (members().filter(is_there).count(), members().count());
        if there == 0 && all > 0 {
            return Err((
                format!("the trail in {} has log files of none of the {all} member accounts", self.trail.bucket),
                "Make it a trail of the organization (`aws cloudtrail update-trail --is-organization-trail`); it delivers within 15 minutes.".to_owned(),
            ));
        }
        // An account in which nothing was done yet has no files.
        Ok(format!("it has log files of {there} of {all} member accounts that are read"))
    }

    /// A log file of today or yesterday.
    async fn newest(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> Result<Option<String>, ApiError> {
        let now: DateTime<Utc> = clock::now();
        for day in [now, now - TimeDelta::days(1)] {
            let folder = self.layout().day(account, region, day);
            let found = trial::file(&self.access, &self.trail.bucket, &folder).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Reads one file.
    async fn file(&self) -> Result<String, Wrong> {
        let mut regions = vec![self.home.clone()];
        regions.extend(GLOBAL.parse());
        let mut accounts = vec![self.management.clone()];
        accounts.extend(self.crawled.first().cloned());
        let mut key = None;
        for account in &accounts {
            for region in &regions {
                if key.is_none() {
                    key = self.newest(account, region).await.map_err(|error| explained(&error))?;
                }
            }
        }
        let Some(key) = key else {
            return Err((
                format!("no log file was delivered to {} since yesterday", self.trail.bucket),
                "Look whether the trail is logging: `aws cloudtrail get-trail-status`.".to_owned(),
            ));
        };
        let read = trial::read(&self.access, &self.trail.bucket, &key).await;
        let read = read.map_err(|error| self.unread(&key, &error))?;
        let wanted = &self.trail.kms_key_arn;
        if !wanted.is_empty() && read.kms_key != *wanted {
            let with = if read.kms_key.is_empty() { "no key of KMS" } else { &read.kms_key };
            return Err((
                format!("{key} is encrypted by {with}, not by trail.kms_key_arn, {wanted}"),
                "Correct trail.kms_key_arn and the stack's parameter TrailKmsKeyArn: `aws cloudtrail describe-trails` shows it as KmsKeyId.".to_owned(),
            ));
        }
        let records = read.records.map_err(|error| {
            let what = problem::explain(ReasonCode::LogFileUnreadable, &key);
            (format!("{key}: {error}"), what.remedy)
        })?;
        Ok(format!("{} reads a log file of {records} records", self.access.role()))
    }

    /// Why a file cannot be read.
    fn unread(&self, key: &str, error: &ApiError) -> Wrong {
        let detail = &error.reason.detail;
        if error.code.as_deref() != Some("AccessDenied") {
            return explained(error);
        }
        // S3 hands out what KMS says.
        if !detail.to_lowercase().contains("kms") {
            return self.denied(&format!("read {key}"));
        }
        (
            format!("{} may not decrypt {key}: {detail}", self.access.role()),
            format!(
                "Set the stack's parameter TrailKmsKeyArn to the key of the trail (`aws cloudtrail describe-trails` shows it as KmsKeyId). Where the key is of another account than the role, add to its policy: {}",
                self.statement(&["kms:Decrypt"], &["*".to_owned()])
            ),
        )
    }

    /// The role may not do something with the bucket.
    fn denied(&self, what: &str) -> Wrong {
        let arn = self.access.partition().arn("s3", "", "", &self.trail.bucket);
        let actions = [GET_OBJECT, LIST_BUCKET, trial::GET_NOTIFICATION];
        (
            format!("{} may not {what}", self.access.role()),
            format!(
                "Set the stack's parameter TrailBucketArn to {arn}. Where the bucket is of another account than the role, add to its policy: {}",
                self.statement(&actions, &[arn.clone(), format!("{arn}/*")])
            ),
        )
    }

    /// A statement of the policy of something in another account.
    fn statement(&self, actions: &[&str], on: &[String]) -> String {
        json!({
            "Effect": "Allow",
            "Principal": { "AWS": self.access.role().to_string() },
            "Action": actions,
            "Resource": on,
        })
        .to_string()
    }

    /// Whether the queue is that of the bucket.
    async fn queue(&self) -> Result<String, Wrong> {
        let Trail { queue_url: Some(url), bucket, region, .. } = self.trail else {
            return Ok(String::new());
        };
        let role = self.access.role();
        let told = trial::told(&self.access, url.as_str(), bucket).await;
        let told = told.map_err(|error| {
            match error.code.as_deref() {
                Some("QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue") => (
                    format!("there is no queue {url}"),
                    "Correct trail.queue_url: `aws sqs get-queue-url` shows it.".to_owned(),
                ),
                Some("AccessDenied" | "AccessDeniedException") => (
                    format!("{role} may not receive messages of {url}"),
                    format!(
                        "Set the stack's parameter TrailQueueArn. Where the queue is of another account than the role, add to its policy: {}",
                        self.statement(QUEUE_IAM_ACTIONS, &["*".to_owned()])
                    ),
                ),
                _ => explained(&error),
            }
        })?;
        if let Told::OfAnother(other) = &told {
            let explained = problem::explain(ReasonCode::TrailQueueForeign, other);
            let finding = format!("{url} tells of the bucket {other}, not of {bucket}");
            return Err((finding, explained.remedy));
        }
        let notified = trial::notified(&self.access, bucket).await;
        let Notified { queues, has_others } =
            notified.map_err(|error| match error.code.as_deref() {
                Some("AccessDenied") => self.denied(&format!("see whom {bucket} notifies")),
                _ => explained(&error),
            })?;
        if matches!(told, Told::OfIt) {
            return Ok(format!("{url} tells of {bucket}, and {role} reads it"));
        }
        let (account, name) =
            url.path().trim_start_matches('/').split_once('/').unwrap_or_default();
        let ours = self.access.partition().arn("sqs", region.as_str(), account, name);
        if queues.contains(&ours) {
            return Ok(format!("{bucket} notifies {name}, which {role} reads"));
        }
        if has_others {
            return Ok(format!(
                "{bucket} notifies a topic or EventBridge, and {role} reads {name}"
            ));
        }
        let found = match queues.first() {
            Some(other) => format!("{bucket} notifies {other}, not {ours}"),
            None => format!("{bucket} notifies nobody"),
        };
        Err((
            found,
            format!(
                "Have the bucket notify {ours} of s3:ObjectCreated:*, or correct trail.queue_url. If CloudTrail's own topic tells it, all is well once it has told of a file."
            ),
        ))
    }
}

fn explained(error: &ApiError) -> Wrong {
    let explained = problem::explain(error.reason.code, &error.reason.subject);
    (format!("{} {}", explained.cause, error.reason.detail), explained.remedy)
}
