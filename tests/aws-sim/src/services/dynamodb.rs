//! DynamoDB: tables.

use serde_json::json;

use super::{things, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    thing::Kind,
    world::World,
};

/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 2;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "ListTables" => Ok(list(world, session, call)),
        "DescribeTable" => describe(world, session, call),
        _ => Err(unknown(call)),
    }
}

/// Its token is no secret: the name of the last table of the page before.
fn list(world: &World, session: &Session, call: &Call) -> Answer {
    let found = things::all(world, session, call, Some(Kind::DynamodbTable));
    let mut names: Vec<&str> = found.iter().map(|found| found.thing.name.as_str()).collect();
    names.sort_unstable();
    names.retain(|name| *name > call.text("ExclusiveStartTableName"));
    let asked = call.json["Limit"].as_u64().and_then(|asked| usize::try_from(asked).ok());
    let page_items = world.page_items(asked.unwrap_or(100), PAGE_GIVEN_MAX);
    let is_last = names.len() <= page_items;
    names.truncate(page_items);
    let mut answer = json!({ "TableNames": names });
    if !is_last {
        answer["LastEvaluatedTableName"] = json!(names.last());
    }
    Answer::json(&answer)
}

fn describe(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = call.text("TableName");
    let found =
        things::named(world, session, call, Kind::DynamodbTable, name).ok_or_else(|| {
            Refusal::new(400, "ResourceNotFoundException", "Requested resource not found")
        })?;
    let table = found.json(json!({ "TableName": name, "TableArn": found.arn }), None);
    Ok(Answer::json_text(format!("{{\"Table\":{table}}}")))
}
