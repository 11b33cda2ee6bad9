//! Permission sets of IAM Identity Center: what a person may become in an account.

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    Collector, Ground, Page, ResourceType, Way,
    identity_center::{LIST_INSTANCES, Place, THINGS_AT_ONCE},
    name_of, named_in, sorted, time,
};
use crate::{
    aws::ApiError,
    model::{
        proof::PageToken,
        resource::{NAME, Resource, TAGS, Tags},
        scope::Reach,
    },
};

const LIST_SETS: &str = "sso:ListPermissionSets";
const DESCRIBE_SET: &str = "sso:DescribePermissionSet";
const LIST_MANAGED: &str = "sso:ListManagedPoliciesInPermissionSet";
const LIST_CUSTOMER: &str = "sso:ListCustomerManagedPolicyReferencesInPermissionSet";
const GET_INLINE: &str = "sso:GetInlinePolicyForPermissionSet";
const GET_BOUNDARY: &str = "sso:GetPermissionsBoundaryForPermissionSet";
const LIST_TAGS: &str = "sso:ListTagsForResource";
const LIST_ACCOUNTS: &str = "sso:ListAccountsForProvisionedPermissionSet";

/// The most that a page may hold.
const PAGE_SETS: i32 = 100;

/// Reads permission sets.
pub(super) struct PermissionSets;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-identity-center-permission-set",
    display_name: "Identity Center permission set",
    permissions: &[],
    way_in: Way::NONE,
    attributes: &[
        ("accounts", "Ids of the accounts that it is provisioned in."),
        ("creation_time", "When it was created, RFC 3339, UTC."),
        (
            "customer_managed_policies",
            "Path and name of the customer-managed policies that it refers to.",
        ),
        ("description", "What its owner says about it."),
        ("inline_policy", "Whether it has a policy of its own."),
        ("managed_policies", "ARNs of the AWS managed policies in it."),
        ("permissions_boundary", "ARN, or path and name, of the policy that bounds it."),
        ("session_duration", "How long a session lasts, ISO 8601."),
    ],
}];

#[async_trait]
impl Collector for PermissionSets {
    fn name(&self) -> &'static str {
        "permission_set"
    }

    fn reach(&self) -> Reach {
        Reach::Organization
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[
            LIST_INSTANCES,
            LIST_SETS,
            DESCRIBE_SET,
            LIST_MANAGED,
            LIST_CUSTOMER,
            GET_INLINE,
            GET_BOUNDARY,
            LIST_TAGS,
            LIST_ACCOUNTS,
        ]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let place = Place::of(ground, token).await?;
        let answer = place
            .access
            .sso_admin()
            .list_permission_sets()
            .instance_arn(&place.instance.arn)
            .max_results(PAGE_SETS)
            .set_next_token(place.token.clone())
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_SETS, &error))?;
        let next = place.next(answer.next_token());
        let resources = stream::iter(answer.permission_sets.unwrap_or_default())
            .map(|arn| Set { place: &place, arn }.read())
            .buffered(THINGS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        Ok(Page { resources, next, ..Page::default() })
    }
}

/// One set, of which the list told the ARN alone.
struct Set<'a> {
    place: &'a Place,
    arn: String,
}

impl Set<'_> {
    /// None: it has gone since it was listed.
    async fn read(self) -> Option<Resource> {
        let kind = &TYPES[0];
        let mut resource =
            named_in(&self.place.access, kind, self.arn.clone(), name_of(None, &self.arn));
        match self.described(&mut resource).await {
            Ok(()) => {}
            Err(error) if error.code.as_deref() == Some("ResourceNotFoundException") => {
                return None;
            }
            Err(error) => {
                let names = [NAME, "creation_time", "description", "session_duration"];
                unread(&mut resource, &names, &error);
            }
        }
        let found = [
            ("accounts", self.accounts().await),
            ("customer_managed_policies", self.customer_managed().await),
            ("inline_policy", self.inline().await),
            ("managed_policies", self.managed().await),
            ("permissions_boundary", self.boundary().await),
        ];
        for (name, found) in found {
            match found {
                Ok(Value::Null) => {}
                Ok(value) => {
                    resource.attributes.insert(name.to_owned(), value);
                }
                Err(error) => unread(&mut resource, &[name], &error),
            }
        }
        match self.tags().await {
            Ok(tags) => resource.tags = tags,
            Err(error) => unread(&mut resource, &[TAGS], &error),
        }
        Some(resource)
    }

    async fn described(&self, resource: &mut Resource) -> Result<(), ApiError> {
        let answer = self
            .place
            .access
            .sso_admin()
            .describe_permission_set()
            .instance_arn(&self.place.instance.arn)
            .permission_set_arn(&self.arn)
            .send()
            .await
            .map_err(|error| ApiError::of(DESCRIBE_SET, &error))?;
        let Some(set) = answer.permission_set else { return Ok(()) };
        if let Some(name) = set.name {
            resource.name = name;
        }
        resource.attributes = super::attributes([
            ("creation_time", time(set.created_date)),
            ("description", set.description.map(|text| json!(text))),
            ("session_duration", set.session_duration.map(|length| json!(length))),
        ]);
        Ok(())
    }

    async fn managed(&self) -> Result<Value, ApiError> {
        let mut items = self
            .place
            .access
            .sso_admin()
            .list_managed_policies_in_permission_set()
            .instance_arn(&self.place.instance.arn)
            .permission_set_arn(&self.arn)
            .into_paginator()
            .items()
            .send();
        let mut arns = Vec::new();
        while let Some(policy) = items.next().await {
            let policy = policy.map_err(|error| ApiError::of(LIST_MANAGED, &error))?;
            arns.extend(policy.arn);
        }
        Ok(sorted(arns).unwrap_or_default())
    }

    async fn customer_managed(&self) -> Result<Value, ApiError> {
        let mut items = self
            .place
            .access
            .sso_admin()
            .list_customer_managed_policy_references_in_permission_set()
            .instance_arn(&self.place.instance.arn)
            .permission_set_arn(&self.arn)
            .into_paginator()
            .items()
            .send();
        let mut names = Vec::new();
        while let Some(policy) = items.next().await {
            let policy = policy.map_err(|error| ApiError::of(LIST_CUSTOMER, &error))?;
            names.push(format!("{}{}", policy.path.unwrap_or_default(), policy.name));
        }
        Ok(sorted(names).unwrap_or_default())
    }

    async fn inline(&self) -> Result<Value, ApiError> {
        let answer = self
            .place
            .access
            .sso_admin()
            .get_inline_policy_for_permission_set()
            .instance_arn(&self.place.instance.arn)
            .permission_set_arn(&self.arn)
            .send()
            .await
            .map_err(|error| ApiError::of(GET_INLINE, &error))?;
        Ok(json!(answer.inline_policy.is_some_and(|policy| !policy.is_empty())))
    }

    /// A set without one answers that there is none.
    async fn boundary(&self) -> Result<Value, ApiError> {
        let asked = self
            .place
            .access
            .sso_admin()
            .get_permissions_boundary_for_permission_set()
            .instance_arn(&self.place.instance.arn)
            .permission_set_arn(&self.arn)
            .send()
            .await;
        let answer = match asked.map_err(|error| ApiError::of(GET_BOUNDARY, &error)) {
            Ok(answer) => answer,
            Err(error) if error.code.as_deref() == Some("ResourceNotFoundException") => {
                return Ok(Value::Null);
            }
            Err(error) => return Err(error),
        };
        let Some(boundary) = answer.permissions_boundary else { return Ok(Value::Null) };
        let customer = boundary
            .customer_managed_policy_reference
            .map(|policy| format!("{}{}", policy.path.unwrap_or_default(), policy.name));
        Ok(boundary.managed_policy_arn.or(customer).map_or(Value::Null, Value::from))
    }

    async fn accounts(&self) -> Result<Value, ApiError> {
        let mut items = self
            .place
            .access
            .sso_admin()
            .list_accounts_for_provisioned_permission_set()
            .instance_arn(&self.place.instance.arn)
            .permission_set_arn(&self.arn)
            .into_paginator()
            .items()
            .send();
        let mut ids = Vec::new();
        while let Some(id) = items.next().await {
            ids.push(id.map_err(|error| ApiError::of(LIST_ACCOUNTS, &error))?);
        }
        Ok(sorted(ids).unwrap_or_default())
    }

    async fn tags(&self) -> Result<Tags, ApiError> {
        let mut items = self
            .place
            .access
            .sso_admin()
            .list_tags_for_resource()
            .instance_arn(&self.place.instance.arn)
            .resource_arn(&self.arn)
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
}

fn unread(resource: &mut Resource, names: &[&str], error: &ApiError) {
    resource.unread.extend(names.iter().map(|name| ((*name).to_owned(), error.reason.code)));
}
