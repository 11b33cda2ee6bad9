//! What is under way in an instance. The lists of requests tell status, id and date alone, so each
//! request is described once; what it is about never changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_ssoadmin::types::{
    AccountAssignmentOperationStatus, OperationStatusFilter, StatusValues,
};
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{PAGE_ITEMS, PAGES_MAX};
use crate::{
    access::site::Site,
    aws::ApiError,
    base::fresh::Fresh,
    model::{
        assignment::{Assignment, Principal},
        failure::Lane,
        target::{Progress, Verb},
    },
};

pub(super) const LIST_CREATIONS: &str = "sso:ListAccountAssignmentCreationStatus";
pub(super) const LIST_DELETIONS: &str = "sso:ListAccountAssignmentDeletionStatus";
pub(super) const DESCRIBE_CREATION: &str = "sso:DescribeAccountAssignmentCreationStatus";
pub(super) const DESCRIBE_DELETION: &str = "sso:DescribeAccountAssignmentDeletionStatus";

/// So old may be a list for who begins something: what begins in AWS within this time after a look is
/// met by its refusal, as it would be right before the call.
const MOMENT: Duration = Duration::from_secs(1);
/// The same for who waits for the end of a request: the fewer are under way, the sooner; and when
/// many are, the list costs less than a tenth of AWS's calls.
const FOR_EACH: Duration = Duration::from_millis(125);
/// The least and the most of it.
const FOR_ALL: (Duration, Duration) = (Duration::from_millis(300), MOMENT);
/// Described requests that are remembered: far more than can be under way.
const KNOWN_MAX: usize = 4096;

/// A request as the lists have it.
struct Listed {
    verb: Verb,
    request: String,
    /// When it was made.
    at: Option<DateTime<Utc>>,
    is_failed: bool,
}

/// What AWS tells of requests in an instance, shared by all who ask.
#[derive(Debug, Default)]
pub struct Requests {
    creations: Fresh<Vec<String>>,
    deletions: Fresh<Vec<String>>,
    known: Mutex<HashMap<String, Known>>,
}

/// A request that was described, or that we have made.
#[derive(Debug)]
struct Known {
    /// None: something that no assignment of ours can be.
    about: Option<Assignment>,
    /// Since when it is known.
    since: Instant,
}

impl Requests {
    /// The requests on an assignment that are under way; where nobody knows what became of one of
    /// ours, as of now.
    pub(super) async fn running(
        &self,
        site: &Site,
        wanted: &Assignment,
        is_doubtful: bool,
        lane: Lane,
    ) -> Result<Vec<(Verb, String)>, ApiError> {
        let age = if is_doubtful { Duration::ZERO } else { MOMENT };
        let mut on_it = Vec::new();
        for verb in [Verb::Create, Verb::Delete] {
            for request in self.under_way(site, verb, |_| age).await?.iter() {
                if self.about(site, verb, request, lane).await?.as_ref() == Some(wanted) {
                    on_it.push((verb, request.clone()));
                }
            }
        }
        Ok(on_it)
    }

    /// Whether a request was under way a moment ago: to be asked again. One that was not may have
    /// ended, or may not have been listed yet; its description tells.
    pub(super) async fn is_running(
        &self,
        site: &Site,
        verb: Verb,
        request: &str,
    ) -> Result<bool, ApiError> {
        // A list from before the request does not have it.
        let known = self.known().get(request).map(|known| known.since.elapsed());
        let age = |running: &Vec<String>| {
            let count = u32::try_from(running.len()).unwrap_or(u32::MAX);
            let (least, most) = FOR_ALL;
            let age = FOR_EACH.saturating_mul(count).clamp(least, most);
            known.map_or(age, |elapsed| elapsed.min(age))
        };
        let running = self.under_way(site, verb, age).await?;
        Ok(running.iter().any(|one| one == request))
    }

    /// The requests of a kind that are under way, as they were no longer ago than `age` says of them.
    async fn under_way(
        &self,
        site: &Site,
        verb: Verb,
        age: impl FnOnce(&Vec<String>) -> Duration,
    ) -> Result<Arc<Vec<String>>, ApiError> {
        let all = match verb {
            Verb::Create => &self.creations,
            Verb::Delete => &self.deletions,
        };
        // Whoever asks, somebody who takes access away may wait for the same answer.
        let fetched = all.get(age, async || {
            let all = list(site, verb, Some(StatusValues::InProgress), Lane::Revoke).await?;
            Ok(all.into_iter().map(|listed| listed.request).collect())
        });
        Box::pin(fetched).await
    }

    /// What a request is about.
    async fn about(
        &self,
        site: &Site,
        verb: Verb,
        request: &str,
        lane: Lane,
    ) -> Result<Option<Assignment>, ApiError> {
        if let Some(known) = self.known().get(request) {
            return Ok(known.about.clone());
        }
        let Some((about, _)) = describe(site, verb, request, lane).await? else {
            // It may be known there in a moment.
            return Ok(None);
        };
        self.remember(request, about.clone());
        Ok(about)
    }

    /// Remembers what a request is about.
    pub(super) fn remember(&self, request: &str, about: Option<Assignment>) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(request.to_owned(), Known { about, since: Instant::now() });
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests of a kind, or those of them that are under way.
async fn list(
    site: &Site,
    verb: Verb,
    status: Option<StatusValues>,
    lane: Lane,
) -> Result<Vec<Listed>, ApiError> {
    let instance = &site.instance(lane).await?.arn;
    let client = site.access(lane).await?.sso_admin();
    let filter = status.map(|status| OperationStatusFilter::builder().status(status).build());
    let mut all = Vec::new();
    let mut token = None;
    for _ in 0..PAGES_MAX {
        let (page, next) = match verb {
            Verb::Create => {
                let answer = client
                    .list_account_assignment_creation_status()
                    .instance_arn(instance)
                    .set_filter(filter.clone())
                    .max_results(PAGE_ITEMS)
                    .set_next_token(token)
                    .send()
                    .await
                    .map_err(|error| ApiError::of(LIST_CREATIONS, &error))?;
                (answer.account_assignments_creation_status, answer.next_token)
            }
            Verb::Delete => {
                let answer = client
                    .list_account_assignment_deletion_status()
                    .instance_arn(instance)
                    .set_filter(filter.clone())
                    .max_results(PAGE_ITEMS)
                    .set_next_token(token)
                    .send()
                    .await
                    .map_err(|error| ApiError::of(LIST_DELETIONS, &error))?;
                (answer.account_assignments_deletion_status, answer.next_token)
            }
        };
        all.extend(page.unwrap_or_default().into_iter().filter_map(|one| {
            let at = one.created_date.and_then(|at| DateTime::from_timestamp(at.secs(), 0));
            let is_failed = one.status == Some(StatusValues::Failed);
            one.request_id.map(|request| Listed { verb, request, at, is_failed })
        }));
        token = next.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(all);
        }
    }
    let action = if verb == Verb::Create { LIST_CREATIONS } else { LIST_DELETIONS };
    Err(ApiError::answered(action, "", "the list does not come to an end", 200))
}

/// The requests since a time that have not failed: verb, id, and when.
pub(super) async fn since(
    site: &Site,
    since: DateTime<Utc>,
    lane: Lane,
) -> Result<Vec<(Verb, String, DateTime<Utc>)>, ApiError> {
    let mut all = list(site, Verb::Create, None, lane).await?;
    all.extend(list(site, Verb::Delete, None, lane).await?);
    let recent = all.into_iter().filter_map(|listed| {
        // One without a date may be recent.
        let at = listed.at.unwrap_or(since);
        (at >= since && !listed.is_failed).then_some((listed.verb, listed.request, at))
    });
    Ok(recent.collect())
}

/// What a request is about, and how it stands; none: AWS does not know it any more.
pub(super) async fn describe(
    site: &Site,
    verb: Verb,
    request: &str,
    lane: Lane,
) -> Result<Option<(Option<Assignment>, Progress)>, ApiError> {
    let instance = &site.instance(lane).await?.arn;
    let client = site.access(lane).await?.sso_admin();
    let told = match verb {
        Verb::Create => client
            .describe_account_assignment_creation_status()
            .instance_arn(instance)
            .account_assignment_creation_request_id(request)
            .send()
            .await
            .map(|answer| answer.account_assignment_creation_status)
            .map_err(|error| ApiError::of(DESCRIBE_CREATION, &error)),
        Verb::Delete => client
            .describe_account_assignment_deletion_status()
            .instance_arn(instance)
            .account_assignment_deletion_request_id(request)
            .send()
            .await
            .map(|answer| answer.account_assignment_deletion_status)
            .map_err(|error| ApiError::of(DESCRIBE_DELETION, &error)),
    };
    match told {
        Ok(status) => Ok(status.map(|status| (about(&status), progress(&status)))),
        Err(error) if error.code.as_deref() == Some("ResourceNotFoundException") => Ok(None),
        Err(error) => Err(error),
    }
}

fn about(status: &AccountAssignmentOperationStatus) -> Option<Assignment> {
    let id = status.principal_id()?.to_owned();
    let principal = match status.principal_type()?.as_str() {
        "USER" => Principal::User(id),
        "GROUP" => Principal::Group(id),
        _ => return None,
    };
    Some(Assignment {
        account: status.target_id()?.parse().ok()?,
        permission_set: status.permission_set_arn()?.to_owned(),
        principal,
    })
}

fn progress(status: &AccountAssignmentOperationStatus) -> Progress {
    match status.status().map(StatusValues::as_str) {
        Some("SUCCEEDED") => Progress::Succeeded,
        Some("FAILED") => {
            Progress::Failed(status.failure_reason().unwrap_or("no reason was given").to_owned())
        }
        // Whatever AWS may add has not ended.
        _ => Progress::Running,
    }
}
