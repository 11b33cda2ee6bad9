//! The identity store: memberships in groups, made, found and removed.
//!
//! A group that an identity provider owns takes members as any other does: it is the provider
//! that undoes that later. Sources: the API reference of the identity store.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{sso, unknown};
use crate::{
    answer::{Answer, Refusal},
    directory::{Directory, MembershipChange},
    request::Call,
    world::{Organization, World},
};

/// Whether a call is about one membership.
pub(super) fn is_about(call: &Call) -> bool {
    matches!(
        call.operation.as_str(),
        "CreateGroupMembership" | "DeleteGroupMembership" | "GetGroupMembershipId"
    )
}

pub(super) fn answer(
    world: &mut World,
    call: &Call,
    organization: &str,
) -> Result<Answer, Refusal> {
    let now = world.clock.now();
    let Some(organization) = world.organizations.get_mut(organization) else {
        return Err(sso::missing("identity store"));
    };
    match call.operation.as_str() {
        "CreateGroupMembership" => create(organization, call, now),
        "DeleteGroupMembership" => delete(&mut organization.directory, call, now),
        "GetGroupMembershipId" => find(organization, call),
        _ => Err(unknown(call)),
    }
}

/// The ids of a membership, in the words of all answers that name one.
pub(super) fn ids(organization: &Organization, group: &str, user: &str) -> Value {
    let id = organization.directory.id_of(group, user);
    let arn = format!("arn:{}:identitystore:::membership/{id}", organization.partition);
    json!({
        "IdentityStoreId": sso::identity_store(organization),
        "MembershipId": id,
        "MembershipArn": arn,
    })
}

fn create(
    organization: &mut Organization,
    call: &Call,
    at: DateTime<Utc>,
) -> Result<Answer, Refusal> {
    let (group, user) = named(&organization.directory, call)?;
    let is_made = organization.directory.change_membership(MembershipChange {
        at,
        group: group.to_owned(),
        user: user.to_owned(),
        is_there: true,
        is_by_hand: false,
    });
    if !is_made {
        let message = "Member and Group relationship already exists.";
        let refusal = Refusal::new(400, "ConflictException", message);
        return Err(refusal.because("UNIQUENESS_CONSTRAINT_VIOLATION"));
    }
    Ok(Answer::json(&ids(organization, group, user)))
}

fn delete(directory: &mut Directory, call: &Call, at: DateTime<Utc>) -> Result<Answer, Refusal> {
    let found = directory.membership(call.text("MembershipId"));
    let (group, user) = found.ok_or_else(|| sso::missing("group membership"))?;
    let (group, user) = (group.to_owned(), user.to_owned());
    directory.change_membership(MembershipChange {
        at,
        group,
        user,
        is_there: false,
        is_by_hand: false,
    });
    Ok(Answer::json(&json!({})))
}

fn find(organization: &Organization, call: &Call) -> Result<Answer, Refusal> {
    let (group, user) = named(&organization.directory, call)?;
    if !organization.directory.is_member(group, user) {
        return Err(sso::missing("group membership"));
    }
    Ok(Answer::json(&ids(organization, group, user)))
}

/// The group and the user that a call names, if both are there.
fn named<'a>(directory: &Directory, call: &'a Call) -> Result<(&'a str, &'a str), Refusal> {
    let (group, user) = (call.text("GroupId"), call.member());
    if group.is_empty() || user.is_empty() {
        let message = "GroupId and MemberId must be given, the member by its UserId";
        return Err(Refusal::new(400, "ValidationException", message));
    }
    if !directory.groups.iter().any(|one| one.id == group) {
        return Err(sso::missing("group"));
    }
    if !directory.users.iter().any(|one| one.id == user) {
        return Err(sso::missing("user"));
    }
    Ok((group, user))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::services::tests::{self, GROUPS, ORGANIZATION, USERS, world};

    const NOT_FOUND: &str = "ResourceNotFoundException";

    fn ask(world: &mut World, operation: &str, json: Value) -> Result<Value, Refusal> {
        tests::ask(world, "identitystore", operation, json)
    }

    fn of(group: &str, user: &str) -> Value {
        json!({ "GroupId": group, "MemberId": { "UserId": user } })
    }

    #[test]
    fn a_membership_is_made_found_listed_and_removed_and_has_a_new_id_each_time() {
        let mut world = world();
        let (group, user) = (GROUPS[0], USERS[1]);
        let mut ids = BTreeSet::new();
        for _ in 0..2 {
            let made = ask(&mut world, "CreateGroupMembership", of(group, user)).expect("made");
            assert!(world.is_member(ORGANIZATION, group, user));
            assert_eq!(made["IdentityStoreId"], "d-test123456");
            let found = ask(&mut world, "GetGroupMembershipId", of(group, user)).expect("found");
            assert_eq!(found, made);
            let listed = ask(&mut world, "ListGroupMemberships", json!({ "GroupId": group }));
            let listed = listed.expect("a list")["GroupMemberships"].clone();
            let listed = listed.as_array().expect("a list");
            assert_eq!(listed.len(), 2);
            assert!(listed.iter().any(|one| {
                one["MembershipId"] == made["MembershipId"] && one["MemberId"]["UserId"] == user
            }));

            let id = made["MembershipId"].as_str().expect("an id").to_owned();
            let by_id = json!({ "MembershipId": id });
            let removed = ask(&mut world, "DeleteGroupMembership", by_id.clone());
            assert_eq!(removed.expect("removed"), json!({}));
            assert!(!world.is_member(ORGANIZATION, group, user));
            for (operation, json) in
                [("DeleteGroupMembership", by_id), ("GetGroupMembershipId", of(group, user))]
            {
                let refusal = ask(&mut world, operation, json).expect_err(operation);
                assert_eq!(refusal.code, NOT_FOUND);
            }
            ids.insert(id);
        }
        assert_eq!(ids.len(), 2, "{ids:?}");
        let changes = &world.organizations[ORGANIZATION].directory.membership_changes;
        let told: Vec<_> = changes.iter().map(|one| (one.is_there, one.is_by_hand)).collect();
        assert_eq!(told, [(true, false), (false, false), (true, false), (false, false)]);
    }

    #[test]
    fn whoever_is_in_a_group_is_not_put_into_it_again() {
        let mut world = world();
        let again = ask(&mut world, "CreateGroupMembership", of(GROUPS[0], USERS[0]));
        let refusal = again.expect_err("a conflict");
        assert_eq!(refusal.code, "ConflictException");
        let body: Value =
            serde_json::from_slice(&refusal.answer("identitystore").body).expect("JSON");
        assert_eq!(body["Reason"], "UNIQUENESS_CONSTRAINT_VIOLATION");
        let directory = &world.organizations[ORGANIZATION].directory;
        assert_eq!(directory.groups[0].members, [USERS[0]]);
        assert!(directory.membership_changes.is_empty());
    }

    #[test]
    fn what_is_not_there_is_not_found_and_what_is_not_named_is_invalid() {
        let mut world = world();
        for (operation, json, code) in [
            ("CreateGroupMembership", of("g-none", USERS[1]), NOT_FOUND),
            ("CreateGroupMembership", of(GROUPS[0], "nobody"), NOT_FOUND),
            ("GetGroupMembershipId", of("g-none", USERS[1]), NOT_FOUND),
            ("GetGroupMembershipId", of(GROUPS[0], "nobody"), NOT_FOUND),
            ("GetGroupMembershipId", of(GROUPS[0], USERS[1]), NOT_FOUND),
            ("DeleteGroupMembership", json!({ "MembershipId": "none" }), NOT_FOUND),
            ("DeleteGroupMembership", json!({}), NOT_FOUND),
            ("CreateGroupMembership", json!({ "GroupId": GROUPS[0] }), "ValidationException"),
        ] {
            let refusal = ask(&mut world, operation, json).expect_err(operation);
            assert_eq!(refusal.code, code, "{operation}");
        }
        assert!(world.organizations[ORGANIZATION].directory.membership_changes.is_empty());
    }

    #[test]
    fn a_group_of_an_identity_provider_tells_so_and_takes_members_all_the_same() {
        let mut world = world();
        let organization = world.organizations.get_mut(ORGANIZATION).expect("an organization");
        "00g0".clone_into(&mut organization.directory.groups[0].external_id);
        let mut describe = |group: &str| {
            let described = ask(&mut world, "DescribeGroup", json!({ "GroupId": group }));
            described.expect("a group")["ExternalIds"].clone()
        };
        assert_eq!(describe(GROUPS[0])[0]["Id"], "00g0");
        assert_eq!(describe(GROUPS[1]), Value::Null);
        ask(&mut world, "CreateGroupMembership", of(GROUPS[0], USERS[1])).expect("a membership");
    }
}
