//! IAM Identity Center: permission sets are made, changed and removed. What is changed does not
//! reach the accounts by that ([`crate::provisioning`]).
//!
//! Sources: the API reference of IAM Identity Center, and its quotas page.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{sso, tags, unknown};
use crate::{
    answer::{Answer, Refusal},
    directory::{Boundary, PermissionSet},
    grammar,
    managed_policy::PolicyName,
    request::Call,
    world::{Organization, World},
};

const NAME_CHARACTERS_MAX: usize = 32;
const DESCRIPTION_CHARACTERS_MAX: usize = 700;
/// Customer managed policies that a set may refer to.
const POLICIES_MAX: usize = 20;
/// Characters of an inline policy, white space not counted.
const INLINE_CHARACTERS_MAX: usize = 10_240;
const SESSION_MINUTES_MIN: u32 = 60;
const SESSION_MINUTES_MAX: u32 = 12 * 60;
/// What ids begin at that calls make: no seeded set has one of them.
const FIRST_ID: u64 = 0xa000_0000_0000_0000;

/// Whether a call changes permission sets.
pub(super) fn is_about(call: &Call) -> bool {
    matches!(
        call.operation.as_str(),
        "AttachCustomerManagedPolicyReferenceToPermissionSet"
            | "CreatePermissionSet"
            | "DeleteInlinePolicyFromPermissionSet"
            | "DeletePermissionSet"
            | "DeletePermissionsBoundaryFromPermissionSet"
            | "DetachCustomerManagedPolicyReferenceFromPermissionSet"
            | "PutInlinePolicyToPermissionSet"
            | "PutPermissionsBoundaryToPermissionSet"
            | "TagResource"
            | "UntagResource"
    )
}

pub(super) fn answer(
    world: &mut World,
    call: &Call,
    organization: &str,
) -> Result<Answer, Refusal> {
    let now = world.clock.now();
    let found =
        world.organizations.get_mut(organization).ok_or_else(|| sso::missing("instance"))?;
    let is_tagging = matches!(call.operation.as_str(), "TagResource" | "UntagResource");
    let named = match call.operation.as_str() {
        "CreatePermissionSet" => return create(found, call, now),
        _ if is_tagging => call.text("ResourceArn"),
        _ => call.text("PermissionSetArn"),
    };
    let id = sso::permission_set(found, named)?.id.clone();
    if call.operation == "DeletePermissionSet" {
        delete(found, &id)?;
        return Ok(Answer::json(&json!({})));
    }
    if !is_tagging && found.directory.is_provisioning(&id) {
        return Err(conflict("The permission set is being provisioned."));
    }
    let mut sets = found.directory.permission_sets.iter_mut();
    let set = sets.find(|set| set.id == id).ok_or_else(|| sso::missing("permission set"))?;
    change(set, call)?;
    Ok(Answer::json(&json!({})))
}

fn change(set: &mut PermissionSet, call: &Call) -> Result<(), Refusal> {
    match call.operation.as_str() {
        "AttachCustomerManagedPolicyReferenceToPermissionSet" => attach(set, call)?,
        "DetachCustomerManagedPolicyReferenceFromPermissionSet" => {
            let policy = reference(&call.json)?;
            let at = set.customer_managed.iter().position(|one| *one == policy);
            let at = at.ok_or_else(|| sso::missing("customer managed policy reference"))?;
            set.customer_managed.remove(at);
        }
        "PutPermissionsBoundaryToPermissionSet" => set.boundary = Some(boundary(call)?),
        "DeletePermissionsBoundaryFromPermissionSet" => {
            let removed = set.boundary.take();
            removed.ok_or_else(|| sso::missing("permissions boundary"))?;
        }
        "PutInlinePolicyToPermissionSet" => put_inline(set, call)?,
        "DeleteInlinePolicyFromPermissionSet" => {
            if set.inline.is_empty() {
                return Err(sso::missing("inline policy"));
            }
            set.inline.clear();
        }
        "TagResource" => tags::put(&mut set.tags, call),
        "UntagResource" => tags::remove(&mut set.tags, call),
        _ => return Err(unknown(call)),
    }
    Ok(())
}

fn conflict(message: &str) -> Refusal {
    Refusal::new(400, "ConflictException", message)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationException", message)
}

fn quota(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ServiceQuotaExceededException", message)
}

fn is_name(name: &str, characters_max: usize) -> bool {
    (1..=characters_max).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c))
}

fn create(
    organization: &mut Organization,
    call: &Call,
    now: DateTime<Utc>,
) -> Result<Answer, Refusal> {
    let (name, description) = (call.text("Name"), call.text("Description"));
    if !is_name(name, NAME_CHARACTERS_MAX) {
        return Err(invalid(format!("{name:?} is no name of a permission set")));
    }
    if description.chars().count() > DESCRIPTION_CHARACTERS_MAX {
        return Err(invalid("the description is too long"));
    }
    let length = call.text("SessionDuration");
    if !length.is_empty() && !is_session_length(length) {
        return Err(invalid(format!("{length:?} is no length of a session")));
    }
    let directory = &mut organization.directory;
    if directory.permission_sets.iter().any(|set| set.name == name) {
        return Err(conflict(&format!("Permission set with name {name} already exists.")));
    }
    if directory.permission_sets.len() >= directory.limits.sets {
        return Err(quota(format!("There are {} permission sets.", directory.limits.sets)));
    }
    let mut set = PermissionSet {
        id: next_id(organization),
        name: name.to_owned(),
        description: description.to_owned(),
        created: now,
        session_duration: length.to_owned(),
        ..PermissionSet::default()
    };
    tags::put(&mut set.tags, call);
    let shown = sso::shown(organization, &set);
    organization.directory.sets_made += 1;
    organization.directory.permission_sets.push(set);
    Ok(Answer::json(&json!({ "PermissionSet": shown })))
}

/// The id of the next permission set.
pub(super) fn next_id(organization: &Organization) -> String {
    format!("ps-{:016x}", FIRST_ID + organization.directory.sets_made)
}

/// From one to twelve hours, in whole minutes: `PT1H30M`.
fn is_session_length(text: &str) -> bool {
    let minutes = || {
        let rest = text.strip_prefix("PT")?;
        let (hours, rest) = rest.split_once('H').unwrap_or(("0", rest));
        let minutes = if rest.is_empty() { "0" } else { rest.strip_suffix('M')? };
        Some(hours.parse::<u32>().ok()?.checked_mul(60)? + minutes.parse::<u32>().ok()?)
    };
    minutes().is_some_and(|minutes| (SESSION_MINUTES_MIN..=SESSION_MINUTES_MAX).contains(&minutes))
}

fn delete(organization: &mut Organization, id: &str) -> Result<(), Refusal> {
    let directory = &mut organization.directory;
    if directory.assignments.iter().any(|one| one.permission_set == id) {
        return Err(conflict("The permission set has account assignments."));
    }
    if directory.is_busy(id) {
        return Err(conflict("An operation on the permission set is under way."));
    }
    directory.permission_sets.retain(|set| set.id != id);
    Ok(())
}

fn attach(set: &mut PermissionSet, call: &Call) -> Result<(), Refusal> {
    let policy = reference(&call.json)?;
    if set.customer_managed.contains(&policy) {
        return Err(conflict("The customer managed policy is attached already."));
    }
    if set.customer_managed.len() + set.managed.len() >= POLICIES_MAX {
        return Err(quota(format!("The permission set has {POLICIES_MAX} policies.")));
    }
    set.customer_managed.push(policy);
    Ok(())
}

/// The policy that a `CustomerManagedPolicyReference` names; without a path, it lies in `/`.
fn reference(json: &Value) -> Result<PolicyName, Refusal> {
    let named = &json["CustomerManagedPolicyReference"];
    let (name, path) = (named["Name"].as_str().unwrap_or_default(), named["Path"].as_str());
    let path = path.unwrap_or("/");
    if !is_name(name, 128) || !path.starts_with('/') || !path.ends_with('/') {
        return Err(invalid(format!("{path}{name} is no path and name of a policy")));
    }
    Ok(PolicyName::new(path, name))
}

fn boundary(call: &Call) -> Result<Boundary, Refusal> {
    let named = &call.json["PermissionsBoundary"];
    match (named["ManagedPolicyArn"].as_str(), &named["CustomerManagedPolicyReference"]) {
        (Some(arn), Value::Null) => Ok(Boundary::Managed(arn.to_owned())),
        (None, Value::Object(_)) => reference(named).map(Boundary::Customer),
        _ => Err(invalid("a permissions boundary is one policy")),
    }
}

fn put_inline(set: &mut PermissionSet, call: &Call) -> Result<(), Refusal> {
    let document = call.text("InlinePolicy");
    if let Some(flaw) = grammar::flaw(document) {
        return Err(invalid(flaw));
    }
    if grammar::characters(document) > INLINE_CHARACTERS_MAX {
        return Err(quota(format!("An inline policy has {INLINE_CHARACTERS_MAX} characters.")));
    }
    document.clone_into(&mut set.inline);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::tests::{self, MEMBER, ORGANIZATION, USERS, world};

    const GUARD: &str = "{\"Statement\":{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\"}}";

    fn ask(world: &mut World, operation: &str, json: Value) -> Result<Value, Refusal> {
        tests::ask(world, "sso", operation, json)
    }

    fn code(answer: Result<Value, Refusal>) -> String {
        answer.expect_err("a refusal").code
    }

    /// A world with a permission set, and its ARN.
    fn made() -> (World, String) {
        let mut world = world();
        let asked = json!({
            "Name": "apono-ann",
            "Description": "Ann's",
            "SessionDuration": "PT2H",
            "Tags": [{ "Key": "by", "Value": "us" }],
        });
        let made = ask(&mut world, "CreatePermissionSet", asked).expect("a set");
        let arn = made["PermissionSet"]["PermissionSetArn"].as_str().expect("an ARN").to_owned();
        (world, arn)
    }

    fn of(arn: &str, field: &str, value: &Value) -> Value {
        json!({ "PermissionSetArn": arn, field: value })
    }

    fn policy(arn: &str, path: &str, name: &str) -> Value {
        of(arn, "CustomerManagedPolicyReference", &json!({ "Name": name, "Path": path }))
    }

    #[test]
    fn a_permission_set_is_made_read_and_removed() {
        let (mut world, arn) = made();
        let named = json!({ "PermissionSetArn": arn });
        let read = ask(&mut world, "DescribePermissionSet", named.clone()).expect("a set");
        let read = &read["PermissionSet"];
        assert_eq!(
            (&read["Name"], &read["SessionDuration"]),
            (&json!("apono-ann"), &json!("PT2H"))
        );
        assert_eq!(read["CreatedDate"], world.clock.now().timestamp());
        let tags = ask(&mut world, "ListTagsForResource", json!({ "ResourceArn": arn }));
        assert_eq!(tags.expect("tags")["Tags"], json!([{ "Key": "by", "Value": "us" }]));
        for (asked, refused) in [
            (json!({ "Name": "apono-ann" }), "ConflictException"),
            (json!({ "Name": "a".repeat(33) }), "ValidationException"),
            (json!({ "Name": "a b" }), "ValidationException"),
            (json!({ "Name": "b", "SessionDuration": "PT13H" }), "ValidationException"),
            (json!({ "Name": "b", "SessionDuration": "1H" }), "ValidationException"),
        ] {
            assert_eq!(code(ask(&mut world, "CreatePermissionSet", asked)), refused);
        }
        ask(&mut world, "DeletePermissionSet", named.clone()).expect("it is removed");
        let gone = ask(&mut world, "DescribePermissionSet", named);
        assert_eq!(code(gone), "ResourceNotFoundException");
        let again = ask(&mut world, "CreatePermissionSet", json!({ "Name": "apono-ann" }));
        assert_ne!(again.expect("a set")["PermissionSet"]["PermissionSetArn"], arn);
    }

    #[test]
    fn there_are_no_more_sets_than_the_instance_takes() {
        let (mut world, _) = made();
        let directory = &mut world.organizations.get_mut(ORGANIZATION).expect("one").directory;
        directory.limits.sets = directory.permission_sets.len();
        let refused = ask(&mut world, "CreatePermissionSet", json!({ "Name": "b" }));
        assert_eq!(code(refused), "ServiceQuotaExceededException");
    }

    #[test]
    fn a_set_with_assignments_or_an_operation_is_not_removed() {
        let (mut world, arn) = made();
        let directory = &mut world.organizations.get_mut(ORGANIZATION).expect("one").directory;
        directory.pace.takes = chrono::TimeDelta::seconds(10);
        let assignment = json!({
            "PermissionSetArn": arn,
            "TargetId": MEMBER,
            "PrincipalType": "USER",
            "PrincipalId": USERS[1],
        });
        let named = json!({ "PermissionSetArn": arn });
        ask(&mut world, "CreateAccountAssignment", assignment.clone()).expect("a request");
        let refused = ask(&mut world, "DeletePermissionSet", named.clone());
        assert_eq!(code(refused), "ConflictException", "an operation");
        world.clock.advance(chrono::TimeDelta::seconds(10));
        let refused = ask(&mut world, "DeletePermissionSet", named.clone());
        assert_eq!(code(refused), "ConflictException", "an assignment");
        ask(&mut world, "DeleteAccountAssignment", assignment).expect("a request");
        world.clock.advance(chrono::TimeDelta::seconds(10));
        ask(&mut world, "DeletePermissionSet", named).expect("it is removed");
    }

    #[test]
    fn policies_are_attached_by_path_and_name_and_once() {
        let (mut world, arn) = made();
        let attach = "AttachCustomerManagedPolicyReferenceToPermissionSet";
        let detach = "DetachCustomerManagedPolicyReferenceFromPermissionSet";
        ask(&mut world, attach, policy(&arn, "/ours/", "ann")).expect("attached");
        ask(&mut world, attach, policy(&arn, "/", "ann")).expect("another path");
        let again = ask(&mut world, attach, policy(&arn, "/ours/", "ann"));
        assert_eq!(code(again), "ConflictException");
        let list = "ListCustomerManagedPolicyReferencesInPermissionSet";
        let listed = ask(&mut world, list, json!({ "PermissionSetArn": arn })).expect("a list");
        let expected = json!([{ "Name": "ann", "Path": "/ours/" }, { "Name": "ann", "Path": "/" }]);
        assert_eq!(listed["CustomerManagedPolicyReferences"], expected);
        ask(&mut world, detach, policy(&arn, "/ours/", "ann")).expect("detached");
        let again = ask(&mut world, detach, policy(&arn, "/ours/", "ann"));
        assert_eq!(code(again), "ResourceNotFoundException");
        for number in 1..POLICIES_MAX {
            let name = format!("ann-{number}");
            ask(&mut world, attach, policy(&arn, "/", &name)).expect("attached");
        }
        let more = ask(&mut world, attach, policy(&arn, "/", "more"));
        assert_eq!(code(more), "ServiceQuotaExceededException");
    }

    #[test]
    fn a_boundary_is_put_read_and_removed() {
        let (mut world, arn) = made();
        let named = json!({ "PermissionSetArn": arn });
        let (get, delete) = (
            "GetPermissionsBoundaryForPermissionSet",
            "DeletePermissionsBoundaryFromPermissionSet",
        );
        for operation in [get, delete] {
            let refused = ask(&mut world, operation, named.clone());
            assert_eq!(code(refused), "ResourceNotFoundException", "{operation}");
        }
        for boundary in [
            json!({ "ManagedPolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess" }),
            json!({ "CustomerManagedPolicyReference": { "Name": "cap", "Path": "/ours/" } }),
        ] {
            let put = of(&arn, "PermissionsBoundary", &boundary);
            ask(&mut world, "PutPermissionsBoundaryToPermissionSet", put).expect("a boundary");
            let read = ask(&mut world, get, named.clone()).expect("a boundary");
            assert_eq!(read["PermissionsBoundary"], boundary);
        }
        let none = of(&arn, "PermissionsBoundary", &json!({}));
        let refused = ask(&mut world, "PutPermissionsBoundaryToPermissionSet", none);
        assert_eq!(code(refused), "ValidationException");
        ask(&mut world, delete, named.clone()).expect("it is removed");
        assert_eq!(code(ask(&mut world, get, named)), "ResourceNotFoundException");
    }

    #[test]
    fn an_inline_policy_is_put_read_and_removed_and_tags_too() {
        let (mut world, arn) = made();
        let named = json!({ "PermissionSetArn": arn });
        let put = "PutInlinePolicyToPermissionSet";
        ask(&mut world, put, of(&arn, "InlinePolicy", &json!(GUARD))).expect("a policy");
        let read = ask(&mut world, "GetInlinePolicyForPermissionSet", named.clone());
        assert_eq!(read.expect("a policy")["InlinePolicy"], GUARD);
        let refused = ask(&mut world, put, of(&arn, "InlinePolicy", &json!("{}")));
        assert_eq!(code(refused), "ValidationException");
        let delete = "DeleteInlinePolicyFromPermissionSet";
        ask(&mut world, delete, named.clone()).expect("it is removed");
        assert_eq!(code(ask(&mut world, delete, named)), "ResourceNotFoundException");

        let tags = json!({ "ResourceArn": arn, "Tags": [{ "Key": "end", "Value": "soon" }] });
        ask(&mut world, "TagResource", tags).expect("a tag");
        let keys = json!({ "ResourceArn": arn, "TagKeys": ["by"] });
        ask(&mut world, "UntagResource", keys).expect("none");
        let listed = ask(&mut world, "ListTagsForResource", json!({ "ResourceArn": arn }));
        assert_eq!(listed.expect("tags")["Tags"], json!([{ "Key": "end", "Value": "soon" }]));
    }
}
