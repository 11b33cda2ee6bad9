//! The queue that is told of new log files of a trail: whatever it tells of has the places read at once in which
//! those files lie. It only hastens: how far a place was read stands with the place, and what a queue has lost is
//! found by the next reading. So a message is deleted once its places are due.
//!
//! What a queue tells of other buckets is left in it: it is somebody else's then, and a problem.

use std::time::Duration;

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use chrono::TimeDelta;
use tracing::warn;

use super::{Auditor, Error, note_problems, places::LEASE, sources::TRAIL, trouble};
use crate::{
    aws::{Access, ApiError},
    base::{backoff::Backoff, chain::Chain},
    catalog::reach,
    model::{
        failure::{Lane, Reason, ReasonCode},
        ids::{AccountId, Region},
        integration::Trail,
        log_file::{self, Layout},
    },
    store::{
        self,
        integrations::{self, Integration},
        trail_queues::{self, Leased},
    },
};

/// The IAM action.
pub const RECEIVE_MESSAGE: &str = "sqs:ReceiveMessage";
pub(super) const DELETE_MESSAGE: &str = "sqs:DeleteMessage";

/// From one look to the next, where nothing more was there.
const EVERY: TimeDelta = TimeDelta::seconds(20);
/// Messages at once: the most that SQS gives.
const AT_ONCE: i32 = 10;
/// Times that it is asked in one lease.
const ASKED_MAX: usize = 200;
/// For how long a message is ours: longer than it takes to note what it tells.
const OURS_S: i32 = 60;
/// Looks for which a message stays hidden that is left in the queue, and a few more.
const HIDDEN_LOOKS: u32 = 6;
/// A question waits so long for a first message, which has SQS ask all of its servers.
const WAIT_S: i32 = 1;
/// After a look that failed.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(10), max: Duration::from_mins(15) };

/// Has what a queue tells read.
pub(super) async fn empty(auditor: &Auditor, queue: &Leased) -> store::Result<()> {
    let (trouble, wait, failures) = match Box::pin(take(auditor, queue)).await {
        Ok(Taken { foreign, is_empty }) => {
            let wait = if is_empty { EVERY } else { TimeDelta::zero() };
            match foreign {
                Some(foreign) => (trouble(&foreign), wait, 1),
                // It shows again after a while.
                None if is_foreign(&queue.trouble) && queue.failures < HIDDEN_LOOKS => {
                    (queue.trouble.clone(), wait, queue.failures + 1)
                }
                None => (String::new(), wait, 0),
            }
        }
        Err(Error::LeftOff) => (queue.trouble.clone(), TimeDelta::zero(), queue.failures),
        Err(Error::Store(error)) => return Err(error),
        Err(error) => {
            warn!(error = %Chain(&error), "the queue of a trail cannot be read");
            let failures = queue.failures.saturating_add(1);
            let wait = TimeDelta::from_std(AFTER_FAILURE.after(failures)).unwrap_or(EVERY);
            (error.trouble().unwrap_or_default(), wait, failures)
        }
    };
    let is_changed = trouble != queue.trouble;
    let mut tx = auditor.db.begin().await?;
    if is_changed {
        // Before the queue, as whoever changes the settings does.
        integrations::hold(&mut tx, &queue.connector, queue.integration).await?;
    }
    trail_queues::end(&mut tx, queue, queue.now + wait, (&trouble, failures)).await?;
    if is_changed {
        note_problems(&mut tx, &queue.connector, queue.integration).await?;
    }
    tx.commit().await?;
    auditor.wishes.poke();
    Ok(())
}

fn is_foreign(trouble: &str) -> bool {
    trouble.starts_with(ReasonCode::TrailQueueForeign.as_str())
}

/// What came of asking a queue.
#[derive(Default)]
struct Taken {
    /// What it tells that is not of the trail, if anything.
    foreign: Option<Reason>,
    /// It had nothing more.
    is_empty: bool,
}

async fn take(auditor: &Auditor, queue: &Leased) -> Result<Taken, Error> {
    let mut conn = auditor.db.conn().await?;
    let integration = integrations::get(&mut conn, &queue.connector, queue.integration).await?;
    drop(conn);
    let Some(integration) = integration else { return Ok(Taken::default()) };
    let Some(trail) = &integration.settings.trail else { return Ok(Taken::default()) };
    let access = reach::trail(&auditor.aws, &integration, Lane::Audit);
    let taking = Box::pin(take_all(auditor, queue, &integration, trail, &access));
    super::ask(&access, taking).await
}

async fn take_all(
    auditor: &Auditor,
    queue: &Leased,
    integration: &Integration,
    trail: &Trail,
    access: &Access,
) -> Result<Taken, Error> {
    let url = trail.queue_url.as_ref().map(url::Url::as_str).unwrap_or_default();
    let layout = Layout { prefix: &trail.prefix, organization: &integration.organization };
    let mut taken = Taken::default();
    for _ in 0..ASKED_MAX {
        let asked = access.sqs().receive_message().queue_url(url).max_number_of_messages(AT_ONCE);
        let asked = asked.visibility_timeout(OURS_S).wait_time_seconds(WAIT_S);
        let answer = asked.send().await;
        let answer = answer.map_err(|error| ApiError::of(RECEIVE_MESSAGE, &error))?;
        let messages = answer.messages.unwrap_or_default();
        if messages.is_empty() {
            taken.is_empty = true;
            break;
        }
        let (mut places, mut ours) = (Vec::new(), Vec::new());
        for message in &messages {
            match told(message, trail, layout) {
                Ok(told) => {
                    places.extend(told);
                    ours.push(message);
                }
                Err(bucket) => {
                    let words = "a message is not of the trail's bucket";
                    warn!(bucket, "{words}; it is left in the queue");
                    taken.foreign = Some(Reason::new(ReasonCode::TrailQueueForeign, bucket, words));
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        let mut tx = auditor.db.begin().await?;
        trail_queues::tell(&mut tx, queue, TRAIL, &places, LEASE).await?;
        tx.commit().await?;
        delete(access, url, &ours).await?;
        if auditor.stopper.is_stopping() {
            return Err(Error::LeftOff);
        }
    }
    Ok(taken)
}

/// The places of which a message tells; or the bucket that it tells of, if that is another one.
fn told(
    message: &Message,
    trail: &Trail,
    layout: Layout<'_>,
) -> Result<Vec<(AccountId, Region)>, String> {
    let told = log_file::delivered(message.body().unwrap_or_default());
    let told = told.ok_or("no bucket")?;
    if let Some(other) = told.iter().find(|one| one.bucket != trail.bucket) {
        return Err(other.bucket.clone());
    }
    // Digests and the like are told of, too.
    let files = told.iter().filter_map(|one| layout.file(&one.key));
    Ok(files.map(|file| (file.account, file.region)).collect())
}

async fn delete(access: &Access, url: &str, messages: &[&Message]) -> Result<(), Error> {
    let entries = messages.iter().enumerate().filter_map(|(at, message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string());
        entry.receipt_handle(message.receipt_handle()?).build().ok()
    });
    let entries: Vec<_> = entries.collect();
    if entries.is_empty() {
        return Ok(());
    }
    let asked = access.sqs().delete_message_batch().queue_url(url).set_entries(Some(entries));
    // One that is not deleted is told again, which does no harm.
    asked.send().await.map_err(|error| ApiError::of(DELETE_MESSAGE, &error))?;
    Ok(())
}
