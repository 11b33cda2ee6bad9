//! What the services of [`Thing`]s have in common.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::page;
use crate::{
    answer::Refusal,
    identity::Session,
    request::Call,
    text::Text,
    thing::{Kind, Thing},
    world::World,
};

/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 2;

/// A thing with its ARN.
pub(super) struct Found<'a> {
    pub(super) thing: &'a Thing,
    pub(super) arn: String,
}

impl Found<'_> {
    /// Its fields with others, as JSON. Tags are written by hand: they may hold what is no
    /// Unicode.
    pub(super) fn json(&self, others: Value, tags_field: Option<&str>) -> String {
        let mut fields = self.thing.fields.clone();
        if let (Some(fields), Value::Object(others)) = (fields.as_object_mut(), others) {
            fields.extend(others);
        }
        let mut text = fields.to_string();
        if let Some(field) = tags_field {
            text.truncate(text.len() - 1);
            text = format!("{text},\"{field}\":{}}}", list(&self.thing.tags));
        }
        text
    }
}

/// Tags as a JSON list.
pub(super) fn list(tags: &BTreeMap<Text, Text>) -> String {
    let tags: Vec<String> = tags
        .iter()
        .map(|(key, value)| format!("{{\"Key\":{},\"Value\":{}}}", key.json(), value.json()))
        .collect();
    format!("[{}]", tags.join(","))
}

/// Tags as a JSON object.
pub(super) fn object(tags: &BTreeMap<Text, Text>) -> String {
    let tags: Vec<String> =
        tags.iter().map(|(key, value)| format!("{}:{}", key.json(), value.json())).collect();
    format!("{{{}}}", tags.join(","))
}

/// The things of a kind, or of every kind, that a call can see.
pub(super) fn all<'a>(
    world: &'a World,
    session: &Session,
    call: &Call,
    kind: Option<Kind>,
) -> Vec<Found<'a>> {
    let partition = world.organization_of(&session.account).map_or("aws", |o| o.partition.as_str());
    let account = world.accounts.get(&session.account);
    account
        .into_iter()
        .flat_map(|account| &account.things)
        .filter(|thing| thing.region == call.region || thing.kind.is_global())
        .filter(|thing| kind.is_none_or(|kind| thing.kind == kind))
        .map(|thing| Found { thing, arn: thing.arn(partition, &session.account) })
        .collect()
}

/// One page of them, and the token of the next.
pub(super) fn page_of<'a>(
    world: &'a World,
    session: &Session,
    call: &Call,
    kind: Kind,
    asked: usize,
) -> Result<(Vec<Found<'a>>, Option<String>), Refusal> {
    let found = all(world, session, call, Some(kind));
    let numbers: Vec<usize> = (0..found.len()).collect();
    let (numbers, next) = page(
        &session.account,
        call,
        &numbers,
        world.page_items(asked, PAGE_GIVEN_MAX),
        world.begins_with_empty_pages,
    )?;
    let found = found.into_iter().enumerate().filter(|(at, _)| numbers.contains(at));
    Ok((found.map(|(_, found)| found).collect(), next))
}

/// The one of a name.
pub(super) fn named<'a>(
    world: &'a World,
    session: &Session,
    call: &Call,
    kind: Kind,
    name: &str,
) -> Option<Found<'a>> {
    all(world, session, call, Some(kind)).into_iter().find(|found| found.thing.name == name)
}

/// A JSON answer of a list that is written already, with the token of the next page.
pub(super) fn answer(
    list: &str,
    items: &[String],
    token: (&str, Option<String>),
) -> crate::answer::Answer {
    let next = match token {
        (name, Some(next)) => format!(",\"{name}\":{}", json!(next)),
        (_, None) => String::new(),
    };
    crate::answer::Answer::json_text(format!("{{\"{list}\":[{}]{next}}}", items.join(",")))
}
