//! IAM: users, the groups that they are in, and the policies that they have.
//!
//! Sources: the API reference of IAM, and its quotas page.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    iam_details,
    iam_policies::{done, form, partition, told},
    unknown,
};
use crate::{
    answer::{Answer, Refusal},
    grammar,
    iam_user::{
        ATTACHED_MAX, GROUPS_MAX, INLINE_CHARACTERS_MAX, IamUser, group_arn, path, user_arn,
    },
    identity::Session,
    managed_policy::PolicyName,
    request::Call,
    thing::{Kind, Thing},
    world::{Account, World},
    xml::Xml,
};

const CREATED: &str = "2026-01-01T00:00:00Z";

/// Whether a call is about a user.
pub(super) fn is_about(call: &Call) -> bool {
    matches!(
        call.operation.as_str(),
        "AddUserToGroup"
            | "AttachUserPolicy"
            | "DeleteUserPolicy"
            | "DetachUserPolicy"
            | "GetUser"
            | "GetUserPolicy"
            | "ListAttachedUserPolicies"
            | "ListGroupsForUser"
            | "ListUsers"
            | "PutUserPolicy"
            | "RemoveUserFromGroup"
    )
}

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let now = world.clock.now();
    let partition = partition(world, session).to_owned();
    let account = world.accounts.get_mut(&session.account).ok_or_else(|| unknown(call))?;
    if call.operation == "ListUsers" {
        return Ok(users(call, (&partition, &session.account), account, now));
    }
    let name = form(call, "UserName");
    let is_read = call.operation.starts_with("Get") || call.operation.starts_with("List");
    let newest = account.iam_users.get(name);
    let found = if is_read { account.visible_user(name, now) } else { newest };
    let found = found.cloned().ok_or_else(|| missing(&format!("The user with name {name}")))?;
    let (id, found) = (&session.account, &found);
    match call.operation.as_str() {
        "GetUser" => Ok(user(call, (&partition, id, name), found)),
        "GetUserPolicy" => policy(call, name, found),
        "ListAttachedUserPolicies" => Ok(attached(call, found)),
        "ListGroupsForUser" => Ok(groups(call, (&partition, id), account, found)),
        _ => {
            let mut changed = found.clone();
            change(account, (&partition, id), call, &mut changed)?;
            account.change_user(name, (now, false), |user| *user = changed);
            Ok(done(call))
        }
    }
}

fn missing(what: &str) -> Refusal {
    Refusal::new(404, "NoSuchEntity", format!("{what} cannot be found."))
}

fn full(quota: &str, max: usize) -> Refusal {
    Refusal::new(409, "LimitExceeded", format!("Cannot exceed quota for {quota}: {max}"))
}

/// What is there already is put in again without a word; what is not there cannot be taken out.
fn change(
    account: &Account,
    (partition, id): (&str, &str),
    call: &Call,
    user: &mut IamUser,
) -> Result<(), Refusal> {
    let (group, arn, name) =
        (form(call, "GroupName"), form(call, "PolicyArn"), form(call, "PolicyName"));
    match call.operation.as_str() {
        "AddUserToGroup" | "RemoveUserFromGroup" if !account.iam_groups.contains_key(group) => {
            return Err(missing(&format!("The group with name {group}")));
        }
        "AddUserToGroup" => {
            user.groups.insert(group.to_owned());
        }
        "RemoveUserFromGroup" => {
            if !user.groups.remove(group) {
                return Err(missing(&format!("The user in the group {group}")));
            }
        }
        "AttachUserPolicy" => {
            let of_aws = format!("arn:{partition}:iam::aws:policy/");
            let ours = PolicyName::of_arn(arn).filter(|name| name.arn(partition, id) == arn);
            let is_ours = ours.is_some_and(|name| account.managed_policies.contains_key(&name));
            if !is_ours && !arn.starts_with(&of_aws) {
                return Err(missing(&format!("Policy {arn}")));
            }
            user.attached.insert(arn.to_owned());
        }
        "DetachUserPolicy" => {
            if !user.attached.remove(arn) {
                return Err(missing(&format!("Policy {arn} at the user")));
            }
        }
        "PutUserPolicy" => {
            let document = form(call, "PolicyDocument");
            if let Some(flaw) = grammar::flaw(document) {
                return Err(Refusal::new(400, "MalformedPolicyDocument", flaw));
            }
            user.policies.insert(name.to_owned(), document.to_owned());
        }
        "DeleteUserPolicy" => {
            if user.policies.remove(name).is_none() {
                return Err(missing(&format!("The user policy with name {name}")));
            }
        }
        _ => return Err(unknown(call)),
    }
    let characters: usize = user.policies.values().map(|one| grammar::characters(one)).sum();
    if user.groups.len() > GROUPS_MAX {
        return Err(full("GroupsPerUser", GROUPS_MAX));
    }
    if user.attached.len() > ATTACHED_MAX {
        return Err(full("PoliciesPerUser", ATTACHED_MAX));
    }
    if characters > INLINE_CHARACTERS_MAX {
        return Err(full("UserPolicySize", INLINE_CHARACTERS_MAX));
    }
    Ok(())
}

fn user(call: &Call, (partition, id, name): (&str, &str, &str), found: &IamUser) -> Answer {
    told(call, |xml| {
        xml.element("User", |xml| {
            write(xml, (partition, id, name), found);
            iam_details::tags(xml, &found.tags);
        });
    })
}

fn write(xml: &mut Xml, (partition, id, name): (&str, &str, &str), found: &IamUser) {
    xml.text("Path", path(&found.path))
        .text("UserName", name)
        .text("UserId", &found.id)
        .text("Arn", user_arn(partition, id, &found.path, name))
        .text("CreateDate", CREATED);
}

/// The list does not tell tags.
fn users(
    call: &Call,
    (partition, id): (&str, &str),
    account: &Account,
    now: DateTime<Utc>,
) -> Answer {
    told(call, |xml| {
        xml.text("IsTruncated", "false");
        xml.element("Users", |xml| {
            for (name, user) in account.showing_users.all(&account.iam_users, now) {
                xml.element("member", |xml| write(xml, (partition, id, name), user));
            }
        });
    })
}

fn policy(call: &Call, user: &str, found: &IamUser) -> Result<Answer, Refusal> {
    let name = form(call, "PolicyName");
    let document = found.policies.get(name);
    let document = document.ok_or_else(|| missing(&format!("The user policy with name {name}")))?;
    Ok(told(call, |xml| {
        xml.text("UserName", user)
            .text("PolicyName", name)
            .text("PolicyDocument", encoded(document));
    }))
}

fn encoded(document: &str) -> String {
    utf8_percent_encode(document, NON_ALPHANUMERIC).to_string()
}

fn attached(call: &Call, found: &IamUser) -> Answer {
    told(call, |xml| {
        xml.text("IsTruncated", "false");
        write_attached(xml, "AttachedPolicies", &found.attached);
    })
}

fn write_attached<'a>(xml: &mut Xml, list: &str, arns: impl IntoIterator<Item = &'a String>) {
    xml.element(list, |xml| {
        for arn in arns {
            let name = arn.rsplit('/').next().unwrap_or_default();
            xml.element("member", |xml| {
                xml.text("PolicyName", name).text("PolicyArn", arn);
            });
        }
    });
}

/// IAM gives as many on a page as it likes: here one.
fn groups(
    call: &Call,
    (partition, id): (&str, &str),
    account: &Account,
    found: &IamUser,
) -> Answer {
    let before = form(call, "Marker");
    let mut rest = found.groups.iter().filter(|name| name.as_str() > before);
    let first = rest.next();
    let has_more = rest.next().is_some();
    told(call, |xml| {
        xml.text("IsTruncated", has_more.to_string());
        xml.element("Groups", |xml| {
            if let Some(name) = first {
                let group = account.iam_groups.get(name).cloned().unwrap_or_default();
                xml.element("member", |xml| {
                    xml.text("Path", path(&group.path))
                        .text("GroupName", name)
                        .text("GroupId", "AGPASIM")
                        .text("Arn", group_arn(partition, id, &group.path, name))
                        .text("CreateDate", CREATED);
                });
            }
        });
        if let Some(last) = first.filter(|_| has_more) {
            xml.text("Marker", last);
        }
    })
}

/// The users and groups of an account, as authorization details show them.
pub(super) fn things(world: &World, session: &Session) -> Vec<Thing> {
    let Some(account) = world.accounts.get(&session.account) else { return Vec::new() };
    let attached = |arns: &BTreeSet<String>| {
        let each = arns.iter().map(|arn| {
            let name = arn.rsplit('/').next().unwrap_or_default();
            json!({ "PolicyName": name, "PolicyArn": arn })
        });
        json!({ "member": each.collect::<Vec<Value>>() })
    };
    let users = account.showing_users.all(&account.iam_users, world.clock.now());
    let users = users.into_iter().map(|(name, user)| {
        let policies = user.policies.iter().map(
            |(name, document)| json!({ "PolicyName": name, "PolicyDocument": encoded(document) }),
        );
        let fields = json!({
            "Path": path(&user.path),
            "CreateDate": CREATED,
            "GroupList": { "member": user.groups },
            "AttachedManagedPolicies": attached(&user.attached),
            "UserPolicyList": { "member": policies.collect::<Vec<Value>>() },
        });
        let (kind, region) = (Kind::IamUser, String::new());
        Thing { kind, region, name: name.clone(), tags: user.tags.clone(), fields }
    });
    let groups = account.iam_groups.iter().map(|(name, group)| {
        let fields = json!({
            "Path": path(&group.path),
            "CreateDate": CREATED,
            "AttachedManagedPolicies": attached(&group.attached),
        });
        let (kind, region) = (Kind::IamGroup, String::new());
        Thing { kind, region, name: name.clone(), tags: [].into(), fields }
    });
    users.chain(groups).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        iam_user::IamGroup,
        services::tests::{MEMBER, ask_iam, texts, world},
    };

    const READS: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sqs:GetQueueUrl","Resource":"*"}}"#;
    const POLICY: &str = "arn:aws:iam::222222222222:policy/apono-grantable/read";
    const QUEUE: &str = "arn:aws:sqs:eu-west-1:222222222222:q";

    /// A user, two groups one of which may read, and a policy that allows to.
    fn seeded() -> World {
        let mut world = world();
        world.put_policy(MEMBER, "/apono-grantable/", "read", READS);
        let account = world.account(MEMBER);
        account.iam_users.insert("ann".to_owned(), IamUser::default());
        let reads = IamGroup { attached: [POLICY.to_owned()].into(), ..IamGroup::default() };
        account.iam_groups.insert("readers".to_owned(), reads);
        account.iam_groups.insert("writers".to_owned(), IamGroup::default());
        world
    }

    fn ask(
        world: &mut World,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, String> {
        let parameters = [&[("UserName", "ann")], parameters].concat();
        ask_iam(world, MEMBER, operation, &parameters).map_err(|refusal| refusal.code)
    }

    fn may(world: &World) -> bool {
        world.user_may(MEMBER, "ann", "sqs:GetQueueUrl", QUEUE)
    }

    #[test]
    fn a_user_may_by_a_group_a_policy_or_their_own() {
        for (give, take, parameters) in [
            ("AddUserToGroup", "RemoveUserFromGroup", vec![("GroupName", "readers")]),
            ("AttachUserPolicy", "DetachUserPolicy", vec![("PolicyArn", POLICY)]),
            (
                "PutUserPolicy",
                "DeleteUserPolicy",
                vec![("PolicyName", "own"), ("PolicyDocument", READS)],
            ),
        ] {
            let mut world = seeded();
            assert_eq!(ask(&mut world, take, &parameters), Err("NoSuchEntity".to_owned()));
            for _ in 0..2 {
                ask(&mut world, give, &parameters).expect("an answer");
                assert!(may(&world), "{give}");
            }
            ask(&mut world, take, &parameters).expect("an answer");
            assert!(!may(&world), "{take}");
        }
    }

    #[test]
    fn what_is_changed_shows_after_the_lag() {
        let mut world = seeded();
        world.account(MEMBER).iam_lag = TimeDelta::seconds(5);
        let shows = |world: &mut World| {
            ask(world, "ListGroupsForUser", &[]).expect("groups").contains("readers")
        };
        ask(&mut world, "AddUserToGroup", &[("GroupName", "readers")]).expect("an answer");
        assert!(!shows(&mut world) && !may(&world));
        world.clock.advance(TimeDelta::seconds(5));
        assert!(shows(&mut world) && may(&world));
    }

    #[test]
    fn quotas_are_kept() {
        let mut world = seeded();
        let long = READS.replace('*', &format!("arn:aws:sqs:*:*:{}", "x".repeat(1000)));
        let put = |world: &mut World, name: &str, document: &str| {
            ask(world, "PutUserPolicy", &[("PolicyName", name), ("PolicyDocument", document)])
        };
        assert!(put(&mut world, "one", &long).is_ok());
        assert_eq!(put(&mut world, "two", &long), Err("LimitExceeded".to_owned()));
        assert_eq!(put(&mut world, "two", "{"), Err("MalformedPolicyDocument".to_owned()));
        for number in 0..=GROUPS_MAX {
            let name = format!("g{number}");
            world.account(MEMBER).iam_groups.insert(name.clone(), IamGroup::default());
            let joined = ask(&mut world, "AddUserToGroup", &[("GroupName", &name)]);
            assert_eq!(joined.is_ok(), number < GROUPS_MAX);
        }
        let first = ask(&mut world, "ListGroupsForUser", &[]).expect("groups");
        assert_eq!(texts(&first, "GroupName"), ["g0"]);
        let parameters = [("Marker", texts(&first, "Marker")[0])];
        let second = ask(&mut world, "ListGroupsForUser", &parameters).expect("groups");
        assert_eq!(texts(&second, "GroupName"), ["g1"]);
    }
}
