//! IAM Identity Center: what of permission sets is in accounts, and how a changed set gets there.

use serde_json::{Value, json};

use super::{
    sso::{self, Lists},
    sso_assignments::{not_begun, word},
    unknown,
};
use crate::{
    answer::{Answer, Refusal},
    assignment::Status,
    directory::PermissionSet,
    identity::Session,
    provisioning::Provisioning,
    request::Call,
    world::{Organization, World},
};

/// Whether a call is about this.
pub(super) fn is_about(call: &Call) -> bool {
    matches!(
        call.operation.as_str(),
        "DescribePermissionSetProvisioningStatus"
            | "ListAccountsForProvisionedPermissionSet"
            | "ListPermissionSetProvisioningStatus"
            | "ListPermissionSetsProvisionedToAccount"
            | "ProvisionPermissionSet"
    )
}

pub(super) fn answer(
    world: &mut World,
    session: &Session,
    call: &Call,
    organization: &str,
) -> Result<Answer, Refusal> {
    if call.operation == "ProvisionPermissionSet" {
        return begin(world, call, organization);
    }
    let found = &world.organizations[organization];
    let lists = Lists { world, session, call };
    match call.operation.as_str() {
        "DescribePermissionSetProvisioningStatus" => {
            let wanted = call.text("ProvisionPermissionSetRequestId");
            let mut provisionings = found.directory.provisionings.iter();
            let one = provisionings.find(|one| one.request_id == wanted);
            one.map(|one| status(found, one)).ok_or_else(|| sso::missing("request"))
        }
        "ListPermissionSetProvisioningStatus" => {
            lists.page("PermissionSetsProvisioningStatus", &statuses(found, call))
        }
        "ListAccountsForProvisionedPermissionSet" => {
            let set = sso::permission_set(found, call.text("PermissionSetArn"))?;
            let accounts = set.accounts.iter().filter(|id| is_wanted(found, call, id, set));
            let accounts: Vec<Value> = accounts.map(|id| json!(id)).collect();
            lists.page("AccountIds", &accounts)
        }
        "ListPermissionSetsProvisionedToAccount" => {
            let account = call.text("AccountId");
            let sets = found.directory.permission_sets.iter().filter(|set| {
                set.accounts.iter().any(|id| id == account) && is_wanted(found, call, account, set)
            });
            let arns: Vec<Value> = sets.map(|set| json!(sso::arn(found, &set.id))).collect();
            lists.page("PermissionSets", &arns)
        }
        _ => Err(unknown(call)),
    }
}

/// Whether a set in an account is of the status that a call asks for; none: of any.
fn is_wanted(found: &Organization, call: &Call, account: &str, set: &PermissionSet) -> bool {
    match call.text("ProvisioningStatus") {
        "LATEST_PERMISSION_SET_PROVISIONED" => found.directory.is_latest(account, set),
        "LATEST_PERMISSION_SET_NOT_PROVISIONED" => !found.directory.is_latest(account, set),
        _ => true,
    }
}

fn begin(world: &mut World, call: &Call, organization: &str) -> Result<Answer, Refusal> {
    let now = world.clock.now();
    let found =
        world.organizations.get_mut(organization).ok_or_else(|| sso::missing("instance"))?;
    let set = sso::permission_set(found, call.text("PermissionSetArn"))?;
    let account = match (call.text("TargetType"), call.text("TargetId")) {
        ("ALL_PROVISIONED_ACCOUNTS", "") => None,
        ("AWS_ACCOUNT", id) if set.accounts.iter().any(|account| account == id) => {
            Some(id.to_owned())
        }
        ("AWS_ACCOUNT", _) => return Err(sso::missing("permission set in the account")),
        _ => {
            let message =
                "TargetType must be AWS_ACCOUNT, with a TargetId, or ALL_PROVISIONED_ACCOUNTS";
            return Err(Refusal::new(400, "ValidationException", message));
        }
    };
    let set = set.id.clone();
    let begun = found.directory.begin_provisioning(set, account, now).cloned();
    begun.map(|one| status(found, &one)).map_err(|refused| not_begun(refused, call))
}

/// Status, id and date alone: that is all that this list tells.
fn statuses(organization: &Organization, call: &Call) -> Vec<Value> {
    let wanted = call.json["Filter"]["Status"].as_str();
    let provisionings = organization.directory.provisionings.iter().rev();
    provisionings
        .filter(|one| wanted.is_none_or(|status| word(&one.status) == status))
        .map(|one| {
            json!({
                "Status": word(&one.status),
                "RequestId": one.request_id,
                "CreatedDate": one.created.timestamp(),
            })
        })
        .collect()
}

fn status(organization: &Organization, one: &Provisioning) -> Answer {
    let mut told = json!({
        "Status": word(&one.status),
        "RequestId": one.request_id,
        "PermissionSetArn": sso::arn(organization, &one.permission_set),
        "CreatedDate": one.created.timestamp(),
    });
    if let Some(account) = &one.account {
        told["AccountId"] = json!(account);
    }
    if let Status::Failed(reason) = &one.status {
        told["FailureReason"] = json!(reason);
    }
    Answer::json(&json!({ "PermissionSetProvisioningStatus": told }))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        directory::Directory,
        managed_policy::PolicyName,
        services::tests::{self, MANAGEMENT, MEMBER, ORGANIZATION, USERS, world},
    };

    const SET: &str = "arn:aws:sso:::permissionSet/ssoins-test123456/ps-0000000000000001";
    const ID: &str = "ps-0000000000000001";

    fn ask(world: &mut World, operation: &str, json: Value) -> Result<Value, Refusal> {
        tests::ask(world, "sso", operation, json)
    }

    fn directory(world: &mut World) -> &mut Directory {
        &mut world.organizations.get_mut(ORGANIZATION).expect("an organization").directory
    }

    fn refer(world: &mut World, name: &str) {
        let reference = json!({ "Name": name, "Path": "/ours/" });
        let asked = json!({ "PermissionSetArn": SET, "CustomerManagedPolicyReference": reference });
        let attach = "AttachCustomerManagedPolicyReferenceToPermissionSet";
        ask(world, attach, asked).expect("attached");
    }

    /// Assigns the set, and tells how that ended.
    fn assign(world: &mut World, account: &str, user: &str) -> Value {
        let assignment = json!({
            "PermissionSetArn": SET,
            "TargetId": account,
            "PrincipalType": "USER",
            "PrincipalId": user,
        });
        let begun = ask(world, "CreateAccountAssignment", assignment).expect("a request");
        let id = &begun["AccountAssignmentCreationStatus"]["RequestId"];
        let asked = json!({ "AccountAssignmentCreationRequestId": id });
        let described = ask(world, "DescribeAccountAssignmentCreationStatus", asked);
        described.expect("a status")["AccountAssignmentCreationStatus"].clone()
    }

    fn provision(world: &mut World) -> Result<Value, Refusal> {
        let asked = json!({ "PermissionSetArn": SET, "TargetType": "ALL_PROVISIONED_ACCOUNTS" });
        let begun = ask(world, "ProvisionPermissionSet", asked)?;
        let status = &begun["PermissionSetProvisioningStatus"];
        assert_eq!(status["Status"], "IN_PROGRESS");
        Ok(described(world, &status["RequestId"]))
    }

    fn described(world: &mut World, id: &Value) -> Value {
        let asked = json!({ "ProvisionPermissionSetRequestId": id });
        let told = ask(world, "DescribePermissionSetProvisioningStatus", asked);
        told.expect("a status")["PermissionSetProvisioningStatus"].clone()
    }

    fn accounts(world: &mut World, status: &str) -> Value {
        let asked = json!({ "PermissionSetArn": SET, "ProvisioningStatus": status });
        let told = ask(world, "ListAccountsForProvisionedPermissionSet", asked);
        told.expect("accounts")["AccountIds"].clone()
    }

    #[test]
    fn an_assignment_fails_in_an_account_that_lacks_a_policy_of_the_set() {
        let mut world = world();
        refer(&mut world, "ann");
        let failed = assign(&mut world, MEMBER, USERS[1]);
        assert_eq!(failed["Status"], "FAILED");
        let reason = failed["FailureReason"].as_str().expect("a reason");
        for part in ["404", "NoSuchEntity", "arn:aws:iam::222222222222:policy/ours/ann"] {
            assert!(reason.contains(part), "{reason}");
        }
        assert!(directory(&mut world).assignments.is_empty());
        assert!(world.accounts[MEMBER].roles.is_empty());

        world.account(MEMBER).iam_lag = TimeDelta::seconds(5);
        world.put_policy(MEMBER, "/ours/", "ann", "{}");
        assert_eq!(assign(&mut world, MEMBER, USERS[1])["Status"], "FAILED", "it does not show");
        world.clock.advance(TimeDelta::seconds(5));
        assert_eq!(assign(&mut world, MEMBER, USERS[1])["Status"], "SUCCEEDED");

        let bound = json!({ "Name": "cap", "Path": "/ours/" });
        let bound = json!({ "CustomerManagedPolicyReference": bound });
        let put = json!({ "PermissionSetArn": SET, "PermissionsBoundary": bound });
        ask(&mut world, "PutPermissionsBoundaryToPermissionSet", put).expect("a boundary");
        let failed = assign(&mut world, MEMBER, USERS[0]);
        assert!(failed["FailureReason"].as_str().expect("a reason").contains("/ours/cap"));
    }

    #[test]
    fn a_changed_set_reaches_an_account_by_provisioning_or_a_new_assignment() {
        let mut world = world();
        let (latest, older) =
            ("LATEST_PERMISSION_SET_PROVISIONED", "LATEST_PERMISSION_SET_NOT_PROVISIONED");
        for account in [MEMBER, MANAGEMENT] {
            world.put_policy(account, "/ours/", "ann", "{}");
        }
        world.put_policy(MEMBER, "/ours/", "more", "{}");
        assign(&mut world, MEMBER, USERS[1]);
        refer(&mut world, "ann");
        let policy = PolicyName::new("/ours/", "ann");
        let has = |world: &mut World, policy: &PolicyName| {
            let provisioned = directory(world).provisioned(MEMBER, ID).expect("it is there");
            provisioned.customer_managed.contains(policy)
        };
        assert!(!has(&mut world, &policy));
        assert_eq!(accounts(&mut world, older), json!([MEMBER]));
        assert_eq!(provision(&mut world).expect("a request")["Status"], "SUCCEEDED");
        assert!(has(&mut world, &policy));
        assert_eq!(accounts(&mut world, latest), json!([MEMBER]));
        assert_eq!(accounts(&mut world, older), json!([]));

        refer(&mut world, "more");
        let more = PolicyName::new("/ours/", "more");
        let role = directory(&mut world).provisioned(MEMBER, ID).expect("one").role.clone();
        assign(&mut world, MEMBER, USERS[0]);
        assert!(has(&mut world, &more));
        assert_eq!(directory(&mut world).provisioned(MEMBER, ID).expect("one").role, role);
        assert!(world.accounts[MEMBER].roles.contains_key(&role));

        world.remove_policy(MEMBER, "/ours/", "more");
        let failed = provision(&mut world).expect("a request");
        assert!(failed["FailureReason"].as_str().expect("a reason").contains("NoSuchEntity"));
        let list = "ListPermissionSetProvisioningStatus";
        let listed = ask(&mut world, list, json!({ "Filter": { "Status": "FAILED" } }));
        let listed = listed.expect("a list")["PermissionSetsProvisioningStatus"].clone();
        assert_eq!(listed.as_array().map(Vec::len), Some(1));
        assert_eq!(listed[0]["RequestId"], failed["RequestId"]);
    }

    #[test]
    fn three_sets_are_provisioned_at_once_and_an_account_takes_one_operation_at_a_time() {
        let mut world = world();
        assign(&mut world, MEMBER, USERS[1]);
        directory(&mut world).pace.takes = TimeDelta::seconds(10);
        let begun = provision(&mut world).expect("a request");
        assert_eq!(begun["Status"], "IN_PROGRESS");
        let refused = provision(&mut world).expect_err("a conflict");
        assert_eq!(refused.code, "ConflictException");
        let put = json!({ "PermissionSetArn": SET, "InlinePolicy": "{}" });
        let refused = ask(&mut world, "PutInlinePolicyToPermissionSet", put);
        assert_eq!(refused.expect_err("a conflict").code, "ConflictException");
        assert_eq!(assign(&mut world, MEMBER, USERS[0])["Status"], "IN_PROGRESS");
        world.clock.advance(TimeDelta::seconds(10));
        assert_eq!(described(&mut world, &begun["RequestId"])["Status"], "SUCCEEDED");
        assert_eq!(directory(&mut world).running(), 1, "it waits for the other");
        world.clock.advance(TimeDelta::seconds(10));
        world.settle(ORGANIZATION);
        assert_eq!(directory(&mut world).running(), 0);

        let mut begin = |name: &str| {
            let made = ask(&mut world, "CreatePermissionSet", json!({ "Name": name }));
            let arn = made.expect("a set")["PermissionSet"]["PermissionSetArn"].clone();
            let target = "ALL_PROVISIONED_ACCOUNTS";
            let asked = json!({ "PermissionSetArn": arn, "TargetType": target });
            ask(&mut world, "ProvisionPermissionSet", asked).map_err(|refusal| refusal.code)
        };
        for name in ["a", "b", "c"] {
            begin(name).expect("a request");
        }
        assert_eq!(begin("d").expect_err("too many"), "ThrottlingException");
    }

    #[test]
    fn an_account_takes_no_more_sets_than_its_quota() {
        let mut world = world();
        directory(&mut world).limits.provisioned = 1;
        assign(&mut world, MEMBER, USERS[1]);
        assert_eq!(assign(&mut world, MEMBER, USERS[0])["Status"], "SUCCEEDED", "the same set");
        let other = json!({
            "PermissionSetArn": SET.replace("0001", "0000"),
            "TargetId": MEMBER,
            "PrincipalType": "USER",
            "PrincipalId": USERS[1],
        });
        let refused = ask(&mut world, "CreateAccountAssignment", other).expect_err("a refusal");
        assert_eq!(refused.code, "ServiceQuotaExceededException");
        let elsewhere = json!({
            "PermissionSetArn": SET,
            "TargetType": "AWS_ACCOUNT",
            "TargetId": MANAGEMENT,
        });
        let refused = ask(&mut world, "ProvisionPermissionSet", elsewhere).expect_err("a refusal");
        assert_eq!(refused.code, "ResourceNotFoundException");
    }
}
