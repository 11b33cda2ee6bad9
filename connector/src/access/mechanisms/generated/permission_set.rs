//! The permission set of a person, which refers to the person's policy in every account by its name.

use async_trait::async_trait;
use aws_sdk_ssoadmin::types::CustomerManagedPolicyReference;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{Answer, Call, Kind, Look, Seen, iam::PATH, read},
    Mark,
    set::{self, DESCRIBE, Named, THERE, facts, reference},
};
use crate::{
    access::site::Site,
    aws::ApiError,
    model::{
        failure::Lane,
        holding::{self, Holder},
        object::Object,
        share::{Content, Shares},
        target::{Observed, Verb},
    },
};

pub(super) const ATTACH: &str = "sso:AttachCustomerManagedPolicyReferenceToPermissionSet";
pub(super) const LIST_POLICIES: &str = "sso:ListCustomerManagedPolicyReferencesInPermissionSet";

/// What was changed shows by then.
const SHOWS_WITHIN: TimeDelta = TimeDelta::seconds(3);

/// Permission sets of persons.
pub(super) struct PermissionSets;

const NAME: &str = "aws-generated-permission-set";

#[derive(Serialize, Deserialize)]
struct Set {
    #[serde(flatten)]
    named: Named,
    /// The name of its policy in every account.
    policy: String,
}

/// What is attached to a set.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Body {
    has_policy: bool,
    has_boundary: bool,
}

impl Body {
    const WHOLE: Self = Self { has_policy: true, has_boundary: true };
}

/// The permission set of a hash.
pub(super) fn object(name: &str, hash: &str, mark: Mark, person: &str) -> Object {
    let named = Named { name: name.to_owned(), mark, person: person.to_owned(), arn: None };
    let set = Set { named, policy: hash.to_owned() };
    Object {
        mechanism: NAME,
        key: name.to_owned(),
        place: format!("set/{name}"),
        object: json!(set),
        stage: 1,
        is_ours_alone: true,
        share: None,
    }
}

#[async_trait]
impl Kind for PermissionSets {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let set: Set = read(DESCRIBE, look.object)?;
        let arn = set.named.seen(site, look, lane).await?;
        let body = match &arn {
            Some(arn) => attached(site, &set, arn, lane).await?,
            None => Body::default(),
        };
        let shows = |_: &str, verb| match verb {
            Verb::Create => body == Body::WHOLE,
            Verb::Delete => arn.is_none(),
        };
        let operations = look.accepted(shows, SHOWS_WITHIN);
        let observed = Observed {
            is_present: arn.is_some(),
            is_marked: arn.is_some(),
            operations,
            ..Observed::default()
        };
        Ok(Seen { observed, body: json!(body), facts: arn.as_deref().map(facts) })
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let (object, lane) = (&call.object, call.lane);
        let set: Set = read(DESCRIBE, object)?;
        let (arn, request) = match (call.verb, set.named.arn.clone()) {
            (Verb::Create, Some(arn)) if call.is_present => (arn, "attached".to_owned()),
            (Verb::Create, _) => set::make(site, &set.named, lane).await?,
            (Verb::Delete, _) => set::delete(site, &set.named, lane).await?,
        };
        if call.verb == Verb::Create {
            let before: Body = read(DESCRIBE, &call.before)?;
            let attached = attach(site, &set, &arn, &before, lane).await;
            // A set that was made is remembered, whatever becomes of the rest; the next look finds that.
            if call.is_present {
                attached?;
            }
        }
        Ok(Answer { request, facts: Some(facts(&arn)) })
    }

    fn shares(
        &self,
        body: &Value,
        holders: &[Holder],
        now: DateTime<Utc>,
    ) -> Result<Shares, ApiError> {
        if read::<Body>(DESCRIBE, body)? == Body::WHOLE {
            return Ok(Shares { content: Content::Current, lacking: Vec::new() });
        }
        Ok(holding::all_lack(holders, now))
    }
}

async fn attached(site: &Site, set: &Set, arn: &str, lane: Lane) -> Result<Body, ApiError> {
    let (client, instance) = set::client(site, lane).await?;
    let policies = client
        .list_customer_managed_policy_references_in_permission_set()
        .instance_arn(instance)
        .permission_set_arn(arn)
        .send()
        .await
        .map_err(|error| ApiError::of(LIST_POLICIES, &error))?;
    let is_it = |found: &CustomerManagedPolicyReference| {
        found.name() == set.policy && found.path().is_none_or(|path| path == PATH)
    };
    let has_policy = policies.customer_managed_policy_references().iter().any(is_it);
    Ok(Body { has_policy, has_boundary: set::has_boundary(site, arn, lane).await? })
}

/// Attaches what is missing. What is there already is well.
async fn attach(
    site: &Site,
    set: &Set,
    arn: &str,
    before: &Body,
    lane: Lane,
) -> Result<(), ApiError> {
    if !before.has_boundary {
        set::put_boundary(site, arn, lane).await?;
    }
    if before.has_policy {
        return Ok(());
    }
    let (client, instance) = set::client(site, lane).await?;
    let answer = client
        .attach_customer_managed_policy_reference_to_permission_set()
        .instance_arn(instance)
        .permission_set_arn(arn)
        .customer_managed_policy_reference(reference(&set.policy, PATH))
        .send()
        .await
        .map_err(|error| ApiError::of(ATTACH, &error));
    match answer {
        Err(error) if error.code.as_deref() != Some(THERE) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
