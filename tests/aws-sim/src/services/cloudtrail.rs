//! CloudTrail: what it has recorded of management events in the last 90 days.
//!
//! Source: the API reference of CloudTrail (`LookupEvents`).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{page, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    trail::Record,
    world::World,
};

/// The most that a page holds.
const PAGE_ITEMS_MAX: u64 = 50;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 10;
/// How long events are kept.
const KEPT: TimeDelta = TimeDelta::days(90);

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "LookupEvents" => look_up(world, session, call),
        _ => Err(unknown(call)),
    }
}

/// The newest first, by one attribute at most.
fn look_up(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let asked = call.json["MaxResults"].as_u64().unwrap_or(PAGE_ITEMS_MAX);
    if asked == 0 || asked > PAGE_ITEMS_MAX {
        return Err(Refusal::new(400, "InvalidMaxResultsException", "1 to 50"));
    }
    let now = world.clock.now();
    let (from, until) = (time(call, "StartTime"), time(call, "EndTime"));
    if from.is_some_and(|from| until.is_some_and(|until| from > until)) {
        let words = "The start time must be before the end time.";
        return Err(Refusal::new(400, "InvalidTimeRangeException", words));
    }
    let attributes = call.json["LookupAttributes"].as_array().map_or(&[][..], Vec::as_slice);
    if attributes.len() > 1 {
        let words = "You can only specify one attribute.";
        return Err(Refusal::new(400, "InvalidLookupAttributesException", words));
    }
    let attribute = |record: &Record, key: &str| match key {
        "EventId" => Ok(record.id.clone()),
        "EventName" => Ok(text(&record.event["eventName"])),
        "EventSource" => Ok(text(&record.event["eventSource"])),
        "Username" => Ok(record.user.clone()),
        "AccessKeyId" => Ok(text(&record.event["userIdentity"]["accessKeyId"])),
        _ => Err(Refusal::new(400, "InvalidLookupAttributesException", key)),
    };
    let mut found = Vec::new();
    for record in &world.trail.records {
        let is_here = record.account == session.account && record.region == call.region;
        let is_in_time = from.is_none_or(|from| record.at >= from)
            && until.is_none_or(|until| record.at <= until)
            && record.at > now - KEPT
            && record.delivered <= now;
        let mut is_meant = is_here && is_in_time && record.is_management;
        for asked in attributes {
            let value = attribute(record, asked["AttributeKey"].as_str().unwrap_or_default())?;
            is_meant &= asked["AttributeValue"] == json!(value);
        }
        if is_meant {
            found.extend(std::iter::repeat_n(record, 1 + usize::from(world.trail.repeats)));
        }
    }
    found.reverse();
    let shown: Vec<Value> = found.into_iter().map(shown).collect();
    let page_items = world.page_items(usize::try_from(asked).unwrap_or_default(), PAGE_GIVEN_MAX);
    let is_first_empty = world.begins_with_empty_pages;
    let (items, next) = page(&session.account, call, &shown, page_items, is_first_empty)?;
    let mut answer = json!({ "Events": items });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(Answer::json(&answer))
}

/// A time of the request, in seconds since 1970.
fn time(call: &Call, name: &str) -> Option<DateTime<Utc>> {
    let seconds = call.json[name].as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of times of our days")]
    DateTime::from_timestamp_millis((seconds * 1000.0) as i64)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn shown(record: &Record) -> Value {
    let event = &record.event;
    let resources = event["resources"].as_array().into_iter().flatten();
    let resources: Vec<Value> =
        resources.map(|one| json!({ "ResourceName": one["ARN"] })).collect();
    json!({
        "EventId": record.id,
        "EventName": event["eventName"],
        "ReadOnly": event["readOnly"].as_bool().unwrap_or_default().to_string(),
        "AccessKeyId": event["userIdentity"]["accessKeyId"],
        "EventTime": record.at.timestamp(),
        "EventSource": event["eventSource"],
        "Username": record.user,
        "Resources": resources,
        "CloudTrailEvent": event.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::tests::{MANAGEMENT, ask, world};

    fn record(world: &mut World, number: usize, user: &str) {
        let at = world.clock.now();
        world.trail.records.push(Record {
            id: number.to_string(),
            account: MANAGEMENT.to_owned(),
            region: "eu-west-1".to_owned(),
            at,
            delivered: at + world.trail.lag,
            user: user.to_owned(),
            is_management: true,
            is_filed: false,
            event: json!({ "eventName": "RunInstances" }),
        });
    }

    fn ids(answer: &Value) -> Vec<String> {
        let events = answer["Events"].as_array().expect("events");
        events.iter().map(|event| text(&event["EventId"])).collect()
    }

    #[test]
    fn the_newest_come_first_by_one_attribute_in_pages() {
        let mut world = world();
        for number in 0..25 {
            record(&mut world, number, if number % 2 == 0 { "ann" } else { "anna" });
        }
        let by = json!([{ "AttributeKey": "Username", "AttributeValue": "ann" }]);
        let mut asked = json!({ "LookupAttributes": by });
        let answer = ask(&mut world, "cloudtrail", "LookupEvents", asked.clone()).expect("a page");
        assert_eq!(ids(&answer)[..2], ["24", "22"]);
        asked["NextToken"] = answer["NextToken"].clone();
        let rest = ask(&mut world, "cloudtrail", "LookupEvents", asked.clone()).expect("a page");
        assert_eq!(ids(&rest), ["4", "2", "0"]);
        asked["LookupAttributes"] =
            json!([{ "AttributeKey": "Username", "AttributeValue": "anna" }]);
        assert!(ask(&mut world, "cloudtrail", "LookupEvents", asked).is_err(), "another list");
        let both = json!({ "LookupAttributes": [by[0], by[0]] });
        let refusal = ask(&mut world, "cloudtrail", "LookupEvents", both).expect_err("two");
        assert_eq!(refusal.code, "InvalidLookupAttributesException");
    }

    #[test]
    fn what_is_not_delivered_or_too_old_does_not_show() {
        let mut world = world();
        world.trail.lag = TimeDelta::minutes(5);
        record(&mut world, 1, "ann");
        let shows = |world: &mut World| {
            let answer = ask(world, "cloudtrail", "LookupEvents", json!({})).expect("a page");
            ids(&answer).len()
        };
        assert_eq!(shows(&mut world), 0);
        world.clock.advance(TimeDelta::minutes(5));
        assert_eq!(shows(&mut world), 1);
        world.trail.repeats = true;
        assert_eq!(shows(&mut world), 2);
        world.clock.advance(KEPT);
        assert_eq!(shows(&mut world), 0);
    }
}
