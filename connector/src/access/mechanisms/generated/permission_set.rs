//! The permission set of a person.
//!
//! AWS gives it an ARN and finds none by its name, so the ARN is remembered. Names are unique in an
//! instance: whether a set was made whose ARN nobody knows is told by making it again.

use async_trait::async_trait;
use aws_sdk_ssoadmin::{
    config::retry::RetryConfig,
    types::{CustomerManagedPolicyReference, PermissionsBoundary, Tag},
};
use aws_types::request_id::RequestId as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{Answer, Call, Kind, Look, Seen, iam::PATH, read},
    BOUNDARY, Mark, SESSION, not_ours,
};
use crate::{
    access::site::Site,
    aws::ApiError,
    model::{
        failure::Lane,
        holding::Holder,
        object::Object,
        share::{Content, Shares},
        target::{Intent, Observed, Verb},
    },
};

pub(super) const ATTACH: &str = "sso:AttachCustomerManagedPolicyReferenceToPermissionSet";
pub(super) const CREATE: &str = "sso:CreatePermissionSet";
pub(super) const DELETE: &str = "sso:DeletePermissionSet";
pub(super) const DESCRIBE: &str = "sso:DescribePermissionSet";
pub(super) const GET_BOUNDARY: &str = "sso:GetPermissionsBoundaryForPermissionSet";
pub(super) const LIST: &str = "sso:ListPermissionSets";
pub(super) const LIST_POLICIES: &str = "sso:ListCustomerManagedPolicyReferencesInPermissionSet";
pub(super) const LIST_TAGS: &str = "sso:ListTagsForResource";
pub(super) const PUT_BOUNDARY: &str = "sso:PutPermissionsBoundaryToPermissionSet";

/// How AWS says that something is not there, and that it is there already.
const GONE: &str = "ResourceNotFoundException";
const THERE: &str = "ConflictException";
/// What was changed shows by then.
const SHOWS_WITHIN: TimeDelta = TimeDelta::seconds(3);
/// Pages of a list at most: more than there are of any.
const PAGES_MAX: usize = 100;

/// Permission sets of persons.
pub(super) struct PermissionSets;

const NAME: &str = "aws-generated-permission-set";

#[derive(Serialize, Deserialize)]
struct Set {
    name: String,
    /// The name of its policy in every account.
    policy: String,
    mark: Mark,
    person: String,
    /// What AWS has told; none: it was not made, or nobody knows.
    #[serde(default, rename = "permission_set", skip_serializing_if = "Option::is_none")]
    arn: Option<String>,
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
    let (policy, person, arn) = (hash.to_owned(), person.to_owned(), None);
    let set = Set { name: name.to_owned(), policy, mark, person, arn };
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

/// What the assignment needs to know.
fn facts(arn: &str) -> Value {
    json!({ "permission_set": arn })
}

#[async_trait]
impl Kind for PermissionSets {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let set: Set = read(DESCRIBE, look.object)?;
        let is_lost = |intent: &Intent| intent.verb == Verb::Create && intent.request.is_none();
        let may_have_another =
            look.target.doubt.create || look.target.intent.as_ref().is_some_and(is_lost);
        let arn = match &set.arn {
            Some(arn) if name_of(site, arn, lane).await?.is_some() => Some(arn.clone()),
            _ if may_have_another => find(site, &set, lane).await?,
            _ => None,
        };
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
        let (arn, request) = match (call.verb, set.arn.clone()) {
            (Verb::Create, Some(arn)) if call.is_present => (arn, "attached".to_owned()),
            (Verb::Create, _) => make(site, &set, lane).await?,
            (Verb::Delete, Some(arn)) => {
                let request = delete(site, &arn, lane).await?;
                (arn, request)
            }
            (Verb::Delete, None) => {
                return Err(ApiError::answered(DELETE, GONE, "its ARN is not known", 400));
            }
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
        let live = holders.iter().enumerate().filter(|(_, holder)| holder.is_live(now));
        Ok(Shares { content: Content::Stale, lacking: live.map(|(at, _)| at).collect() })
    }
}

/// The name of a set; none: it is gone.
async fn name_of(site: &Site, arn: &str, lane: Lane) -> Result<Option<String>, ApiError> {
    let answer = site
        .access(lane)
        .await?
        .sso_admin()
        .describe_permission_set()
        .instance_arn(&site.instance(lane).await?.arn)
        .permission_set_arn(arn)
        .send()
        .await;
    match answer.map_err(|error| ApiError::of(DESCRIBE, &error)) {
        Ok(found) => Ok(found.permission_set.and_then(|found| found.name)),
        Err(error) if error.code.as_deref() == Some(GONE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same, asked once: the name of a set never changes.
async fn named(site: &Site, arn: &str, lane: Lane) -> Result<Option<String>, ApiError> {
    if let Some(name) = site.set_name(arn) {
        return Ok(Some(name));
    }
    let name = name_of(site, arn, lane).await?;
    if let Some(name) = &name {
        site.remember_set_name(arn, name);
    }
    Ok(name)
}

/// The ARN of the set of this name, if it is there: one after another is asked for its name.
async fn find(site: &Site, set: &Set, lane: Lane) -> Result<Option<String>, ApiError> {
    let instance = &site.instance(lane).await?.arn;
    let client = site.access(lane).await?.sso_admin();
    let mut token = None;
    for _ in 0..PAGES_MAX {
        let answer = client
            .list_permission_sets()
            .instance_arn(instance)
            .max_results(100)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| ApiError::of(LIST, &error))?;
        for arn in answer.permission_sets() {
            if named(site, arn, lane).await?.is_some_and(|name| name == set.name) {
                return is_ours(site, set, arn, lane).await.map(Some);
            }
        }
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(None);
        }
    }
    Err(ApiError::answered(LIST, "", "the list does not come to an end", 200))
}

/// The ARN of a set, if it carries our tags.
async fn is_ours(site: &Site, set: &Set, arn: &str, lane: Lane) -> Result<String, ApiError> {
    let answer = site
        .access(lane)
        .await?
        .sso_admin()
        .list_tags_for_resource()
        .instance_arn(&site.instance(lane).await?.arn)
        .resource_arn(arn)
        .send()
        .await
        .map_err(|error| ApiError::of(LIST_TAGS, &error))?;
    let tags: Vec<_> = answer.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
    if !set.mark.is_on(&tags) {
        return Err(not_ours(LIST_TAGS, &format!("a permission set {}", set.name)));
    }
    Ok(arn.to_owned())
}

async fn attached(site: &Site, set: &Set, arn: &str, lane: Lane) -> Result<Body, ApiError> {
    let instance = &site.instance(lane).await?.arn;
    let client = site.access(lane).await?.sso_admin();
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
    let boundary = client
        .get_permissions_boundary_for_permission_set()
        .instance_arn(instance)
        .permission_set_arn(arn)
        .send()
        .await;
    let has_boundary = match boundary.map_err(|error| ApiError::of(GET_BOUNDARY, &error)) {
        Ok(found) => found
            .permissions_boundary()
            .and_then(|found| found.customer_managed_policy_reference())
            .is_some_and(|found| found.name() == BOUNDARY),
        Err(error) if error.code.as_deref() == Some(GONE) => false,
        Err(error) => return Err(error),
    };
    let has_policy = policies.customer_managed_policy_references().iter().any(is_it);
    Ok(Body { has_policy, has_boundary })
}

/// A second attempt in the SDK would meet what the first one made.
fn once() -> aws_sdk_ssoadmin::config::Builder {
    aws_sdk_ssoadmin::config::Builder::new().retry_config(RetryConfig::disabled())
}

/// Makes a set, or finds that it was made; its ARN, and the id of the request.
async fn make(site: &Site, set: &Set, lane: Lane) -> Result<(String, String), ApiError> {
    let tags = set.mark.tags().map(|(key, value)| {
        Tag::builder().key(key).value(value).build().expect("a tag with key and value is whole")
    });
    let answer = site
        .access(lane)
        .await?
        .sso_admin()
        .create_permission_set()
        .instance_arn(&site.instance(lane).await?.arn)
        .name(&set.name)
        .description(format!("Access for a time by the Apono connector: {}", plain(&set.person)))
        .session_duration(SESSION)
        .set_tags(Some(tags.to_vec()))
        .customize()
        .config_override(once())
        .send()
        .await;
    match answer {
        Ok(made) => {
            let request = made.request_id().unwrap_or("without an id").to_owned();
            let arn = made.permission_set.and_then(|made| made.permission_set_arn);
            let arn = arn.ok_or_else(|| ApiError {
                leaves_doubt: true,
                ..ApiError::answered(CREATE, "", "an answer without an ARN", 200)
            })?;
            Ok((arn, request))
        }
        Err(error) => {
            let error = ApiError::of(CREATE, &error);
            if error.code.as_deref() != Some(THERE) {
                return Err(error);
            }
            let found = find(site, set, lane).await;
            let found = found.map_err(|error| ApiError { leaves_doubt: false, ..error })?;
            Ok((found.ok_or(error)?, "found".to_owned()))
        }
    }
}

/// A text with what descriptions may hold.
fn plain(text: &str) -> String {
    text.chars().map(|one| if matches!(one, ' '..='~') { one } else { '?' }).collect()
}

/// Attaches what is missing. What is there already is well.
async fn attach(
    site: &Site,
    set: &Set,
    arn: &str,
    before: &Body,
    lane: Lane,
) -> Result<(), ApiError> {
    let instance = &site.instance(lane).await?.arn;
    let client = site.access(lane).await?.sso_admin();
    let reference = |name: &str, path: &str| {
        CustomerManagedPolicyReference::builder()
            .name(name)
            .path(path)
            .build()
            .expect("a reference with a name is whole")
    };
    // The boundary first: without it nothing is to be allowed.
    if !before.has_boundary {
        let boundary = PermissionsBoundary::builder()
            .customer_managed_policy_reference(reference(BOUNDARY, "/"))
            .build();
        client
            .put_permissions_boundary_to_permission_set()
            .instance_arn(instance)
            .permission_set_arn(arn)
            .permissions_boundary(boundary)
            .send()
            .await
            .map_err(|error| ApiError::of(PUT_BOUNDARY, &error))?;
    }
    if !before.has_policy {
        let answer = client
            .attach_customer_managed_policy_reference_to_permission_set()
            .instance_arn(instance)
            .permission_set_arn(arn)
            .customer_managed_policy_reference(reference(&set.policy, PATH))
            .send()
            .await
            .map_err(|error| ApiError::of(ATTACH, &error));
        match answer {
            Err(error) if error.code.as_deref() != Some(THERE) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

async fn delete(site: &Site, arn: &str, lane: Lane) -> Result<String, ApiError> {
    let answer = site
        .access(lane)
        .await?
        .sso_admin()
        .delete_permission_set()
        .instance_arn(&site.instance(lane).await?.arn)
        .permission_set_arn(arn)
        .customize()
        .config_override(once())
        .send()
        .await;
    Answer::of(DELETE, answer).map(|done| done.request)
}
