//! Groups of IAM Identity Center, with who is in them.

use async_trait::async_trait;
use aws_sdk_identitystore::types::{Group, MemberId};
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::{
    Collector, Ground, Page, ResourceType, Way, attributes,
    identity_center::{LIST_INSTANCES, Place, THINGS_AT_ONCE},
    named_in,
};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach},
};

const LIST_GROUPS: &str = "identitystore:ListGroups";
const LIST_MEMBERS: &str = "identitystore:ListGroupMemberships";

/// The most that a page may hold.
const PAGE_GROUPS: i32 = 100;
/// Members that are named; of a larger group, these are the first by id.
const MEMBERS_NAMED: usize = 1000;

/// Reads groups.
pub(super) struct Groups;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-identity-center-group",
    display_name: "Identity Center group",
    permissions: &[],
    way_in: Way::NONE,
    attributes: &[
        ("description", "What its owner says about it."),
        ("external_id", "Id at the identity provider that the group comes from."),
        ("group_id", "Id in the identity store, by which access is granted."),
        ("member_count", "How many users are in it."),
        ("members", "Ids of the users in it; of a larger group, the first thousand."),
    ],
}];

#[async_trait]
impl Collector for Groups {
    fn name(&self) -> &'static str {
        "identity_center_group"
    }

    fn reach(&self) -> Reach {
        Reach::Organization
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_INSTANCES, LIST_GROUPS, LIST_MEMBERS]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let place = Place::of(ground, token).await?;
        let answer = place
            .access
            .identity_store()
            .list_groups()
            .identity_store_id(&place.instance.identity_store)
            .max_results(PAGE_GROUPS)
            .set_next_token(place.token.clone())
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_GROUPS, &error))?;
        let next = place.next(answer.next_token());
        let resources = stream::iter(answer.groups)
            .map(|found| group(&place, found))
            .buffered(THINGS_AT_ONCE)
            .collect()
            .await;
        Ok(Page { resources, next, ..Page::default() })
    }
}

async fn group(place: &Place, found: Group) -> Resource {
    let id = found.group_id;
    let arn = place.access.partition().arn("identitystore", "", "", &format!("group/{id}"));
    let name = found.display_name.unwrap_or_else(|| id.clone());
    let mut resource = named_in(&place.access, &TYPES[0], arn, name);
    let external_id = found.external_ids.as_deref().unwrap_or_default().first();
    let mut known = [
        ("description", found.description.map(|text| json!(text))),
        ("external_id", external_id.map(|external| json!(external.id))),
        ("group_id", Some(json!(id))),
        ("member_count", None),
        ("members", None),
    ];
    match members(place, &id).await {
        Ok(mut members) => {
            members.sort_unstable();
            known[3].1 = Some(json!(members.len()));
            members.truncate(MEMBERS_NAMED);
            known[4].1 = (!members.is_empty()).then(|| json!(members));
        }
        Err(error) => {
            let names = ["member_count", "members"].map(str::to_owned);
            resource.unread.extend(names.map(|name| (name, error.reason.code)));
        }
    }
    resource.attributes = attributes(known);
    resource
}

async fn members(place: &Place, group: &str) -> Result<Vec<String>, ApiError> {
    let mut items = place
        .access
        .identity_store()
        .list_group_memberships()
        .identity_store_id(&place.instance.identity_store)
        .group_id(group)
        .into_paginator()
        .items()
        .send();
    let mut members = Vec::new();
    while let Some(membership) = items.next().await {
        let membership = membership.map_err(|error| ApiError::of(LIST_MEMBERS, &error))?;
        if let Some(MemberId::UserId(user)) = membership.member_id {
            members.push(user);
        }
    }
    Ok(members)
}
