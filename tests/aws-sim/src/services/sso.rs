//! IAM Identity Center: its instance and permission sets.

use serde_json::{Value, json};

use super::{page, sso_assignments, sso_provisioning, sso_sets, things, unknown};
use crate::{
    answer::{Answer, Refusal},
    directory::{Boundary, PermissionSet},
    identity::Session,
    request::Call,
    world::{Organization, World},
};

/// Without a wish, AWS gives so many.
const PAGE_ITEMS: usize = 100;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 2;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let organization = organization(world, session, call);
    if call.operation == "ListInstances" {
        return Ok(instances(organization));
    }
    let organization = organization
        .filter(|organization| call.text("InstanceArn") == instance(organization))
        .ok_or_else(|| missing("instance"))?;
    let id = organization.id.clone();
    world.settle(&id);
    if sso_assignments::is_about(call) {
        return sso_assignments::answer(world, session, call, &id);
    }
    if sso_sets::is_about(call) {
        return sso_sets::answer(world, call, &id);
    }
    if sso_provisioning::is_about(call) {
        return sso_provisioning::answer(world, session, call, &id);
    }
    let organization = &world.organizations[&id];
    let lists = Lists { world, session, call };
    if call.operation == "ListPermissionSets" {
        let sets = &organization.directory.permission_sets;
        let arns: Vec<Value> = sets.iter().map(|set| json!(arn(organization, &set.id))).collect();
        return lists.page("PermissionSets", &arns);
    }
    let named = match call.operation.as_str() {
        "ListTagsForResource" => call.text("ResourceArn"),
        _ => call.text("PermissionSetArn"),
    };
    let set = permission_set(organization, named)?;
    match call.operation.as_str() {
        "DescribePermissionSet" => {
            Ok(Answer::json(&json!({ "PermissionSet": shown(organization, set) })))
        }
        "ListManagedPoliciesInPermissionSet" => {
            let policies: Vec<Value> = set
                .managed
                .iter()
                .map(|arn| json!({ "Arn": arn, "Name": arn.rsplit('/').next() }))
                .collect();
            lists.page("AttachedManagedPolicies", &policies)
        }
        "ListCustomerManagedPolicyReferencesInPermissionSet" => {
            let policies: Vec<Value> = set
                .customer_managed
                .iter()
                .map(|policy| json!({ "Name": policy.name, "Path": policy.path }))
                .collect();
            lists.page("CustomerManagedPolicyReferences", &policies)
        }
        "GetInlinePolicyForPermissionSet" => {
            Ok(Answer::json(&json!({ "InlinePolicy": set.inline })))
        }
        "GetPermissionsBoundaryForPermissionSet" => {
            let boundary = match &set.boundary {
                None => return Err(missing("permissions boundary")),
                Some(Boundary::Managed(arn)) => json!({ "ManagedPolicyArn": arn }),
                Some(Boundary::Customer(policy)) => {
                    let policy = json!({ "Name": policy.name, "Path": policy.path });
                    json!({ "CustomerManagedPolicyReference": policy })
                }
            };
            Ok(Answer::json(&json!({ "PermissionsBoundary": boundary })))
        }
        "ListTagsForResource" => {
            let tags = things::list(&set.tags);
            Ok(Answer::json_text(format!("{{\"Tags\":{tags}}}")))
        }
        _ => Err(unknown(call)),
    }
}

/// The organization of the caller, if its instance lies where the call goes: it shows in no
/// other region.
pub(super) fn organization<'a>(
    world: &'a World,
    session: &Session,
    call: &Call,
) -> Option<&'a Organization> {
    world.organization_of(&session.account).filter(|o| o.sso_region == call.region)
}

/// The id of the identity store.
pub(super) fn identity_store(organization: &Organization) -> String {
    format!("d-{}", &organization.id[2..])
}

/// The ARN of the instance.
pub(super) fn instance(organization: &Organization) -> String {
    format!("arn:{}:sso:::instance/ssoins-{}", organization.partition, &organization.id[2..])
}

/// The ARN of a permission set.
pub(super) fn arn(organization: &Organization, set: &str) -> String {
    let instance = instance(organization).replace(":instance/", ":permissionSet/");
    format!("{instance}/{set}")
}

/// The permission set with an ARN.
pub(super) fn permission_set<'a>(
    organization: &'a Organization,
    named: &str,
) -> Result<&'a PermissionSet, Refusal> {
    let mut sets = organization.directory.permission_sets.iter();
    sets.find(|set| arn(organization, &set.id) == named).ok_or_else(|| missing("permission set"))
}

pub(super) fn missing(what: &str) -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", format!("Could not find the {what}"))
}

fn instances(organization: Option<&Organization>) -> Answer {
    let instances: Vec<_> = organization
        .into_iter()
        .map(|organization| {
            json!({
                "InstanceArn": instance(organization),
                "IdentityStoreId": identity_store(organization),
                "OwnerAccountId": organization.management,
                "Status": "ACTIVE",
            })
        })
        .collect();
    Answer::json(&json!({ "Instances": instances }))
}

/// A permission set, as answers show it.
pub(super) fn shown(organization: &Organization, set: &PermissionSet) -> Value {
    let length = Some(set.session_duration.as_str()).filter(|length| !length.is_empty());
    let mut shown = json!({
        "Name": set.name,
        "PermissionSetArn": arn(organization, &set.id),
        "CreatedDate": set.created.timestamp(),
        "SessionDuration": length.unwrap_or("PT1H"),
    });
    if !set.description.is_empty() {
        shown["Description"] = json!(set.description);
    }
    shown
}

/// Lists of a call.
pub(super) struct Lists<'a> {
    pub(super) world: &'a World,
    pub(super) session: &'a Session,
    pub(super) call: &'a Call,
}

impl Lists<'_> {
    /// One page of a list.
    pub(super) fn page(&self, name: &str, items: &[Value]) -> Result<Answer, Refusal> {
        let asked = self.call.json["MaxResults"].as_u64().and_then(|n| usize::try_from(n).ok());
        let (items, next) = page(
            &self.session.account,
            self.call,
            items,
            self.world.page_items(asked.unwrap_or(PAGE_ITEMS), PAGE_GIVEN_MAX),
            self.world.begins_with_empty_pages,
        )?;
        let mut answer = json!({ name: items });
        if let Some(next) = next {
            answer["NextToken"] = json!(next);
        }
        Ok(Answer::json(&answer))
    }
}
