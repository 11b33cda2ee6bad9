//! What a call is about: the ARNs by which policies judge it, beside its action.
//!
//! Told of calls that change access, and of one that goes before them; the others are judged by
//! action alone. Sources: "Delegate permission set administration" in the user guide of IAM
//! Identity Center, for assignments; "Actions, resources, and condition keys for AWS Identity
//! Store" in the service authorization reference, for memberships: there each of the resources
//! is required.

use super::memberships;
use crate::{identity::Session, request::Call, world::World};

/// ARNs of what a call is about; none: it is judged by action alone.
pub(crate) fn judged(world: &World, session: &Session, call: &Call) -> Vec<String> {
    match (call.service.as_str(), call.operation.as_str()) {
        ("sso", "CreateAccountAssignment" | "DeleteAccountAssignment") => {
            vec![format!("arn:{}:sso:::account/{}", partition(session), call.text("TargetId"))]
        }
        ("identitystore", _) if memberships::is_about(call) => membership(world, session, call),
        _ => Vec::new(),
    }
}

/// The store, and what there is of group, user and membership: who removes one names its id
/// alone.
fn membership(world: &World, session: &Session, call: &Call) -> Vec<String> {
    let organization = world.organization_of(&session.account);
    let owner = organization.map_or(&session.account, |found| &found.management);
    let directory = organization.map(|found| &found.directory);
    let (group, user, membership) = match call.operation.as_str() {
        "DeleteGroupMembership" => {
            let id = call.text("MembershipId");
            let found = directory.and_then(|directory| directory.membership(id));
            let (group, user) = found.unwrap_or_default();
            (group, user, Some(id.to_owned()))
        }
        "GetGroupMembershipId" => {
            let (group, user) = (call.text("GroupId"), call.member());
            let id = directory.and_then(|directory| directory.membership_id(group, user));
            (group, user, id)
        }
        _ => (call.text("GroupId"), call.member(), None),
    };
    let partition = partition(session);
    let store = call.text("IdentityStoreId");
    let named = |kind: &str, id: &str| {
        (!id.is_empty()).then(|| format!("arn:{partition}:identitystore:::{kind}/{id}"))
    };
    [
        Some(format!("arn:{partition}:identitystore::{owner}:identitystore/{store}")),
        named("group", group),
        named("user", user),
        named("membership", membership.as_deref().unwrap_or_default()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn partition(session: &Session) -> &str {
    session.role_arn.split(':').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        policy,
        services::tests::{GROUPS, ORGANIZATION, USERS, call, session, world},
    };

    const STORE: &str = "arn:aws:identitystore::111111111111:identitystore/d-test123456";
    const GROUP: &str = "arn:aws:identitystore:::group/g-00000000";
    const USER: &str = "arn:aws:identitystore:::user/9067642ac7-00000000";

    fn about(world: &World, operation: &str, json: Value) -> Vec<String> {
        judged(world, &session(world), &call("identitystore", operation, json))
    }

    #[test]
    fn a_membership_is_judged_by_its_store_its_group_its_user_and_itself() {
        let world = world();
        let directory = &world.organizations[ORGANIZATION].directory;
        let id = directory.membership_id(GROUPS[0], USERS[0]).expect("a membership");
        let membership = format!("arn:aws:identitystore:::membership/{id}");
        let named = json!({ "GroupId": GROUPS[0], "MemberId": { "UserId": USERS[0] } });
        let whole = [STORE, GROUP, USER, membership.as_str()];
        assert_eq!(about(&world, "CreateGroupMembership", named.clone()), whole[..3]);
        assert_eq!(about(&world, "GetGroupMembershipId", named), whole);
        assert_eq!(about(&world, "DeleteGroupMembership", json!({ "MembershipId": id })), whole);

        let absent = json!({ "GroupId": GROUPS[0], "MemberId": { "UserId": USERS[1] } });
        let found = about(&world, "GetGroupMembershipId", absent);
        let other = format!("arn:aws:identitystore:::user/{}", USERS[1]);
        assert_eq!(found, [STORE, GROUP, other.as_str()]);
        let unknown = about(&world, "DeleteGroupMembership", json!({ "MembershipId": "none" }));
        assert_eq!(unknown, [STORE, "arn:aws:identitystore:::membership/none"]);
        assert_eq!(about(&world, "ListGroups", json!({})), [""; 0]);
    }

    #[test]
    fn who_may_not_touch_the_group_may_not_remove_its_memberships() {
        let world = world();
        let directory = &world.organizations[ORGANIZATION].directory;
        let id = directory.membership_id(GROUPS[0], USERS[0]).expect("a membership");
        let (action, deletion) = ("identitystore:DeleteGroupMembership", "DeleteGroupMembership");
        let about = about(&world, deletion, json!({ "MembershipId": id }));
        let may = |left_out: usize| {
            let patterns = [
                "arn:aws:identitystore::111111111111:identitystore/*",
                "arn:aws:identitystore:::group/*",
                "arn:aws:identitystore:::user/*",
                "arn:aws:identitystore:::membership/*",
            ];
            let patterns: Vec<&str> =
                (0..patterns.len()).filter(|at| *at != left_out).map(|at| patterns[at]).collect();
            let allow = json!({ "Effect": "Allow", "Action": action, "Resource": patterns });
            policy::allows_on_all(&[json!({ "Statement": [allow] })], action, &about)
        };
        assert!(may(4), "all are allowed");
        for left_out in 0..4 {
            assert!(!may(left_out), "{left_out}");
        }
    }

    #[test]
    fn an_assignment_is_judged_by_its_account() {
        let world = world();
        for operation in ["CreateAccountAssignment", "DeleteAccountAssignment"] {
            let call = call("sso", operation, json!({ "TargetId": "222222222222" }));
            let about = judged(&world, &session(&world), &call);
            assert_eq!(about, ["arn:aws:sso:::account/222222222222"]);
        }
    }
}
