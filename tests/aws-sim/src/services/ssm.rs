//! Systems Manager: which instances it manages.

use serde_json::{Value, json};

use super::{page, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    world::World,
};

const PAGE_ITEMS: usize = 50;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 10;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "DescribeInstanceInformation" => information(world, session, call),
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
