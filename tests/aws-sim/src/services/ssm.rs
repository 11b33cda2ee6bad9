//! Systems Manager: which instances it manages, sessions, and their documents ([`ssm_documents`]).

use serde_json::{Value, json};

use super::{page, ssm_documents, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    shell::Shell,
    world::World,
};

const PAGE_ITEMS: usize = 50;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 10;
/// Sessions on a page.
const SESSIONS_MAX: usize = 200;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "DescribeInstanceInformation" => information(world, session, call),
        "DescribeSessions" => sessions(world, session, call),
        "TerminateSession" => terminate(world, session, call),
        _ if ssm_documents::is_about(call) => ssm_documents::answer(world, session, call),
        _ => Err(unknown(call)),
    }
}

/// An instance shows when it has ever registered.
fn information(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let wanted: Vec<&str> = call.json["Filters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|filter| filter["Key"] == "InstanceIds")
        .flat_map(|filter| filter["Values"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    if wanted.len() > 50 {
        return Err(Refusal::new(400, "ValidationException", "at most 50 values"));
    }
    let account = world.accounts.get(&session.account);
    let found: Vec<Value> = account
        .and_then(|account| account.instances.get(&call.region))
        .into_iter()
        .flatten()
        .filter(|instance| !instance.ping.is_empty())
        .filter(|instance| wanted.is_empty() || wanted.contains(&instance.id.as_str()))
        .map(|instance| {
            json!({
                "InstanceId": instance.id,
                "PingStatus": instance.ping,
                "PlatformType": "Linux",
                "AgentVersion": "3.3.0.0",
            })
        })
        .collect();
    let page_items = world.page_items(PAGE_ITEMS, PAGE_GIVEN_MAX);
    let (items, next) =
        page(&session.account, call, &found, page_items, world.begins_with_empty_pages)?;
    let mut answer = json!({ "InstanceInformationList": items });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(Answer::json(&answer))
}

/// Sessions that are open, or those that have ended.
fn sessions(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let is_open = match call.text("State") {
        "Active" => true,
        "History" => false,
        _ => return Err(Refusal::new(400, "ValidationException", "State: Active or History")),
    };
    let filters: Vec<&Value> = call.json["Filters"].as_array().into_iter().flatten().collect();
    let passes = |shell: &Shell| {
        filters.iter().all(|filter| match filter["key"].as_str() {
            Some("Target") => filter["value"] == *shell.instance,
            _ => false,
        })
    };
    let now = world.clock.now();
    let account = world.accounts.get(&session.account);
    let shells = account.map(|account| account.shells.as_slice()).unwrap_or_default();
    let found: Vec<Value> = shells
        .iter()
        .filter(|shell| shell.region == call.region && shell.is_open(now) == is_open)
        .filter(|shell| passes(shell))
        .map(|shell| {
            json!({
                "SessionId": shell.id,
                "Target": shell.instance,
                "Status": if is_open { "Connected" } else { "Terminated" },
                "StartDate": shell.opened.timestamp(),
                "EndDate": shell.ended.map(|at| at.timestamp()),
                "DocumentName": shell.document,
                "Owner": shell.owner,
            })
        })
        .collect();
    let page_items = world.page_items(SESSIONS_MAX, PAGE_GIVEN_MAX);
    let (items, next) =
        page(&session.account, call, &found, page_items, world.begins_with_empty_pages)?;
    let mut answer = json!({ "Sessions": items });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(Answer::json(&answer))
}

/// Ends a session for good, also one that has ended.
fn terminate(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let now = world.clock.now();
    let id = call.text("SessionId");
    let Some(account) = world.accounts.get_mut(&session.account) else {
        return Err(Refusal::new(400, "DoesNotExistException", "no such account"));
    };
    let ends = now + account.shell_lag;
    let shell =
        account.shells.iter_mut().find(|shell| shell.id == id && shell.region == call.region);
    let Some(shell) = shell else {
        return Err(Refusal::new(400, "DoesNotExistException", "no such session"));
    };
    shell.ended = Some(shell.ended.map_or(ends, |ended| ended.min(ends)));
    Ok(Answer::json(&json!({ "SessionId": id })))
}
