//! AWS accounts as resources: what a permission set is granted in.
//!
//! The list comes from the walk that the sync has just made; only tags are asked for
//! here. Accounts that are excluded, outside or not active are no resources.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use serde_json::{Map, json};

use super::{Collector, Ground, Page, ResourceType, Way};
use crate::{
    aws::ApiError,
    model::{
        ids::OuId,
        organization::{Account, Coverage},
        proof::PageToken,
        resource::{Resource, TAGS, Tags},
        scope::Reach,
    },
};

const LIST_TAGS: &str = "organizations:ListTagsForResource";
const PAGE_ACCOUNTS: usize = 50;
const TAG_CALLS_AT_ONCE: usize = 4;

/// Reads accounts.
pub(super) struct Accounts;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-account",
    display_name: "AWS account",
    permissions: &[],
    way_in: Way::NONE,
    attributes: &[
        ("email", "E-mail address of the account's root user."),
        ("path", "Ids from the root down to the account, joined by `/`."),
        ("state", "State in AWS Organizations: `ACTIVE`."),
    ],
}];

#[async_trait]
impl Collector for Accounts {
    fn name(&self) -> &'static str {
        "account"
    }

    fn reach(&self) -> Reach {
        Reach::Organization
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_TAGS]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        // The token is the id of the last account of the page before.
        let after = token.map_or("", |token| token.0.as_str());
        let mut rest = ground
            .accounts
            .iter()
            .filter(|account| is_shown(Coverage::of(account, ground.settings)))
            .filter(|account| account.id.as_str() > after)
            .cloned()
            .collect::<Vec<_>>();
        rest.sort_by(|a, b| a.id.cmp(&b.id));
        let is_last = rest.len() <= PAGE_ACCOUNTS;
        rest.truncate(PAGE_ACCOUNTS);

        let next =
            rest.last().filter(|_| !is_last).map(|account| PageToken(account.id.to_string()));
        let resources = stream::iter(rest)
            .map(|account| resource(ground, account))
            .buffered(TAG_CALLS_AT_ONCE)
            .collect()
            .await;
        Ok(Page { resources, next, ..Page::default() })
    }
}

/// Accounts that are crawled, and those whose state is not known: what we do not
/// understand is not gone.
fn is_shown(coverage: Coverage) -> bool {
    matches!(coverage, Coverage::Crawled | Coverage::UnknownState)
}

async fn resource(ground: &Ground<'_>, account: Account) -> Resource {
    let (tags, unread) = match tags(ground, &account).await {
        Ok(tags) => (tags, BTreeMap::new()),
        Err(error) => (Tags::new(), BTreeMap::from([(TAGS.to_owned(), error.reason.code)])),
    };
    let path = account.paths.first().into_iter().flatten().map(OuId::as_str).collect::<Vec<_>>();
    let attributes = Map::from_iter([
        ("email".to_owned(), json!(account.email)),
        ("path".to_owned(), json!(path.join("/"))),
        ("state".to_owned(), json!(account.state.as_str())),
    ]);
    Resource {
        arn: account.arn,
        kind: TYPES[0].id,
        account: account.id,
        region: None,
        name: account.name,
        tags,
        attributes,
        unread,
    }
}

async fn tags(ground: &Ground<'_>, account: &Account) -> Result<Tags, ApiError> {
    let mut items = ground
        .access
        .organizations()
        .list_tags_for_resource()
        .resource_id(account.id.as_str())
        .into_paginator()
        .items()
        .send();
    let mut tags = Tags::new();
    while let Some(tag) = items.next().await {
        let tag = tag.map_err(|error| ApiError::of(LIST_TAGS, &error))?;
        tags.insert(tag.key, tag.value);
    }
    Ok(tags)
}
