//! Lambda: functions.

use serde_json::json;

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
        "ListFunctions" => list(world, session, call),
        _ => Err(unknown(call)),
    }
}

/// A list shows no tags.
fn list(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let asked = call.number("MaxItems").unwrap_or(50);
    let (found, next) = things::page_of(world, session, call, Kind::LambdaFunction, asked)?;
    let functions: Vec<String> = found
        .iter()
        .map(|found| {
            let own = json!({ "FunctionName": found.thing.name, "FunctionArn": found.arn });
            found.json(own, None)
        })
        .collect();
    Ok(things::answer("Functions", &functions, ("NextMarker", next)))
}
