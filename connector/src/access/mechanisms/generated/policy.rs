//! The customer managed policy of a person in an account.
//!
//! IAM shows a change a little later than it was made, and may show it, and then again not. A version's
//! number tells what a change has come to: they grow, and none is used twice.

use async_trait::async_trait;
use aws_sdk_iam::types::Tag;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Answer, Call, Kind, Look, Seen,
        iam::{self, GONE, PATH, SHOWS_WITHIN, once},
        read, statements,
    },
    Mark, not_ours,
};
use crate::{
    access::site::Site,
    aws::{Access, ApiError},
    model::{
        failure::Lane,
        holding::Holder,
        ids::AccountId,
        object::Object,
        policy_document::{CHARACTERS_MAX, Share},
        refusal::Refusal,
        share::Shares,
        target::{Observed, Verb},
    },
};

pub(super) const CREATE: &str = "iam:CreatePolicy";
pub(super) const CREATE_VERSION: &str = "iam:CreatePolicyVersion";
pub(super) const DELETE: &str = "iam:DeletePolicy";
pub(super) const DELETE_VERSION: &str = "iam:DeletePolicyVersion";
pub(super) const GET: &str = "iam:GetPolicy";
pub(super) const GET_VERSION: &str = "iam:GetPolicyVersion";
pub(super) const LIST_VERSIONS: &str = "iam:ListPolicyVersions";
pub(super) const TAG: &str = "iam:TagPolicy";

/// A policy has at most so many versions.
const VERSIONS_MAX: u64 = 5;

/// Policies of persons in accounts.
pub(super) struct Policies;

const NAME: &str = "aws-generated-policy";

#[derive(Serialize, Deserialize)]
struct Policy {
    account: AccountId,
    name: String,
    mark: Mark,
    /// The number of the version that we made last, as AWS has told it; none is before all.
    #[serde(default)]
    version: u64,
}

/// What is there: the number of the version that counts, and its document.
#[derive(Default, Serialize, Deserialize)]
struct Body {
    version: u64,
    document: Value,
}

/// The policy of a hash in an account, with what a unit puts in.
pub(super) fn object(account: &AccountId, hash: &str, mark: Mark, share: &Share) -> Object {
    let policy = Policy { account: account.clone(), name: hash.to_owned(), mark, version: 0 };
    let key = format!("{account}{PATH}{hash}");
    Object {
        mechanism: NAME,
        place: format!("policy/{key}"),
        key,
        object: json!(policy),
        stage: 1,
        is_ours_alone: false,
        share: Some(json!(share)),
    }
}

impl Policy {
    fn arn(&self, access: &Access) -> String {
        let path = format!("policy{PATH}{}", self.name);
        access.partition().arn("iam", "", self.account.as_str(), &path)
    }
}

#[async_trait]
impl Kind for Policies {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let policy: Policy = read(GET, look.object)?;
        let access = site.member(&policy.account, lane).await?;
        let body = body(&access, &policy).await?;
        let shows = |request: &str, verb| match (verb, &body) {
            (Verb::Create, Some(body)) => body.version >= number(request),
            (Verb::Create, None) => false,
            (Verb::Delete, body) => body.is_none(),
        };
        let operations = look.accepted(shows, SHOWS_WITHIN);
        let is_before = body.as_ref().is_some_and(|body| body.version < policy.version);
        let has_settled = look.target.settles_at.is_none_or(|at| at <= look.now);
        let observed = Observed {
            is_present: body.is_some(),
            is_marked: body.is_some(),
            is_late: is_before && !has_settled,
            operations,
            ..Observed::default()
        };
        Ok(Seen { observed, body: json!(body.unwrap_or_default()), facts: None })
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let (object, lane) = (&call.object, call.lane);
        let policy: Policy = read(GET, object)?;
        let access = site.member(&policy.account, lane).await?;
        let request = match call.verb {
            Verb::Create if call.is_present => {
                let before: Body = read(GET, &call.before)?;
                change(&access, &policy, &before, &call.after).await?
            }
            Verb::Create => create(&access, &policy, &call.after).await?,
            Verb::Delete => delete(&access, &policy).await?,
        };
        // Versions are counted anew when a policy is.
        let facts = Some(json!({ "version": number(&request) }));
        Ok(Answer { request, facts })
    }

    fn shares(
        &self,
        body: &Value,
        holders: &[Holder],
        now: DateTime<Utc>,
    ) -> Result<Shares, ApiError> {
        let seen: Body = read(GET, body)?;
        statements::shares(&seen.document, holders, now)
    }

    fn body(&self, holders: &[Holder], now: DateTime<Utc>) -> Value {
        statements::document(holders, now)
    }

    fn fits(&self, holders: &[Holder], now: DateTime<Utc>) -> Result<(), Refusal> {
        statements::fits(holders, now, CHARACTERS_MAX)
    }
}

/// What IAM says to a change while it shows a policy late, or while another change is under way: it is
/// looked at again.
const PASSING: [&str; 4] =
    ["ConcurrentModification", "EntityAlreadyExists", "LimitExceeded", "NoSuchEntity"];

fn passing(error: ApiError) -> ApiError {
    iam::passing(error, &PASSING)
}

/// The number of a version: 7 of `v7`. What is none is before all.
fn number(version: &str) -> u64 {
    version.strip_prefix('v').and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// What a policy says; none: there is none.
async fn body(access: &Access, policy: &Policy) -> Result<Option<Body>, ApiError> {
    let arn = policy.arn(access);
    let answer = access.iam().get_policy().policy_arn(&arn).send().await;
    let found = match answer.map_err(|error| ApiError::of(GET, &error)) {
        Ok(found) => found,
        Err(error) if error.code.as_deref() == Some(GONE) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(found) = found.policy else {
        return Err(ApiError::answered(GET, "", "an answer without a policy", 200));
    };
    let tags: Vec<_> = found.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
    if !policy.mark.is_on(&tags) {
        return Err(not_ours(GET, &arn));
    }
    let version = found.default_version_id().unwrap_or_default();
    let answer =
        access.iam().get_policy_version().policy_arn(&arn).version_id(version).send().await;
    let answer = answer.map_err(|error| ApiError::of(GET_VERSION, &error))?;
    let document = answer.policy_version().and_then(|found| found.document());
    // What cannot be read is not as it should be.
    let document = iam::document(document).unwrap_or_default();
    Ok(Some(Body { version: number(version), document }))
}

async fn create(access: &Access, policy: &Policy, document: &Value) -> Result<String, ApiError> {
    let tags = policy.mark.tags().map(|(key, value)| {
        Tag::builder().key(key).value(value).build().expect("a tag with key and value is whole")
    });
    let answer = access
        .iam()
        .create_policy()
        .path(PATH)
        .policy_name(&policy.name)
        .policy_document(document.to_string())
        .description(
            "What the Apono connector allows one person for a time; it is changed by it alone",
        )
        .set_tags(Some(tags.to_vec()))
        .customize()
        .config_override(once())
        .send()
        .await
        .map_err(|error| {
            let error = ApiError::of(CREATE, &error);
            // As many policies as the account may have.
            if error.code.as_deref() == Some("LimitExceeded") { error } else { passing(error) }
        })?;
    let version = answer.policy().and_then(|made| made.default_version_id());
    Ok(version.unwrap_or("v1").to_owned())
}

async fn change(
    access: &Access,
    policy: &Policy,
    before: &Body,
    document: &Value,
) -> Result<String, ApiError> {
    let arn = policy.arn(access);
    // Both may be shown late: there may be one more.
    if before.version + 1 >= VERSIONS_MAX {
        let spare = versions(access, &arn).await?;
        if spare.len() + 2 >= usize::try_from(VERSIONS_MAX).unwrap_or_default() {
            delete_version(access, &arn, &spare[0]).await?;
        }
    }
    let answer = access
        .iam()
        .create_policy_version()
        .policy_arn(&arn)
        .policy_document(document.to_string())
        .set_as_default(true)
        .customize()
        .config_override(once())
        .send()
        .await
        .map_err(|error| passing(ApiError::of(CREATE_VERSION, &error)))?;
    let version = answer.policy_version().and_then(|made| made.version_id()).unwrap_or_default();
    Ok(version.to_owned())
}

async fn delete(access: &Access, policy: &Policy) -> Result<String, ApiError> {
    let arn = policy.arn(access);
    for version in versions(access, &arn).await? {
        delete_version(access, &arn, &version).await?;
    }
    let call = access.iam().delete_policy().policy_arn(&arn);
    let answer = call.customize().config_override(once()).send().await;
    Answer::of(DELETE, answer).map(|done| done.request)
}

/// The versions of a policy that do not count, the oldest first. Nothing is changed by a look.
async fn versions(access: &Access, arn: &str) -> Result<Vec<String>, ApiError> {
    let mut items =
        access.iam().list_policy_versions().policy_arn(arn).into_paginator().items().send();
    let mut spare = Vec::new();
    while let Some(item) = items.next().await {
        let version = item.map_err(|error| ApiError {
            leaves_doubt: false,
            ..ApiError::of(LIST_VERSIONS, &error)
        })?;
        if !version.is_default_version() {
            spare.extend(version.version_id);
        }
    }
    spare.sort_by_key(|version| number(version));
    Ok(spare)
}

/// It counts for nothing, so nobody needs to know whether it is gone.
async fn delete_version(access: &Access, arn: &str, version: &str) -> Result<(), ApiError> {
    let call = access.iam().delete_policy_version().policy_arn(arn).version_id(version);
    let answer = call
        .send()
        .await
        .map_err(|error| ApiError { leaves_doubt: false, ..ApiError::of(DELETE_VERSION, &error) });
    match answer {
        Err(error) if error.code.as_deref() != Some(GONE) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
