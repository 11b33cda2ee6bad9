//! IAM: users, groups, roles and policies of an account, in one pass.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{iam_policies_read, iam_users, page, things};
use crate::{
    answer::{Answer, Refusal},
    iam_user::{group_arn, user_arn},
    identity::Session,
    managed_policy::PolicyName,
    request::Call,
    text::Text,
    thing::{Kind, Thing},
    world::World,
    xml::Xml,
};

const PAGE_ITEMS: usize = 100;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 3;

/// The kinds, with their words in a filter, their lists and their names.
const LISTS: [(Kind, &str, &str, &str); 4] = [
    (Kind::IamUser, "User", "UserDetailList", "UserName"),
    (Kind::IamGroup, "Group", "GroupDetailList", "GroupName"),
    (Kind::IamRole, "Role", "RoleDetailList", "RoleName"),
    (Kind::IamPolicy, "LocalManagedPolicy", "Policies", "PolicyName"),
];

pub(super) fn answer(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let wanted = call.members("Filter.member");
    let partition = world.organization_of(&session.account).map_or("aws", |o| o.partition.as_str());
    let mut others = deployed(world, session);
    others.extend(iam_policies_read::things(world, session));
    others.extend(iam_users::things(world, session));
    let seeded = things::all(world, session, call, None).into_iter().map(|found| found.thing);
    let all: Vec<&Thing> = seeded
        .chain(&others)
        .filter(|thing| {
            let word =
                LISTS.iter().find(|(kind, ..)| *kind == thing.kind).map(|(_, word, ..)| *word);
            word.is_some_and(|word| wanted.is_empty() || wanted.contains(&word))
        })
        .collect();
    let page_items =
        world.page_items(call.number("MaxItems").unwrap_or(PAGE_ITEMS), PAGE_GIVEN_MAX);
    let (items, next) =
        page(&session.account, call, &all, page_items, world.begins_with_empty_pages)?;
    let mut xml = Xml::default();
    xml.element("GetAccountAuthorizationDetailsResponse", |xml| {
        xml.element("GetAccountAuthorizationDetailsResult", |xml| {
            xml.text("IsTruncated", next.is_some().to_string());
            for (kind, _, list, name) in LISTS {
                xml.element(list, |xml| {
                    for thing in items.iter().filter(|thing| thing.kind == kind) {
                        let arn = arn(thing, partition, &session.account);
                        xml.element("member", |xml| write(xml, thing, name, &arn));
                    }
                });
            }
            if let Some(next) = next {
                xml.text("Marker", next);
            }
        });
    });
    Ok(Answer::xml(xml))
}

/// Of some there are those in paths.
fn arn(thing: &Thing, partition: &str, account: &str) -> String {
    match (thing.kind, thing.fields["Path"].as_str()) {
        (Kind::IamPolicy, Some(path)) => PolicyName::new(path, &thing.name).arn(partition, account),
        (Kind::IamUser, Some(path)) => user_arn(partition, account, path, &thing.name),
        (Kind::IamGroup, Some(path)) => group_arn(partition, account, path, &thing.name),
        _ => thing.arn(partition, account),
    }
}

fn write(xml: &mut Xml, thing: &Thing, name: &str, arn: &str) {
    xml.text(name, &thing.name).text("Arn", arn);
    xml.fields(&thing.fields);
    // Groups have no tags in AWS, and those of policies are not shown here.
    if matches!(thing.kind, Kind::IamRole | Kind::IamUser) {
        tags(xml, &thing.tags);
    }
}

pub(super) fn tags(xml: &mut Xml, tags: &BTreeMap<Text, Text>) {
    xml.element("Tags", |xml| {
        for (key, value) in tags {
            xml.element("member", |xml| {
                xml.raw("Key", &key.xml()).raw("Value", &value.xml());
            });
        }
    });
}

/// The tags of a customer-managed policy.
pub(super) fn policy_tags(
    world: &World,
    session: &Session,
    call: &Call,
) -> Result<Answer, Refusal> {
    let arn = call.form.get("PolicyArn").map(String::as_str).unwrap_or_default();
    let found = things::all(world, session, call, Some(Kind::IamPolicy))
        .into_iter()
        .find(|found| found.arn == arn)
        .ok_or_else(|| {
            Refusal::new(404, "NoSuchEntity", format!("Policy {arn} does not exist."))
        })?;
    let mut xml = Xml::default();
    xml.element("ListPolicyTagsResponse", |xml| {
        xml.element("ListPolicyTagsResult", |xml| {
            xml.text("IsTruncated", "false");
            tags(xml, &found.thing.tags);
        });
    });
    Ok(Answer::xml(xml))
}

/// The roles that templates have planted.
fn deployed(world: &World, session: &Session) -> Vec<Thing> {
    let roles = world.accounts.get(&session.account).into_iter().flat_map(|a| a.roles.values());
    roles
        .map(|role| Thing {
            kind: Kind::IamRole,
            region: String::new(),
            name: role.name.clone(),
            tags: role.tags.clone(),
            fields: json!({
                "Path": "/",
                "CreateDate": "2026-01-01T00:00:00Z",
                "AssumeRolePolicyDocument":
                    utf8_percent_encode(&role.trust.to_string(), NON_ALPHANUMERIC).to_string(),
            }),
        })
        .collect()
}
