//! SQS: queues, and their messages.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{things, unknown};
use crate::{
    answer::{Answer, Refusal},
    delivery::Message,
    identity::Session,
    request::Call,
    thing::Kind,
    world::World,
};

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "ListQueues" => list(world, session, call),
        "GetQueueAttributes" => attributes(world, session, call),
        "ReceiveMessage" => receive(world, session, call),
        "DeleteMessageBatch" => delete(world, session, call),
        _ => Err(unknown(call)),
    }
}

/// The ARN of the queue that a call names by its URL.
pub(super) fn arn_of(partition: &str, call: &Call) -> String {
    let mut parts = call.text("QueueUrl").rsplit('/');
    let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("arn:{partition}:sqs:{}:{account}:{name}", call.region)
}

/// The messages of a queue of the caller's account.
fn messages<'a>(
    world: &'a mut World,
    session: &Session,
    call: &Call,
) -> Result<&'a mut Vec<Message>, Refusal> {
    let partition = session.role_arn.split(':').nth(1).unwrap_or_default();
    let arn = arn_of(partition, call);
    if arn.split(':').nth(4) != Some(session.account.as_str()) {
        let words = format!("{} has no policy that lets {} in", arn, session.arn);
        return Err(Refusal::denied("sqs", words));
    }
    let none = || Refusal::new(400, "QueueDoesNotExist", "The specified queue does not exist.");
    world.queues.get_mut(&arn).ok_or_else(none)
}

/// Those that show, which show no more for a while.
fn receive(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    world.deliver_due();
    let now = world.clock.now();
    let asked = call.json["MaxNumberOfMessages"].as_u64().unwrap_or(1);
    let hidden = TimeDelta::seconds(call.json["VisibilityTimeout"].as_i64().unwrap_or(30));
    let messages = messages(world, session, call)?.iter_mut();
    let shown = messages.filter(|message| message.visible <= now);
    let shown = shown.take(usize::try_from(asked).unwrap_or_default());
    let shown: Vec<Value> = shown
        .map(|message| {
            message.visible = now + hidden;
            json!({ "MessageId": message.id, "ReceiptHandle": message.id, "Body": message.body })
        })
        .collect();
    Ok(Answer::json(&json!({ "Messages": shown })))
}

fn delete(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let entries = call.json["Entries"].as_array().cloned().unwrap_or_default();
    let messages = messages(world, session, call)?;
    messages.retain(|message| !entries.iter().any(|one| one["ReceiptHandle"] == message.id));
    let done: Vec<Value> = entries.iter().map(|one| json!({ "Id": one["Id"] })).collect();
    Ok(Answer::json(&json!({ "Successful": done, "Failed": [] })))
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
