//! The tagging API: tags of things by their ARNs.

use serde_json::{Value, json};

use super::{things, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    world::World,
};

/// ARNs that one call may name.
const ARNS_MAX: usize = 100;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "GetResources" => resources(world, session, call),
        _ => Err(unknown(call)),
    }
}

/// What has no tags is not shown, and a list of ARNs goes with no wish for pages.
fn resources(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let wanted: Vec<&str> = call.json["ResourceARNList"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let is_paged = ["PaginationToken", "ResourcesPerPage", "TagsPerPage"]
        .iter()
        .any(|name| !call.json[name].is_null());
    if wanted.is_empty() || wanted.len() > ARNS_MAX || is_paged {
        let message = "name 1 to 100 ARNs, and nothing of pages";
        return Err(Refusal::new(400, "InvalidParameterException", message));
    }
    let mappings: Vec<String> = things::all(world, session, call, None)
        .into_iter()
        .filter(|found| wanted.contains(&found.arn.as_str()) && !found.thing.tags.is_empty())
        .map(|found| {
            let tags = things::list(&found.thing.tags);
            format!("{{\"ResourceARN\":{},\"Tags\":{tags}}}", json!(found.arn))
        })
        .collect();
    Ok(things::answer(
        "ResourceTagMappingList",
        &mappings,
        ("PaginationToken", Some(String::new())),
    ))
}
