//! RDS: instances and clusters.

use super::{things, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    thing::Kind,
    world::World,
    xml::Xml,
};

/// Pages hold 20 to 100.
const PAGE_MIN: usize = 20;

/// How a list is written.
struct List {
    kind: Kind,
    operation: &'static str,
    items: &'static str,
    item: &'static str,
    identifier: &'static str,
    arn: &'static str,
}

const INSTANCES: List = List {
    kind: Kind::RdsInstance,
    operation: "DescribeDBInstances",
    items: "DBInstances",
    item: "DBInstance",
    identifier: "DBInstanceIdentifier",
    arn: "DBInstanceArn",
};

const CLUSTERS: List = List {
    kind: Kind::RdsCluster,
    operation: "DescribeDBClusters",
    items: "DBClusters",
    item: "DBCluster",
    identifier: "DBClusterIdentifier",
    arn: "DBClusterArn",
};

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "DescribeDBInstances" => describe(world, session, call, &INSTANCES),
        "DescribeDBClusters" => describe(world, session, call, &CLUSTERS),
        _ => Err(unknown(call)),
    }
}

fn describe(world: &World, session: &Session, call: &Call, list: &List) -> Result<Answer, Refusal> {
    let asked = call.number("MaxRecords").unwrap_or(100);
    if !(PAGE_MIN..=100).contains(&asked) {
        return Err(Refusal::new(400, "InvalidParameterValue", "MaxRecords must be 20 to 100"));
    }
    let (found, next) = things::page_of(world, session, call, list.kind, asked)?;
    let mut xml = Xml::default();
    xml.element(&format!("{}Response", list.operation), |xml| {
        xml.element(&format!("{}Result", list.operation), |xml| {
            xml.element(list.items, |xml| {
                for found in found {
                    xml.element(list.item, |xml| {
                        xml.text(list.identifier, &found.thing.name).text(list.arn, &found.arn);
                        xml.fields(&found.thing.fields);
                        xml.element("TagList", |xml| {
                            for (key, value) in &found.thing.tags {
                                xml.element("Tag", |xml| {
                                    xml.raw("Key", &key.xml()).raw("Value", &value.xml());
                                });
                            }
                        });
                    });
                }
            });
            if let Some(next) = next {
                xml.text("Marker", next);
            }
        });
    });
    Ok(Answer::xml(xml))
}
