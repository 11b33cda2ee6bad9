//! IAM users, groups, roles and customer-managed policies.
//!
//! One pass over an account's authorization details yields them all, in pages of up to a
//! thousand. It tells the tags of users and roles; those of policies take a call each (the
//! tagging API cannot be relied on for IAM), and groups have none.

use async_trait::async_trait;
use aws_sdk_iam::types::{
    AttachedPermissionsBoundary, AttachedPolicy, EntityType, GroupDetail, ManagedPolicyDetail,
    PolicyDetail, RoleDetail, Tag, UserDetail,
};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    CALLS_AT_ONCE, Collector, Ending, Grantable, Ground, Level, Page, ResourceType, Way,
    attributes, here, name_of, sorted, time,
};
use crate::{
    aws::ApiError,
    model::{
        arn::OUR_PREFIX,
        proof::PageToken,
        refusal::{Refusal, RefusalCode},
        resource::{Resource, TAGS, Tags},
        scope::Reach,
        statement::{Operator, Statement, allow},
        trust::Trust,
    },
    store::resources::Stored,
};

const GET_DETAILS: &str = "iam:GetAccountAuthorizationDetails";
const LIST_POLICY_TAGS: &str = "iam:ListPolicyTags";

/// The most that a page may hold.
const PAGE_ITEMS: i32 = 1000;
/// Path of the roles that AWS services make for themselves.
const SERVICE_LINKED: &str = "/aws-service-role/";
/// Path of the roles that AWS keeps for itself: those of Identity Center.
const RESERVED: &str = "/aws-reserved/";

/// Reads all four.
pub(super) struct AuthorizationDetails;

const TYPES: &[ResourceType] = &[
    ResourceType {
        id: "aws-iam-group",
        display_name: "IAM group",
        permissions: &[],
        way_in: Way::NONE,
        attributes: &[
            CREATION_TIME,
            ("inline_policies", "Names of the policies that are written into it."),
            ("managed_policies", "ARNs of the policies that are attached to it."),
            PATH,
        ],
    },
    ResourceType {
        id: "aws-iam-policy",
        display_name: "IAM customer-managed policy",
        permissions: &[],
        way_in: Way::NONE,
        attributes: &[
            ("attachments", "How many users, groups and roles it is attached to."),
            CREATION_TIME,
            ("default_version", "Version that is in force."),
            PATH,
            ("update_time", "When its default version changed last, RFC 3339, UTC."),
        ],
    },
    ResourceType {
        id: "aws-iam-role",
        display_name: "IAM role",
        permissions: &[ASSUME],
        way_in: Way::NONE,
        attributes: &[
            CREATION_TIME,
            ("inline_policies", "Names of the policies that are written into it."),
            (
                "kind",
                "`customer`; `service_linked`: an AWS service made it for itself; `reserved`: Identity Center made it.",
            ),
            ("last_used", "Day on which it was used last, as far as IAM looks back (400 days)."),
            ("managed_policies", "ARNs of the policies that are attached to it."),
            PATH,
            ("permissions_boundary", "ARN of the policy that bounds it."),
            ("trust_conditions", "Condition keys that its trust policy asks for."),
            ("trusted_principals", "Whom its trust policy lets in."),
        ],
    },
    ResourceType {
        id: "aws-iam-user",
        display_name: "IAM user",
        permissions: &[],
        way_in: Way::NONE,
        attributes: &[
            CREATION_TIME,
            ("groups", "Names of its groups."),
            ("inline_policies", "Names of the policies that are written into it."),
            ("managed_policies", "ARNs of the policies that are attached to it."),
            PATH,
            ("permissions_boundary", "ARN of the policy that bounds it."),
        ],
    },
];

const ASSUME: Grantable = Grantable::of(
    "ASSUME",
    Level::Write,
    "Assume it, under the person's id as the name of the session; sessions that are open at the end go on for an hour at most",
    assume,
)
.ending(
    Ending::Hour,
    Way {
        console: "",
        command: "aws sts assume-role --role-arn {arn} --role-session-name {user}",
    },
);

/// Allows to assume a role. Roles that AWS keeps or makes for itself are nobody's, and our own are
/// not given away.
fn assume(on: &Stored) -> Result<Vec<Statement>, Refusal> {
    let unfit = |why: &str| {
        let finding = format!("{} {why}", on.arn);
        Err(Refusal::new(RefusalCode::ResourceUnfit, finding))
    };
    match on.attributes["kind"].as_str() {
        Some("customer") => {}
        Some("service_linked") => return unfit("was made by an AWS service for itself"),
        Some("reserved") => {
            return unfit("was made by Identity Center; ask for its permission set");
        }
        Some(_) | None => return unfit("is of a kind that was not read"),
    }
    if on.name.starts_with(OUR_PREFIX) {
        return unfit("is one of the connector's own");
    }
    let assume = allow(&["sts:AssumeRole"]).on([&on.arn]);
    let named_so = "${identitystore:UserId}";
    Ok(vec![assume.when(Operator::StringEquals, "sts:RoleSessionName", [named_so])])
}

const PATH: (&str, &str) = ("path", "Path in IAM: `/`, unless somebody chose one.");
const CREATION_TIME: (&str, &str) = ("creation_time", "When it was created, RFC 3339, UTC.");
const GROUP: &ResourceType = &TYPES[0];
const POLICY: &ResourceType = &TYPES[1];
const ROLE: &ResourceType = &TYPES[2];
const USER: &ResourceType = &TYPES[3];

#[async_trait]
impl Collector for AuthorizationDetails {
    fn name(&self) -> &'static str {
        "iam"
    }

    fn reach(&self) -> Reach {
        Reach::Account
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[GET_DETAILS, LIST_POLICY_TAGS]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let wanted = [
            (GROUP, EntityType::Group),
            (POLICY, EntityType::LocalManagedPolicy),
            (ROLE, EntityType::Role),
            (USER, EntityType::User),
        ];
        let wanted = wanted
            .into_iter()
            .filter(|(kind, _)| ground.settings.resource_types.contains(kind.id))
            .map(|(_, entity)| entity);
        let answer = ground
            .access
            .iam()
            .get_account_authorization_details()
            .max_items(PAGE_ITEMS)
            .set_filter(Some(wanted.collect()))
            .set_marker(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(GET_DETAILS, &error))?;
        let next = PageToken::of(answer.marker());
        let groups = answer.group_detail_list.unwrap_or_default().into_iter();
        let roles = answer.role_detail_list.unwrap_or_default().into_iter();
        let users = answer.user_detail_list.unwrap_or_default().into_iter();
        let policies: Vec<Option<Resource>> = stream::iter(answer.policies.unwrap_or_default())
            .map(|found| policy(ground, found))
            .buffered(CALLS_AT_ONCE)
            .collect()
            .await;
        let found = groups
            .map(|found| group(ground, found))
            .chain(policies)
            .chain(roles.map(|found| role(ground, found)))
            .chain(users.map(|found| user(ground, found)));
        Page::of(GET_DETAILS, found, next)
    }
}

fn group(ground: &Ground<'_>, found: GroupDetail) -> Option<Resource> {
    let attributes = attributes([
        ("creation_time", time(found.create_date)),
        ("inline_policies", inline(found.group_policy_list)),
        ("managed_policies", managed(found.attached_managed_policies)),
        ("path", found.path.map(|path| json!(path))),
    ]);
    Some(Resource { attributes, ..global(ground, GROUP, found.arn?, found.group_name) })
}

async fn policy(ground: &Ground<'_>, found: ManagedPolicyDetail) -> Option<Resource> {
    let attributes = attributes([
        ("attachments", found.attachment_count.map(|count| json!(count))),
        ("creation_time", time(found.create_date)),
        ("default_version", found.default_version_id.map(|id| json!(id))),
        ("path", found.path.map(|path| json!(path))),
        ("update_time", time(found.update_date)),
    ]);
    let mut resource = global(ground, POLICY, found.arn?, found.policy_name);
    match policy_tags(ground, &resource.arn).await {
        Ok(tags) => resource.tags = tags,
        Err(error) => {
            resource.unread.insert(TAGS.to_owned(), error.reason.code);
        }
    }
    Some(Resource { attributes, ..resource })
}

async fn policy_tags(ground: &Ground<'_>, arn: &str) -> Result<Tags, ApiError> {
    let answer = ground
        .access
        .iam()
        .list_policy_tags()
        .policy_arn(arn)
        .send()
        .await
        .map_err(|error| ApiError::of(LIST_POLICY_TAGS, &error))?;
    // A policy has at most 50 tags, and a page holds 100.
    Ok(tags(Some(answer.tags)))
}

fn role(ground: &Ground<'_>, found: RoleDetail) -> Option<Resource> {
    let kind = match found.path.as_deref() {
        Some(path) if path.starts_with(SERVICE_LINKED) => "service_linked",
        Some(path) if path.starts_with(RESERVED) => "reserved",
        _ => "customer",
    };
    // A document that cannot be read tells nothing, which is not that it trusts nobody.
    let trust = found.assume_role_policy_document.as_deref().and_then(Trust::read);
    let conditions = trust.as_ref().map(|trust| trust.conditions.iter().cloned().collect());
    // To the day: a busy role would change its row with every sync.
    let last_used = time(found.role_last_used.and_then(|used| used.last_used_date));
    let last_used = last_used.as_ref().and_then(Value::as_str).and_then(|time| time.get(..10));
    let attributes = attributes([
        ("creation_time", time(found.create_date)),
        ("inline_policies", inline(found.role_policy_list)),
        ("kind", Some(json!(kind))),
        ("last_used", last_used.map(|day| json!(day))),
        ("managed_policies", managed(found.attached_managed_policies)),
        ("path", found.path.map(|path| json!(path))),
        ("permissions_boundary", boundary(found.permissions_boundary)),
        ("trust_conditions", conditions.and_then(sorted)),
        ("trusted_principals", trust.map(|trust| json!(trust.principals))),
    ]);
    let tags = tags(found.tags);
    Some(Resource { tags, attributes, ..global(ground, ROLE, found.arn?, found.role_name) })
}

fn user(ground: &Ground<'_>, found: UserDetail) -> Option<Resource> {
    let attributes = attributes([
        ("creation_time", time(found.create_date)),
        ("groups", sorted(found.group_list.unwrap_or_default())),
        ("inline_policies", inline(found.user_policy_list)),
        ("managed_policies", managed(found.attached_managed_policies)),
        ("path", found.path.map(|path| json!(path))),
        ("permissions_boundary", boundary(found.permissions_boundary)),
    ]);
    let tags = tags(found.tags);
    Some(Resource { tags, attributes, ..global(ground, USER, found.arn?, found.user_name) })
}

/// IAM knows no regions.
fn global(ground: &Ground<'_>, kind: &ResourceType, arn: String, name: Option<String>) -> Resource {
    let name = name_of(name, &arn);
    Resource { region: None, ..here(ground, kind, arn, name) }
}

fn inline(policies: Option<Vec<PolicyDetail>>) -> Option<Value> {
    sorted(policies?.into_iter().filter_map(|policy| policy.policy_name).collect())
}

fn managed(policies: Option<Vec<AttachedPolicy>>) -> Option<Value> {
    sorted(policies?.into_iter().filter_map(|policy| policy.policy_arn).collect())
}

fn boundary(boundary: Option<AttachedPermissionsBoundary>) -> Option<Value> {
    boundary?.permissions_boundary_arn.map(Value::from)
}

fn tags(tags: Option<Vec<Tag>>) -> Tags {
    tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}
