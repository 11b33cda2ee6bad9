//! A permission set that somebody's access stands in.
//!
//! AWS gives it an ARN and finds none by its name, so the ARN is remembered. Names are unique in an
//! instance: whether a set was made whose ARN nobody knows is told by making it again.

use aws_sdk_ssoadmin::{
    Client,
    config::retry::RetryConfig,
    types::{CustomerManagedPolicyReference, PermissionsBoundary, Tag},
};
use aws_types::request_id::RequestId as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{Answer, Look},
    BOUNDARY, Mark, SESSION, not_ours,
};
use crate::{
    access::site::Site,
    aws::ApiError,
    model::{
        failure::Lane,
        target::{Intent, Verb},
    },
};

pub(super) const CREATE: &str = "sso:CreatePermissionSet";
pub(super) const DELETE: &str = "sso:DeletePermissionSet";
pub(super) const DESCRIBE: &str = "sso:DescribePermissionSet";
pub(super) const GET_BOUNDARY: &str = "sso:GetPermissionsBoundaryForPermissionSet";
pub(super) const LIST: &str = "sso:ListPermissionSets";
pub(super) const LIST_TAGS: &str = "sso:ListTagsForResource";
pub(super) const PUT_BOUNDARY: &str = "sso:PutPermissionsBoundaryToPermissionSet";

/// How AWS says that something is not there, and that it is there already.
pub(super) const GONE: &str = "ResourceNotFoundException";
pub(super) const THERE: &str = "ConflictException";
/// Pages of a list at most: more than there are of any.
pub(super) const PAGES_MAX: usize = 100;

/// One by its name.
#[derive(Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) mark: Mark,
    pub(super) person: String,
    /// What AWS has told; none: it was not made, or nobody knows.
    #[serde(default, rename = "permission_set", skip_serializing_if = "Option::is_none")]
    pub(super) arn: Option<String>,
}

/// What others need to know.
pub(super) fn facts(arn: &str) -> Value {
    json!({ "permission_set": arn })
}

impl Named {
    /// Its ARN; none: it is not there.
    pub(super) async fn seen(
        &self,
        site: &Site,
        look: &Look<'_>,
        lane: Lane,
    ) -> Result<Option<String>, ApiError> {
        let is_lost = |intent: &Intent| intent.verb == Verb::Create && intent.request.is_none();
        let may_have_another =
            look.target.doubt.create || look.target.intent.as_ref().is_some_and(is_lost);
        match &self.arn {
            Some(arn) if name_of(site, arn, lane).await?.is_some() => Ok(Some(arn.clone())),
            _ if may_have_another => find(site, self, lane).await,
            _ => Ok(None),
        }
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
async fn find(site: &Site, set: &Named, lane: Lane) -> Result<Option<String>, ApiError> {
    let (client, instance) = client(site, lane).await?;
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
async fn is_ours(site: &Site, set: &Named, arn: &str, lane: Lane) -> Result<String, ApiError> {
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

/// A second attempt in the SDK would meet what the first one made.
pub(super) fn once() -> aws_sdk_ssoadmin::config::Builder {
    aws_sdk_ssoadmin::config::Builder::new().retry_config(RetryConfig::disabled())
}

/// Makes a set, or finds that it was made; its ARN, and the id of the request.
pub(super) async fn make(
    site: &Site,
    set: &Named,
    lane: Lane,
) -> Result<(String, String), ApiError> {
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

/// Removes a set; its ARN, and the id of the request.
pub(super) async fn delete(
    site: &Site,
    set: &Named,
    lane: Lane,
) -> Result<(String, String), ApiError> {
    let Some(arn) = &set.arn else {
        return Err(ApiError::answered(DELETE, GONE, "its ARN is not known", 400));
    };
    let (client, instance) = client(site, lane).await?;
    let call = client.delete_permission_set().instance_arn(instance).permission_set_arn(arn);
    let answer = call.customize().config_override(once()).send().await;
    Ok((arn.clone(), Answer::of(DELETE, answer)?.request))
}

/// The client of an instance, and the ARN of that.
pub(super) async fn client(site: &Site, lane: Lane) -> Result<(&Client, &str), ApiError> {
    Ok((site.access(lane).await?.sso_admin(), &site.instance(lane).await?.arn))
}

/// A reference to a policy of the account by its name.
pub(super) fn reference(name: &str, path: &str) -> CustomerManagedPolicyReference {
    CustomerManagedPolicyReference::builder()
        .name(name)
        .path(path)
        .build()
        .expect("a reference with a name is whole")
}

/// Whether the boundary caps a set.
pub(super) async fn has_boundary(site: &Site, arn: &str, lane: Lane) -> Result<bool, ApiError> {
    let (client, instance) = client(site, lane).await?;
    let boundary = client
        .get_permissions_boundary_for_permission_set()
        .instance_arn(instance)
        .permission_set_arn(arn)
        .send()
        .await;
    match boundary.map_err(|error| ApiError::of(GET_BOUNDARY, &error)) {
        Ok(found) => Ok(found
            .permissions_boundary()
            .and_then(|found| found.customer_managed_policy_reference())
            .is_some_and(|found| found.name() == BOUNDARY)),
        Err(error) if error.code.as_deref() == Some(GONE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Caps a set. That comes first: without it nothing is to be allowed.
pub(super) async fn put_boundary(site: &Site, arn: &str, lane: Lane) -> Result<(), ApiError> {
    let (client, instance) = client(site, lane).await?;
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
    Ok(())
}
