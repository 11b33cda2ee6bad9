//! SNS: topics.

use super::{things, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    thing::Kind,
    world::World,
    xml::Xml,
};

/// `ListTopics` takes no wish for less.
const PAGE_TOPICS: usize = 100;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "ListTopics" => list(world, session, call),
        "GetTopicAttributes" => attributes(world, session, call),
        _ => Err(unknown(call)),
    }
}

fn list(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let (found, next) = things::page_of(world, session, call, Kind::SnsTopic, PAGE_TOPICS)?;
    let mut xml = Xml::default();
    xml.element("ListTopicsResponse", |xml| {
        xml.element("ListTopicsResult", |xml| {
            xml.element("Topics", |xml| {
                for found in found {
                    xml.element("member", |xml| {
                        xml.text("TopicArn", found.arn);
                    });
                }
            });
            if let Some(next) = next {
                xml.text("NextToken", next);
            }
        });
    });
    Ok(Answer::xml(xml))
}

fn attributes(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let arn = call.form.get("TopicArn").map(String::as_str).unwrap_or_default();
    let name = arn.rsplit(':').next().unwrap_or_default();
    let found = things::named(world, session, call, Kind::SnsTopic, name)
        .ok_or_else(|| Refusal::new(404, "NotFound", "Topic does not exist"))?;
    let mut xml = Xml::default();
    xml.element("GetTopicAttributesResponse", |xml| {
        xml.element("GetTopicAttributesResult", |xml| {
            xml.element("Attributes", |xml| {
                let own = [("TopicArn", found.arn.as_str()), ("Owner", session.account.as_str())];
                let fields = found.thing.fields.as_object().into_iter().flatten();
                let fields =
                    fields.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
                for (name, value) in own.into_iter().chain(fields) {
                    xml.element("entry", |xml| {
                        xml.text("key", name).text("value", value);
                    });
                }
            });
        });
    });
    Ok(Answer::xml(xml))
}
