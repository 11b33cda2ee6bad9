//! The identity store of IAM Identity Center: users and groups.

use serde_json::{Value, json};

use super::{
    memberships,
    sso::{self, Lists},
    unknown,
};
use crate::{
    answer::{Answer, Refusal},
    directory::{Group, User},
    identity::Session,
    request::Call,
    world::World,
};

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let organization = sso::organization(world, session, call)
        .filter(|organization| call.text("IdentityStoreId") == sso::identity_store(organization))
        .ok_or_else(|| sso::missing("identity store"))?;
    if memberships::is_about(call) {
        let id = organization.id.clone();
        return memberships::answer(world, call, &id);
    }
    let lists = Lists { world, session, call };
    let directory = &organization.directory;
    let store = sso::identity_store(organization);
    match call.operation.as_str() {
        "ListUsers" => {
            let users: Vec<Value> = directory.users.iter().map(|one| user(&store, one)).collect();
            lists.page("Users", &users)
        }
        "ListGroups" => {
            let groups: Vec<Value> =
                directory.groups.iter().map(|one| group(&store, one)).collect();
            lists.page("Groups", &groups)
        }
        "GetUserId" => {
            let (path, value) = unique_attribute(call);
            let found = directory.users.iter().find(|user| match path {
                "emails.value" => user.email == value,
                "userName" => user.name == value,
                _ => false,
            });
            let found = found.ok_or_else(|| sso::missing("user"))?;
            Ok(Answer::json(&json!({ "IdentityStoreId": store, "UserId": found.id })))
        }
        "GetGroupId" => {
            let (path, value) = unique_attribute(call);
            let mut groups = directory.groups.iter();
            let found = groups.find(|group| path == "displayName" && group.name == value);
            let found = found.ok_or_else(|| sso::missing("group"))?;
            Ok(Answer::json(&json!({ "IdentityStoreId": store, "GroupId": found.id })))
        }
        "DescribeUser" => {
            let mut users = directory.users.iter();
            let found = users.find(|user| user.id == call.text("UserId"));
            Ok(Answer::json(&user(&store, found.ok_or_else(|| sso::missing("user"))?)))
        }
        "DescribeGroup" => {
            let mut groups = directory.groups.iter();
            let found = groups.find(|group| group.id == call.text("GroupId"));
            Ok(Answer::json(&group(&store, found.ok_or_else(|| sso::missing("group"))?)))
        }
        "ListGroupMemberships" => {
            let group = directory
                .groups
                .iter()
                .find(|group| group.id == call.text("GroupId"))
                .ok_or_else(|| sso::missing("group"))?;
            let memberships: Vec<Value> = group
                .members
                .iter()
                .map(|user| {
                    let mut shown = memberships::ids(organization, &group.id, user);
                    shown["GroupId"] = json!(group.id);
                    shown["MemberId"] = json!({ "UserId": user });
                    shown
                })
                .collect();
            lists.page("GroupMemberships", &memberships)
        }
        _ => Err(unknown(call)),
    }
}

/// What an alternate identifier names: the path of an attribute, and its value.
fn unique_attribute(call: &Call) -> (&str, &str) {
    let attribute = &call.json["AlternateIdentifier"]["UniqueAttribute"];
    let text = |name: &str| attribute[name].as_str().unwrap_or_default();
    (text("AttributePath"), text("AttributeValue"))
}

fn group(store: &str, group: &Group) -> Value {
    let mut shown =
        json!({ "IdentityStoreId": store, "GroupId": group.id, "DisplayName": group.name });
    show_external(&mut shown, &group.external_id);
    shown
}

fn user(store: &str, user: &User) -> Value {
    let mut shown = json!({
        "IdentityStoreId": store,
        "UserId": user.id,
        "UserName": user.name,
        "DisplayName": user.name,
        "Emails": [{ "Value": user.email, "Type": "work", "Primary": true }],
        "UserStatus": if user.is_disabled { "DISABLED" } else { "ENABLED" },
    });
    show_external(&mut shown, &user.external_id);
    shown
}

/// The id at the identity provider, where there is one.
fn show_external(shown: &mut Value, id: &str) {
    if !id.is_empty() {
        shown["ExternalIds"] = json!([{ "Issuer": "https://idp.example.com", "Id": id }]);
    }
}
