//! IAM Identity Center: account assignments, on the wire.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    sso::{self, Lists},
    unknown,
};
use crate::{
    answer::{Answer, Refusal},
    assignment::{Assignment, Operation, Principal, Refused, Status, Verb},
    condition::Context,
    directory::Directory,
    identity::Session,
    policy,
    request::Call,
    world::{Organization, World},
};

/// Whether a call is about assignments.
pub(super) fn is_about(call: &Call) -> bool {
    call.operation.contains("AccountAssignment")
}

pub(super) fn answer(
    world: &mut World,
    session: &Session,
    call: &Call,
    organization: &str,
) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "CreateAccountAssignment" => {
            return begin(world, session, call, organization, Verb::Create);
        }
        "DeleteAccountAssignment" => {
            return begin(world, session, call, organization, Verb::Delete);
        }
        _ => {}
    }
    let found = &world.organizations[organization];
    let lists = Lists { world, session, call };
    match call.operation.as_str() {
        "DescribeAccountAssignmentCreationStatus" => describe(found, call, Verb::Create),
        "DescribeAccountAssignmentDeletionStatus" => describe(found, call, Verb::Delete),
        "ListAccountAssignmentCreationStatus" => {
            lists.page("AccountAssignmentsCreationStatus", &statuses(found, call, Verb::Create))
        }
        "ListAccountAssignmentDeletionStatus" => {
            lists.page("AccountAssignmentsDeletionStatus", &statuses(found, call, Verb::Delete))
        }
        "ListAccountAssignments" => {
            let set = sso::permission_set(found, call.text("PermissionSetArn"))?;
            let held = found.directory.assignments.iter().filter(|assignment| {
                assignment.account == call.text("AccountId") && assignment.permission_set == set.id
            });
            let held: Vec<Value> = held.map(|assignment| shown(found, assignment)).collect();
            lists.page("AccountAssignments", &held)
        }
        "ListAccountAssignmentsForPrincipal" => {
            let principal = principal(call)?;
            let account = call.json["Filter"]["AccountId"].as_str();
            let held = found.directory.assignments.iter().filter(|assignment| {
                assignment.principal == principal
                    && account.is_none_or(|account| assignment.account == account)
            });
            let held: Vec<Value> = held.map(|assignment| shown(found, assignment)).collect();
            lists.page("AccountAssignments", &held)
        }
        _ => Err(unknown(call)),
    }
}

fn begin(
    world: &mut World,
    session: &Session,
    call: &Call,
    organization: &str,
    verb: Verb,
) -> Result<Answer, Refusal> {
    let now = world.clock.now();
    let found = &world.organizations[organization];
    let set = sso::permission_set(found, call.text("PermissionSetArn"))?.id.clone();
    let principal = principal(call)?;
    let is_known = match &principal {
        Principal::User(id) => found.directory.users.iter().any(|user| user.id == *id),
        Principal::Group(id) => found.directory.groups.iter().any(|group| group.id == *id),
    };
    if !is_known && verb == Verb::Create {
        return Err(sso::missing("principal"));
    }
    let account = call.text("TargetId").to_owned();
    let target = world.accounts.get(&account).filter(|target| target.organization == organization);
    let target = target.ok_or_else(|| sso::missing("account"))?;
    let fails = (target.state != "ACTIVE").then(|| {
        format!("Received a 403 status error: the account {account} is {}.", target.state)
    });
    let fails = fails.or_else(|| denied_in_management_account(world, session, found, &account));
    let assignment = Assignment { account, permission_set: set, principal };
    let Some(found) = world.organizations.get_mut(organization) else {
        return Err(sso::missing("instance"));
    };
    if verb == Verb::Create && is_full(&found.directory, &assignment) {
        let limit = found.directory.limits.provisioned;
        let message = format!("{limit} permission sets are provisioned in the account");
        return Err(Refusal::new(400, "ServiceQuotaExceededException", message));
    }
    let begun = found.directory.begin(verb, assignment, fails, now).cloned();
    match begun {
        Ok(operation) => Ok(status(&world.organizations[organization], &operation)),
        Err(refused) => Err(not_begun(refused, call)),
    }
}

/// Why an operation is not accepted, in the words of the service.
pub(super) fn not_begun(refused: Refused, call: &Call) -> Refusal {
    match refused {
        Refused::Conflict => Refusal::new(
            400,
            "ConflictException",
            "There is a conflict with a previous successful write. Retry with backoff.",
        ),
        Refused::TooMany => Refusal::throttled(&call.service),
    }
}

/// Whether an account takes no other permission set than it has, or is about to have.
fn is_full(directory: &Directory, assignment: &Assignment) -> bool {
    let has = directory
        .permission_sets
        .iter()
        .filter(|set| set.accounts.contains(&assignment.account))
        .map(|set| set.id.as_str());
    let gets = directory
        .operations
        .iter()
        .filter(|one| one.status == Status::InProgress && one.verb == Verb::Create)
        .filter(|one| one.assignment.account == assignment.account)
        .map(|one| one.assignment.permission_set.as_str());
    let sets: BTreeSet<&str> = has.chain(gets).collect();
    !sets.contains(assignment.permission_set.as_str()) && sets.len() >= directory.limits.provisioned
}

/// In the management account the roles of permission sets are made with the caller's own rights; that
/// they are missing is told by the request's end alone.
fn denied_in_management_account(
    world: &World,
    session: &Session,
    organization: &Organization,
    account: &str,
) -> Option<String> {
    if account != organization.management {
        return None;
    }
    let (partition, action) = (&organization.partition, "iam:CreateRole");
    let role = format!("arn:{partition}:iam::{account}:role/aws-reserved/sso.amazonaws.com/x");
    let nothing = Context::default();
    let is_allowed = policy::allows(world.policies(session), action, Some(&role), &nothing);
    let denied = || format!("Received a 403 status error: not authorized to perform: {action}.");
    (!is_allowed).then(denied)
}

fn principal(call: &Call) -> Result<Principal, Refusal> {
    let id = call.text("PrincipalId").to_owned();
    match call.text("PrincipalType") {
        "USER" => Ok(Principal::User(id)),
        "GROUP" => Ok(Principal::Group(id)),
        other => {
            let message = format!("PrincipalType must be USER or GROUP, not {other:?}");
            Err(Refusal::new(400, "ValidationException", message))
        }
    }
}

fn describe(organization: &Organization, call: &Call, verb: Verb) -> Result<Answer, Refusal> {
    let wanted = match verb {
        Verb::Create => call.text("AccountAssignmentCreationRequestId"),
        Verb::Delete => call.text("AccountAssignmentDeletionRequestId"),
    };
    let mut operations = organization.directory.operations.iter();
    operations
        .find(|operation| operation.verb == verb && operation.request_id == wanted)
        .map(|operation| status(organization, operation))
        .ok_or_else(|| sso::missing("request"))
}

/// Status, id and date alone: that is all that these lists tell.
fn statuses(organization: &Organization, call: &Call, verb: Verb) -> Vec<Value> {
    let wanted = call.json["Filter"]["Status"].as_str();
    let operations = organization.directory.operations.iter().rev();
    operations
        .filter(|operation| operation.verb == verb)
        .filter(|operation| wanted.is_none_or(|status| word(&operation.status) == status))
        .map(|operation| {
            json!({
                "Status": word(&operation.status),
                "RequestId": operation.request_id,
                "CreatedDate": operation.created.timestamp(),
            })
        })
        .collect()
}

/// How an operation stands, in the word of the service.
pub(super) fn word(status: &Status) -> &'static str {
    match status {
        Status::InProgress => "IN_PROGRESS",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed(_) => "FAILED",
    }
}

fn status(organization: &Organization, operation: &Operation) -> Answer {
    let mut told = shown(organization, &operation.assignment);
    told["Status"] = json!(word(&operation.status));
    told["RequestId"] = json!(operation.request_id);
    told["CreatedDate"] = json!(operation.created.timestamp());
    told["TargetId"] = json!(operation.assignment.account);
    told["TargetType"] = json!("AWS_ACCOUNT");
    if let Status::Failed(reason) = &operation.status {
        told["FailureReason"] = json!(reason);
    }
    let name = match operation.verb {
        Verb::Create => "AccountAssignmentCreationStatus",
        Verb::Delete => "AccountAssignmentDeletionStatus",
    };
    Answer::json(&json!({ name: told }))
}

fn shown(organization: &Organization, assignment: &Assignment) -> Value {
    let (kind, id) = match &assignment.principal {
        Principal::User(id) => ("USER", id),
        Principal::Group(id) => ("GROUP", id),
    };
    json!({
        "AccountId": assignment.account,
        "PermissionSetArn": sso::arn(organization, &assignment.permission_set),
        "PrincipalType": kind,
        "PrincipalId": id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::tests::{GROUPS, MANAGEMENT, MEMBER, ORGANIZATION, ask, world};

    #[test]
    fn all_that_a_group_is_assigned_is_listed_without_a_filter_in_whatever_account() {
        let mut world = world();
        let of = |account: &str, set: usize, group: &str| Assignment {
            account: account.to_owned(),
            permission_set: format!("ps-{set:016x}"),
            principal: Principal::Group(group.to_owned()),
        };
        let mut expected = BTreeSet::new();
        for account in [MANAGEMENT, MEMBER] {
            for set in 0..2 {
                world.assign(ORGANIZATION, of(account, set, GROUPS[1]));
                let arn = format!("arn:aws:sso:::permissionSet/ssoins-test123456/ps-{set:016x}");
                expected.insert((account.to_owned(), arn));
            }
        }
        world.assign(ORGANIZATION, of(MEMBER, 0, GROUPS[0]));

        let mut asked = json!({ "PrincipalType": "GROUP", "PrincipalId": GROUPS[1] });
        let mut found = BTreeSet::new();
        let mut pages = 0;
        loop {
            let page = ask(&mut world, "sso", "ListAccountAssignmentsForPrincipal", asked.clone());
            let page = page.expect("a page");
            pages += 1;
            for one in page["AccountAssignments"].as_array().expect("a list") {
                assert_eq!(
                    (&one["PrincipalType"], &one["PrincipalId"]),
                    (&json!("GROUP"), &json!(GROUPS[1]))
                );
                let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
                found.insert((text("AccountId"), text("PermissionSetArn")));
            }
            if page["NextToken"].is_null() {
                break;
            }
            asked["NextToken"] = page["NextToken"].clone();
        }
        assert_eq!(found, expected);
        assert_eq!(pages, 2);
    }
}
