//! The permission set of a person in one account, in which what they may do there stands as its inline policy:
//! for organizations whose member accounts let no role of the connector write policies.
//!
//! A set that is changed is so in the account only once it is provisioned there anew; at first that comes with
//! the assignment. AWS tells whether an account has the newest of a set, so whatever was lost between a
//! change and its provisioning is found by the next look.

use async_trait::async_trait;
use aws_sdk_ssoadmin::types::{ProvisionTargetType, ProvisioningStatus, StatusValues};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{Answer, Call, Kind, Look, Seen, read, statements},
    Mark,
    set::{self, DESCRIBE, GONE, Named, PAGES_MAX, facts},
};
use crate::{
    access::{Config, site::Site},
    aws::{ApiError, error::assignment_refusal},
    model::{
        failure::Lane,
        holding::Holder,
        ids::AccountId,
        object::Object,
        policy_document::Share,
        refusal::Refusal,
        share::{Content, Shares},
        target::{Intent, Observed, Operation, Progress, Verb},
        unit::UnitState,
    },
};

pub(super) const DESCRIBE_PROVISIONING: &str = "sso:DescribePermissionSetProvisioningStatus";
pub(super) const GET_INLINE: &str = "sso:GetInlinePolicyForPermissionSet";
pub(super) const LIST_ACCOUNTS: &str = "sso:ListAccountsForProvisionedPermissionSet";
pub(super) const PROVISION: &str = "sso:ProvisionPermissionSet";
pub(super) const PUT_INLINE: &str = "sso:PutInlinePolicyToPermissionSet";

/// What was changed shows by then.
const SHOWS_WITHIN: TimeDelta = TimeDelta::seconds(3);
/// Characters of the inline policies of a role, white space not counted: a permission set may have more, but
/// not be provisioned.
/// Source: "IAM and AWS STS quotas" in the IAM user guide.
const CHARACTERS_MAX: usize = 10_240;
/// Provisionings that AWS works on at once in an instance.
/// Source: "IAM Identity Center quotas" in its user guide.
const AT_ONCE: i64 = 3;
/// What the id of a provisioning stands behind, and what tells a document that was put.
const PROVISIONING: &str = "provisioning ";
const PUT: &str = "put ";

/// Permission sets of persons in accounts.
pub(super) struct InlineSets;

const NAME: &str = "aws-generated-inline-set";

#[derive(Serialize, Deserialize)]
struct Set {
    account: AccountId,
    #[serde(flatten)]
    named: Named,
}

/// What is there.
#[derive(Default, Serialize, Deserialize)]
struct Body {
    document: Value,
    has_boundary: bool,
    /// The account has an older state of it.
    is_behind: bool,
}

/// The permission set of this name in an account, with what a unit puts in.
pub(super) fn object(
    account: &AccountId,
    name: &str,
    mark: Mark,
    person: &str,
    share: &Share,
) -> Object {
    let named = Named { name: name.to_owned(), mark, person: person.to_owned(), arn: None };
    Object {
        mechanism: NAME,
        key: name.to_owned(),
        // While an assignment is under way there nobody knows which state of the set it brings.
        place: account.to_string(),
        object: json!(Set { account: account.clone(), named }),
        stage: 1,
        is_ours_alone: false,
        share: Some(json!(share)),
    }
}

#[async_trait]
impl Kind for InlineSets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn calls_at_once(&self, _config: &Config) -> Option<i64> {
        Some(AT_ONCE)
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let set: Set = read(DESCRIBE, look.object)?;
        let operation = operation(site, look, lane).await?;
        if let Some(operation) = operation.iter().find(|one| one.progress == Progress::Running) {
            let operations = vec![operation.clone()];
            let observed =
                Observed { is_present: true, is_marked: true, operations, ..Observed::default() };
            return Ok(Seen { observed, body: json!(Body::default()), facts: None });
        }
        let arn = set.named.seen(site, look, lane).await?;
        let body = match &arn {
            Some(arn) => body(site, &set, arn, lane).await?,
            None => Body::default(),
        };
        let shows = |request: &str, verb| match (verb, request.strip_prefix(PUT)) {
            (Verb::Create, Some(put)) => put == statements::hash(&body.document),
            (Verb::Create, None) => arn.is_some(),
            (Verb::Delete, _) => arn.is_none(),
        };
        let operations = match operation {
            Some(operation) => vec![operation],
            None => look.accepted(shows, SHOWS_WITHIN),
        };
        let is_present = arn.is_some();
        let observed =
            Observed { is_present, is_marked: is_present, operations, ..Observed::default() };
        Ok(Seen { observed, body: json!(body), facts: arn.as_deref().map(facts) })
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let (object, lane) = (&call.object, call.lane);
        let set: Set = read(DESCRIBE, object)?;
        let (arn, request) = match (call.verb, set.named.arn.clone()) {
            (Verb::Create, Some(arn)) if call.is_present => {
                let before: Body = read(DESCRIBE, &call.before)?;
                put(site, &arn, &before, &call.after, lane).await?;
                let begun = if is_in(site, &arn, &set.account, None, lane).await? {
                    provision(site, &arn, &set.account, lane).await?
                } else {
                    None
                };
                let request = match begun {
                    Some(id) => format!("{PROVISIONING}{id}"),
                    None => format!("{PUT}{}", statements::hash(&call.after)),
                };
                (arn, request)
            }
            // A set that was made is remembered; what belongs in it comes with the next look.
            (Verb::Create, _) => set::make(site, &set.named, lane).await?,
            (Verb::Delete, _) => set::delete(site, &set.named, lane).await?,
        };
        Ok(Answer { request, facts: Some(facts(&arn)) })
    }

    fn shares(
        &self,
        body: &Value,
        holders: &[Holder],
        now: DateTime<Utc>,
    ) -> Result<Shares, ApiError> {
        let seen: Body = read(DESCRIBE, body)?;
        if !holders.iter().any(|holder| holder.is_live(now)) {
            // What it allows ends with the assignment.
            return Ok(Shares { content: Content::Current, lacking: Vec::new() });
        }
        let mut shares = statements::shares(&seen.document, holders, now)?;
        if seen.is_behind || !seen.has_boundary {
            shares.content = Content::Stale;
            // What somebody has already stays as it is until the newest comes.
            let waits = holders
                .iter()
                .enumerate()
                .filter(|(_, holder)| holder.is_live(now) && holder.state != UnitState::Active);
            shares.lacking.extend(waits.map(|(at, _)| at));
            shares.lacking.sort_unstable();
            shares.lacking.dedup();
        }
        Ok(shares)
    }

    fn body(&self, holders: &[Holder], now: DateTime<Utc>) -> Value {
        statements::document(holders, now)
    }

    fn fits(&self, holders: &[Holder], now: DateTime<Utc>) -> Result<(), Refusal> {
        statements::fits(holders, now, CHARACTERS_MAX)
    }

    fn refusal(&self, words: &str) -> Option<Refusal> {
        assignment_refusal(words)
    }
}

async fn body(site: &Site, set: &Set, arn: &str, lane: Lane) -> Result<Body, ApiError> {
    let (client, instance) = set::client(site, lane).await?;
    let answer = client
        .get_inline_policy_for_permission_set()
        .instance_arn(instance)
        .permission_set_arn(arn)
        .send()
        .await
        .map_err(|error| ApiError::of(GET_INLINE, &error))?;
    // What cannot be read is not as it should be.
    let document = serde_json::from_str(answer.inline_policy().unwrap_or_default());
    let behind = ProvisioningStatus::LatestPermissionSetNotProvisioned;
    Ok(Body {
        document: document.unwrap_or_default(),
        has_boundary: set::has_boundary(site, arn, lane).await?,
        is_behind: is_in(site, arn, &set.account, Some(behind), lane).await?,
    })
}

/// Whether an account has a set, in this state if one is named.
async fn is_in(
    site: &Site,
    arn: &str,
    account: &AccountId,
    state: Option<ProvisioningStatus>,
    lane: Lane,
) -> Result<bool, ApiError> {
    let (client, instance) = set::client(site, lane).await?;
    let mut token = None;
    for _ in 0..PAGES_MAX {
        let answer = client
            .list_accounts_for_provisioned_permission_set()
            .instance_arn(instance)
            .permission_set_arn(arn)
            .set_provisioning_status(state.clone())
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| ApiError {
                leaves_doubt: false,
                ..ApiError::of(LIST_ACCOUNTS, &error)
            })?;
        if answer.account_ids().iter().any(|id| id == account.as_str()) {
            return Ok(true);
        }
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(false);
        }
    }
    Err(ApiError::answered(LIST_ACCOUNTS, "", "the list does not come to an end", 200))
}

/// Puts in what is not there.
async fn put(
    site: &Site,
    arn: &str,
    before: &Body,
    document: &Value,
    lane: Lane,
) -> Result<(), ApiError> {
    if !before.has_boundary {
        set::put_boundary(site, arn, lane).await?;
    }
    if before.document == *document {
        return Ok(());
    }
    let (client, instance) = set::client(site, lane).await?;
    client
        .put_inline_policy_to_permission_set()
        .instance_arn(instance)
        .permission_set_arn(arn)
        .inline_policy(document.to_string())
        .customize()
        .config_override(set::once())
        .send()
        .await
        .map_err(|error| ApiError::of(PUT_INLINE, &error))?;
    Ok(())
}

/// Brings a set to the account anew; the id of that.
async fn provision(
    site: &Site,
    arn: &str,
    account: &AccountId,
    lane: Lane,
) -> Result<Option<String>, ApiError> {
    let (client, instance) = set::client(site, lane).await?;
    let answer = client
        .provision_permission_set()
        .instance_arn(instance)
        .permission_set_arn(arn)
        .target_type(ProvisionTargetType::AwsAccount)
        .target_id(account.as_str())
        .customize()
        .config_override(set::once())
        .send()
        .await
        .map_err(|error| ApiError::of(PROVISION, &error))?;
    Ok(answer.permission_set_provisioning_status.and_then(|status| status.request_id))
}

/// Our provisioning that is under way, or was.
async fn operation(
    site: &Site,
    look: &Look<'_>,
    lane: Lane,
) -> Result<Option<Operation>, ApiError> {
    let Some(Intent { verb, request: Some(request), .. }) = &look.target.intent else {
        return Ok(None);
    };
    let Some(id) = request.strip_prefix(PROVISIONING) else { return Ok(None) };
    let progress = progress(site, id, lane).await?;
    Ok(Some(Operation { request: request.clone(), verb: *verb, progress }))
}

/// How a provisioning gets on.
async fn progress(site: &Site, id: &str, lane: Lane) -> Result<Progress, ApiError> {
    let (client, instance) = set::client(site, lane).await?;
    let answer = client
        .describe_permission_set_provisioning_status()
        .instance_arn(instance)
        .provision_permission_set_request_id(id)
        .send()
        .await;
    let status = match answer.map_err(|error| ApiError::of(DESCRIBE_PROVISIONING, &error)) {
        Ok(answer) => answer.permission_set_provisioning_status,
        // Whether the account has the newest is looked at in any case.
        Err(error) if error.code.as_deref() == Some(GONE) => return Ok(Progress::Succeeded),
        Err(error) => return Err(error),
    };
    Ok(match status.as_ref().and_then(|status| status.status.as_ref()) {
        Some(StatusValues::Succeeded) => Progress::Succeeded,
        Some(StatusValues::Failed) => {
            let words = status.and_then(|status| status.failure_reason);
            Progress::Failed(words.unwrap_or_else(|| "without a reason".to_owned()))
        }
        _ => Progress::Running,
    })
}
