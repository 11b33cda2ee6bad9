//! EKS: clusters.

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
        "ListClusters" => list(world, session, call),
        "DescribeCluster" => describe(world, session, call),
        _ => Err(unknown(call)),
    }
}

fn list(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let asked = call.number("maxResults").unwrap_or(100);
    let (found, next) = things::page_of(world, session, call, Kind::EksCluster, asked)?;
    let names: Vec<String> =
        found.iter().map(|found| json!(found.thing.name).to_string()).collect();
    Ok(things::answer("clusters", &names, ("nextToken", next)))
}

fn describe(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = call.path.rsplit('/').next().unwrap_or_default();
    let found = things::named(world, session, call, Kind::EksCluster, name).ok_or_else(|| {
        Refusal::new(
            404,
            "ResourceNotFoundException",
            format!("No cluster found for name: {name}."),
        )
    })?;
    let mut cluster = found.json(json!({ "name": name, "arn": found.arn }), None);
    cluster.truncate(cluster.len() - 1);
    let tags = things::object(&found.thing.tags);
    Ok(Answer::json_text(format!("{{\"cluster\":{cluster},\"tags\":{tags}}}}}")))
}
