//! SQS: queues.

use serde_json::{Value, json};

use super::{things, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    thing::Kind,
    world::World,
};

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "ListQueues" => list(world, session, call),
        "GetQueueAttributes" => attributes(world, session, call),
        _ => Err(unknown(call)),
    }
}

fn list(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let asked = call.json["MaxResults"].as_u64().and_then(|asked| usize::try_from(asked).ok());
    let (found, next) =
        things::page_of(world, session, call, Kind::SqsQueue, asked.unwrap_or(1000))?;
    let urls: Vec<String> = found
        .iter()
        .map(|found| {
            let (region, account, name) = (&call.region, &session.account, &found.thing.name);
            json!(format!("https://sqs.{region}.amazonaws.com/{account}/{name}")).to_string()
        })
        .collect();
    Ok(things::answer("QueueUrls", &urls, ("NextToken", next)))
}

/// Only what is asked for is told.
fn attributes(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = call.text("QueueUrl").rsplit('/').next().unwrap_or_default();
    let found = things::named(world, session, call, Kind::SqsQueue, name).ok_or_else(|| {
        Refusal::new(400, "QueueDoesNotExist", "The specified queue does not exist.")
    })?;
    let wanted: Vec<&str> = call.json["AttributeNames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut fields = found.thing.fields.clone();
    fields["QueueArn"] = json!(found.arn);
    let told: serde_json::Map<String, Value> = fields
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| wanted.contains(&name.as_str()) || wanted.contains(&"All"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(Answer::json(&json!({ "Attributes": told })))
}
