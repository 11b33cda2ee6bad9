//! The log files of an organization trail in S3: everything that it records, of all accounts.
//!
//! An account and region have a folder for each day, in which files are named by the minute of their delivery;
//! they are read in that order, and it is noted how far. A file is read when it is new since the last reading;
//! names that lie a while back are looked at, too, and once a day those of the day before, for files that came late.
//! Where a queue tells of new files ([`crate::audit::queue`]), a reading begins as soon as it does.
//!
//! Source: the user guide of CloudTrail ("How CloudTrail works", "Finding your CloudTrail log files").

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::types::Object;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::{sync::mpsc, task::spawn_blocking};
use tracing::warn;

use super::{Error, Reading, Source};
use crate::{
    audit::{
        judge::Judge,
        places::{DELIVERED_WITHIN, EVERY},
    },
    aws::{Access, ApiError, Aws},
    catalog::reach,
    model::{
        failure::{Lane, Reason, ReasonCode},
        integration::{Settings, Trail},
        log_file::{self, Layout, LogFile},
        record,
    },
    store::{audit_events::New, audit_places::Leased, integrations::Integration},
};

/// The IAM action.
pub const LIST_BUCKET: &str = "s3:ListBucket";
/// The IAM action.
pub const GET_OBJECT: &str = "s3:GetObject";
/// How it is told of.
pub const NAME: &str = "cloudtrail-trail";

/// Where a queue tells of new files, they are looked for all the same, this often.
const EVERY_WITH_QUEUE: TimeDelta = TimeDelta::minutes(15);
/// How far our clock may be from that of S3.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(1);
/// The largest file that is taken, packed; those of CloudTrail are far smaller.
const FILE_BYTES_MAX: i64 = 48 * 1024 * 1024;
/// What S3 says of a file that was archived.
const ARCHIVED: &str = "InvalidObjectState";
/// So many files in a row are not handed out, and no more are asked for.
const REFUSED_MAX: usize = 20;
/// Calls that are stored at once.
const BATCH: usize = 200;
/// Batches that wait to be stored.
const BATCHES_WAITING: usize = 2;

pub(super) struct OrganizationTrail;

#[async_trait]
impl Source for OrganizationTrail {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_by_name(&self) -> bool {
        false
    }

    fn is_of(&self, settings: &Settings) -> bool {
        settings.audit_enabled && settings.trail.is_some()
    }

    fn every(&self, settings: &Settings) -> TimeDelta {
        let has_queue = settings.trail.as_ref().is_some_and(|trail| trail.queue_url.is_some());
        if has_queue { EVERY_WITH_QUEUE } else { EVERY }
    }

    fn access(&self, aws: &Aws, integration: &Integration, _place: &Leased) -> Access {
        reach::trail(aws, integration, Lane::Audit)
    }

    async fn read(&self, reading: &Reading<'_>) -> Result<(), Error> {
        let Some(trail) = &reading.integration.settings.trail else { return Ok(()) };
        let Leased { account, region, now, .. } = reading.place;
        let organization = &reading.integration.organization;
        let layout = Layout { prefix: &trail.prefix, organization };
        let mut start = reading.from;
        let mut refused = Refused::default();
        // Files of the day are named by the time of the bucket's clock.
        while start <= *now + CLOCKS_APART {
            let mut pages = reading
                .access
                .s3()
                .list_objects_v2()
                .bucket(&trail.bucket)
                .prefix(layout.day(account, region, start))
                .start_after(layout.minute(account, region, start))
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| ApiError::of(LIST_BUCKET, &error))?;
                let mut come_to = None;
                for object in page.contents() {
                    let Some(file) = layout.file(object.key().unwrap_or_default()) else {
                        continue;
                    };
                    come_to = Some(file.delivered_at.min(*now));
                    if is_wanted(reading, &file, object) {
                        refused.note(reading, object, read_file(reading, trail, object).await)?;
                        refused.come_to(reading, file.delivered_at.min(*now)).await?;
                    }
                }
                if let Some(time) = come_to {
                    refused.come_to(reading, time).await?;
                }
            }
            start = next_day(start);
            refused.come_to(reading, start.min(*now)).await?;
        }
        refused.all()
    }
}

/// Files in a row that S3 does not hand out. If it hands out one behind them, it is about those files (they lie
/// under a key that is gone), and they are passed over; else about our rights, and they are tried again.
#[derive(Default)]
struct Refused(Vec<(String, Box<ApiError>)>);

impl Refused {
    /// Notes what came of a file.
    fn note(
        &mut self,
        reading: &Reading<'_>,
        object: &Object,
        read: Result<Outcome, Error>,
    ) -> Result<(), Error> {
        let key = object.key().unwrap_or_default();
        match read {
            Ok(Outcome::HandedOut) => {
                for (key, error) in self.0.drain(..) {
                    pass_over(reading, &key, &error.to_string());
                }
            }
            Ok(Outcome::PassedOver) => {}
            Err(Error::Aws(error)) if error.code.as_deref() == Some(ARCHIVED) => {
                pass_over(reading, key, &error.to_string());
            }
            // An answer of S3, that is; not that we have no credentials.
            Err(Error::Aws(error)) if error.is_final() && error.code.is_some() => {
                self.0.push((key.to_owned(), error));
                if self.0.len() >= REFUSED_MAX {
                    return std::mem::take(self).all();
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Notes how far it came, unless files before are to be tried again.
    async fn come_to(&self, reading: &Reading<'_>, time: DateTime<Utc>) -> Result<(), Error> {
        if self.0.is_empty() { reading.come_to(time).await } else { reading.store(&[]).await }
    }

    /// Why none was handed out, if that is so.
    fn all(self) -> Result<(), Error> {
        self.0.into_iter().next().map_or(Ok(()), |(_, error)| Err(Error::Aws(error)))
    }
}

/// What became of a file that nothing was wrong with on the way.
enum Outcome {
    /// S3 has handed it out.
    HandedOut,
    /// It was not asked for, or has gone.
    PassedOver,
}

fn pass_over(reading: &Reading<'_>, key: &str, words: &str) {
    warn!(key, error = words, "a log file of CloudTrail is passed over");
    let _ = reading.fault.set(Reason::new(ReasonCode::LogFileUnreadable, key, words));
}

fn next_day(at: DateTime<Utc>) -> DateTime<Utc> {
    let next = at.date_naive().succ_opt().and_then(|day| day.and_hms_opt(0, 0, 0));
    next.map_or(DateTime::<Utc>::MAX_UTC, |day| day.and_utc())
}

/// Whether a file is new since the last reading, or came so late that readings since the last that looked for
/// such have passed it by.
fn is_wanted(reading: &Reading<'_>, file: &LogFile, object: &Object) -> bool {
    let written = object.last_modified().and_then(|at| DateTime::from_timestamp(at.secs(), 0));
    let Some(written) = written else { return true };
    let is_since = |time: DateTime<Utc>| written >= time - CLOCKS_APART;
    let is_late = is_since(file.delivered_at + DELIVERED_WITHIN);
    let Leased { read_until, swept_until, .. } = reading.place;
    is_since(*read_until) || (reading.is_swept && is_late && is_since(*swept_until))
}

/// Stores what is told in a file.
async fn read_file(
    reading: &Reading<'_>,
    trail: &Trail,
    object: &Object,
) -> Result<Outcome, Error> {
    let key = object.key().unwrap_or_default();
    if object.size().is_some_and(|size| size > FILE_BYTES_MAX) {
        pass_over(reading, key, "it is larger than any of CloudTrail");
        return Ok(Outcome::PassedOver);
    }
    let got = reading.access.s3().get_object().bucket(&trail.bucket).key(key).send().await;
    let got = match got.map_err(|error| ApiError::of(GET_OBJECT, &error)) {
        Ok(got) => got,
        // It has gone since it was listed.
        Err(error) if error.code.as_deref() == Some("NoSuchKey") => return Ok(Outcome::PassedOver),
        Err(error) => return Err(error.into()),
    };
    let body = got
        .body
        .collect()
        .await
        .map_err(|error| ApiError::answered(GET_OBJECT, "", &error.to_string(), 503))?;
    let (batches, mut judged) = mpsc::channel(BATCHES_WAITING);
    let judge = Arc::clone(&reading.judge);
    let judging = spawn_blocking(move || judge_all(&judge, &body.into_bytes(), &batches));
    while let Some(batch) = judged.recv().await {
        reading.store(&batch).await?;
    }
    // A file that makes us panic does so again.
    let judged = judging.await.unwrap_or_else(|error| Err(error.to_string()));
    if let Err(words) = judged {
        pass_over(reading, key, &words);
    }
    Ok(Outcome::HandedOut)
}

/// Judges all records of a file, and hands on those that are of access that we gave.
fn judge_all(
    judge: &Judge,
    packed: &Bytes,
    batches: &mpsc::Sender<Vec<New>>,
) -> Result<(), String> {
    let (mut batch, mut fault) = (Vec::new(), None);
    let read = log_file::records(packed, &mut |text| {
        if !record::may_be_of_identity_center(text) || batches.is_closed() {
            return;
        }
        match judge.judge(text) {
            Ok(new) => batch.extend(new),
            Err(words) => fault = Some(words),
        }
        if batch.len() >= BATCH {
            // Whoever stores them has failed, if they do not take it, and reads the file again.
            let _ = batches.blocking_send(std::mem::take(&mut batch));
        }
    });
    let _ = batches.blocking_send(batch);
    read.map_err(|error| error.to_string())?;
    fault.map_or(Ok(()), Err)
}
