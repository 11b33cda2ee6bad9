//! AWS Organizations: only the management account is answered.

use serde_json::{Value, json};

use super::{page, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    world::{Account, Organization, Unit, World},
};

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let organization = world
        .organization_of(&session.account)
        .filter(|organization| organization.management == session.account)
        .ok_or_else(|| {
            Refusal::denied("organizations", "You don't have permissions to access this resource.")
        })?;
    match call.operation.as_str() {
        "DescribeOrganization" => Ok(describe(organization)),
        "ListAccounts" => {
            let accounts = accounts(world, organization, |_| true);
            list(call, organization, "Accounts", &accounts, account)
        }
        "ListAccountsForParent" => {
            let parent = call.text("ParentId");
            let accounts = accounts(world, organization, |account| account.parent == parent);
            list(call, organization, "Accounts", &accounts, account)
        }
        "ListRoots" => {
            let roots = units(organization, "");
            list(call, organization, "Roots", &roots, unit)
        }
        "ListOrganizationalUnitsForParent" => {
            let units = units(organization, call.text("ParentId"));
            list(call, organization, "OrganizationalUnits", &units, unit)
        }
        "ListTagsForResource" => tags(world, organization, call),
        _ => Err(unknown(call)),
    }
}

fn arn(organization: &Organization, kind: &str, id: &str) -> String {
    format!(
        "arn:{}:organizations::{}:{kind}/{}/{id}",
        organization.partition, organization.management, organization.id
    )
}

fn describe(organization: &Organization) -> Answer {
    let management = &organization.management;
    Answer::json(&json!({ "Organization": {
        "Id": organization.id,
        "Arn": format!("arn:{}:organizations::{management}:organization/{}", organization.partition, organization.id),
        "FeatureSet": "ALL",
        "MasterAccountId": management,
        "MasterAccountArn": arn(organization, "account", management),
    } }))
}

fn accounts<'a>(
    world: &'a World,
    organization: &Organization,
    wanted: impl Fn(&Account) -> bool,
) -> Vec<(&'a String, &'a Account)> {
    let own = |account: &Account| account.organization == organization.id && wanted(account);
    world.accounts.iter().filter(|(_, account)| own(account)).collect()
}

fn account(organization: &Organization, (id, account): &(&String, &Account)) -> Value {
    let mut shown = json!({
        "Id": id,
        "Arn": arn(organization, "account", id),
        "Name": account.name,
        "Email": format!("{}@example.com", account.name),
        "State": account.state,
        "JoinedMethod": "CREATED",
        "JoinedTimestamp": 1_700_000_000.0,
    });
    if organization.tells_paths {
        let path = organization.path(&account.parent).join("/");
        shown["Paths"] = json!([format!("{}/{path}/{id}/", organization.id)]);
    }
    shown
}

fn units<'a>(organization: &'a Organization, parent: &str) -> Vec<(&'a String, &'a Unit)> {
    organization.units.iter().filter(|(_, unit)| unit.parent == parent).collect()
}

fn unit(organization: &Organization, (id, unit): &(&String, &Unit)) -> Value {
    let kind = if unit.parent.is_empty() { "root" } else { "ou" };
    json!({ "Id": id, "Arn": arn(organization, kind, id), "Name": unit.name })
}

/// Only what is on the page is written: an organization may have thousands of accounts.
fn list<T>(
    call: &Call,
    organization: &Organization,
    name: &str,
    items: &[T],
    show: impl Fn(&Organization, &T) -> Value,
) -> Result<Answer, Refusal> {
    let (items, next) = page(
        &organization.management,
        call,
        items,
        organization.page_items,
        organization.begins_with_empty_page,
    )?;
    let items: Vec<Value> = items.iter().map(|item| show(organization, item)).collect();
    let mut answer = json!({ name: items });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(Answer::json(&answer))
}

/// Written by hand: tags may hold what is no Unicode.
fn tags(world: &World, organization: &Organization, call: &Call) -> Result<Answer, Refusal> {
    let account = world
        .accounts
        .get(call.text("ResourceId"))
        .filter(|account| account.organization == organization.id)
        .ok_or_else(|| Refusal::new(400, "TargetNotFoundException", "no such target"))?;
    let tags: Vec<String> = account
        .tags
        .iter()
        .map(|(key, value)| format!("{{\"Key\":{},\"Value\":{}}}", key.json(), value.json()))
        .collect();
    Ok(Answer::json_text(format!("{{\"Tags\":[{}]}}", tags.join(","))))
}
