//! Users of IAM Identity Center: who receives access.

use async_trait::async_trait;
use aws_sdk_identitystore::types::{User, UserStatus};
use serde_json::json;

use super::{
    Collector, Ground, Page, ResourceType, Way, attributes,
    identity_center::{LIST_INSTANCES, Place},
    named_in,
};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach},
};

const LIST_USERS: &str = "identitystore:ListUsers";

/// The most that a page may hold.
const PAGE_USERS: i32 = 100;

/// Reads users.
pub(super) struct Users;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-identity-center-user",
    display_name: "Identity Center user",
    permissions: &[],
    way_in: Way::NONE,
    attributes: &[
        ("disabled", "Whether somebody has disabled the user."),
        ("display_name", "Name for people."),
        ("email", "Primary e-mail address."),
        ("external_id", "Id at the identity provider that the user comes from."),
        ("user_id", "Id in the identity store, by which access is granted."),
    ],
}];

#[async_trait]
impl Collector for Users {
    fn name(&self) -> &'static str {
        "identity_center_user"
    }

    fn reach(&self) -> Reach {
        Reach::Organization
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_INSTANCES, LIST_USERS]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let place = Place::of(ground, token).await?;
        let answer = place
            .access
            .identity_store()
            .list_users()
            .identity_store_id(&place.instance.identity_store)
            .max_results(PAGE_USERS)
            .set_next_token(place.token.clone())
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_USERS, &error))?;
        let next = place.next(answer.next_token());
        let resources = answer.users.into_iter().map(|found| user(&place, found)).collect();
        Ok(Page { resources, next, ..Page::default() })
    }
}

fn user(place: &Place, found: User) -> Resource {
    let emails = found.emails.as_deref().unwrap_or_default();
    let email = emails.iter().find(|email| email.primary).or_else(|| emails.first());
    let external_id = found.external_ids.as_deref().unwrap_or_default().first();
    let attributes = attributes([
        ("disabled", Some(json!(found.user_status == Some(UserStatus::Disabled)))),
        ("display_name", found.display_name.as_deref().map(|name| json!(name))),
        ("email", email.and_then(|email| email.value.as_deref()).map(|value| json!(value))),
        ("external_id", external_id.map(|external| json!(external.id))),
        ("user_id", Some(json!(found.user_id))),
    ]);
    let id = found.user_id;
    let arn = place.access.partition().arn("identitystore", "", "", &format!("user/{id}"));
    let name = found.user_name.unwrap_or(id);
    Resource { attributes, ..named_in(&place.access, &TYPES[0], arn, name) }
}
