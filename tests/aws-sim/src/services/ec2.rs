//! EC2: regions and instances.

use super::{page, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    world::{Instance, World},
    xml::Xml,
};

/// `DescribeInstances` refuses smaller pages (its own documentation: 5 to 1000).
const PAGE_MIN: usize = 5;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 2;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "DescribeRegions" => Ok(regions(world, session)),
        "DescribeInstances" => instances(world, session, call),
        _ => Err(unknown(call)),
    }
}

fn regions(world: &World, session: &Session) -> Answer {
    let regions = world.accounts.get(&session.account).map(|account| &account.regions);
    let mut xml = Xml::default();
    xml.element("DescribeRegionsResponse", |xml| {
        xml.element("regionInfo", |xml| {
            for region in regions.into_iter().flatten() {
                xml.element("item", |xml| {
                    xml.text("regionName", region)
                        .text("regionEndpoint", format!("ec2.{region}.amazonaws.com"))
                        .text("optInStatus", "opt-in-not-required");
                });
            }
        });
    });
    Answer::xml(xml)
}

fn instances(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let none = Vec::new();
    let account = world.accounts.get(&session.account);
    let instances = account.and_then(|a| a.instances.get(&call.region)).unwrap_or(&none);
    let page_items = match call.form.get("MaxResults").map(|text| text.parse::<usize>()) {
        None => instances.len(),
        Some(Ok(items)) if items >= PAGE_MIN => world.page_items(items, PAGE_GIVEN_MAX),
        Some(_) => {
            return Err(Refusal::new(400, "InvalidParameterValue", "MaxResults must be 5 to 1000"));
        }
    };
    let (items, next) =
        page(&session.account, call, instances, page_items, world.begins_with_empty_pages)?;
    let partition = world.organization_of(&session.account).map_or("aws", |o| o.partition.as_str());
    let mut xml = Xml::default();
    xml.element("DescribeInstancesResponse", |xml| {
        xml.element("reservationSet", |xml| {
            for instance in items {
                xml.element("item", |xml| {
                    xml.text("reservationId", format!("r-{}", &instance.id[2..]));
                    xml.element("instancesSet", |xml| {
                        xml.element("item", |xml| {
                            write(xml, instance, partition, &session.account);
                        });
                    });
                });
            }
        });
        if let Some(next) = next {
            xml.text("nextToken", next);
        }
    });
    Ok(Answer::xml(xml))
}

fn write(xml: &mut Xml, instance: &Instance, partition: &str, account: &str) {
    xml.text("instanceId", &instance.id)
        .text("imageId", "ami-0123456789abcdef0")
        .text("instanceType", &instance.kind)
        .text("launchTime", "2026-01-02T03:04:05.000Z")
        .text("privateIpAddress", "10.0.0.1")
        .text("platformDetails", "Linux/UNIX");
    xml.element("instanceState", |xml| {
        xml.text("code", "16").text("name", &instance.state);
    });
    if !instance.profile.is_empty() {
        xml.element("iamInstanceProfile", |xml| {
            let profile = &instance.profile;
            xml.text("arn", format!("arn:{partition}:iam::{account}:instance-profile/{profile}"));
        });
    }
    xml.element("tagSet", |xml| {
        for (key, value) in &instance.tags {
            xml.element("item", |xml| {
                xml.raw("key", &key.xml()).raw("value", &value.xml());
            });
        }
    });
}
