//! Secrets Manager: names of secrets.

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
        "ListSecrets" => list(world, session, call),
        _ => Err(unknown(call)),
    }
}

fn list(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let asked = call.json["MaxResults"].as_u64().and_then(|asked| usize::try_from(asked).ok());
    let (found, next) = things::page_of(world, session, call, Kind::Secret, asked.unwrap_or(100))?;
    let secrets: Vec<String> = found
        .iter()
        .map(|found| {
            found.json(json!({ "Name": found.thing.name, "ARN": found.arn }), Some("Tags"))
        })
        .collect();
    Ok(things::answer("SecretList", &secrets, ("NextToken", next)))
}
