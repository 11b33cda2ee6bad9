//! IAM: what shows of customer managed policies.

use chrono::{DateTime, SecondsFormat, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    iam_details,
    iam_policies::{arn, form, missing, missing_version, partition, told, uses},
    page,
};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    managed_policy::{ManagedPolicy, PolicyName, Version},
    request::Call,
    text::Text,
    thing::{Kind, Thing},
    world::World,
    xml::Xml,
};

/// What RFC 3986 lets stand.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Without a wish, AWS gives so many.
const PAGE_ITEMS: usize = 100;
/// AWS may give fewer than were asked for.
const PAGE_GIVEN_MAX: usize = 2;

/// What shows of a policy.
pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = PolicyName::of_arn(arn(call)).unwrap_or_default();
    let uses = uses(world, session, &name);
    let now = world.clock.now();
    let is_here = name.arn(partition(world, session), &session.account) == arn(call);
    let account = world.accounts.get(&session.account).filter(|_| is_here);
    let policy = account.and_then(|account| account.visible_policy(&name, now));
    let Some(policy) = policy else {
        if call.operation == "ListPolicyTags" {
            return iam_details::policy_tags(world, session, call);
        }
        return Err(missing(call));
    };
    match call.operation.as_str() {
        "GetPolicy" => Ok(told(call, |xml| {
            xml.element("Policy", |xml| write(xml, policy, arn(call), uses));
        })),
        "GetPolicyVersion" => {
            let version = policy.version(form(call, "VersionId"));
            let version = version.ok_or_else(|| missing_version(call))?;
            Ok(told(call, |xml| write_version(xml, "PolicyVersion", (policy, version), true)))
        }
        "ListPolicyVersions" => {
            let newest_first: Vec<&Version> = policy.versions.iter().rev().collect();
            paged(world, session, call, ("Versions", &newest_first), |xml, version| {
                write_version(xml, "member", (policy, version), false);
            })
        }
        _ => {
            let tags: Vec<(&Text, &Text)> = policy.tags.iter().collect();
            paged(world, session, call, ("Tags", &tags), |xml, (key, value)| {
                xml.element("member", |xml| {
                    xml.raw("Key", &key.xml()).raw("Value", &value.xml());
                });
            })
        }
    }
}

/// One page of a list.
fn paged<T>(
    world: &World,
    session: &Session,
    call: &Call,
    (list, items): (&str, &[T]),
    write: impl Fn(&mut Xml, &T),
) -> Result<Answer, Refusal> {
    let asked = call.number("MaxItems").unwrap_or(PAGE_ITEMS);
    let page_items = world.page_items(asked, PAGE_GIVEN_MAX);
    let (items, next) =
        page(&session.account, call, items, page_items, world.begins_with_empty_pages)?;
    Ok(told(call, |xml| {
        xml.element(list, |xml| {
            for item in items {
                write(xml, item);
            }
        });
        xml.text("IsTruncated", next.is_some().to_string());
        if let Some(next) = next {
            xml.text("Marker", next);
        }
    }))
}

/// A policy.
pub(super) fn write(
    xml: &mut Xml,
    policy: &ManagedPolicy,
    arn: &str,
    (attached, bounds): (usize, usize),
) {
    xml.text("PolicyName", &policy.name.name)
        .text("PolicyId", &policy.id)
        .text("Arn", arn)
        .text("Path", &policy.name.path)
        .text("DefaultVersionId", &policy.default_version)
        .text("AttachmentCount", attached.to_string())
        .text("PermissionsBoundaryUsageCount", bounds.to_string())
        .text("IsAttachable", "true")
        .text("CreateDate", date(policy.created))
        .text("UpdateDate", date(policy.updated));
    if !policy.description.is_empty() {
        xml.text("Description", &policy.description);
    }
    if !policy.tags.is_empty() {
        iam_details::tags(xml, &policy.tags);
    }
}

/// A version; its document only where AWS tells it.
pub(super) fn write_version(
    xml: &mut Xml,
    element: &str,
    (policy, version): (&ManagedPolicy, &Version),
    is_whole: bool,
) {
    xml.element(element, |xml| {
        if is_whole {
            xml.text("Document", encoded(&version.document));
        }
        xml.text("VersionId", &version.id)
            .text("IsDefaultVersion", (version.id == policy.default_version).to_string())
            .text("CreateDate", date(version.created));
    });
}

/// The policies of an account, as account details show them.
pub(super) fn things(world: &World, session: &Session) -> Vec<Thing> {
    let directory = world.organization_of(&session.account).map(|found| &found.directory);
    let account = world.accounts.get(&session.account);
    let shown = account.into_iter().flat_map(|found| found.visible_policies(world.clock.now()));
    shown
        .map(|policy| {
            let uses = directory.map(|found| found.uses(&session.account, &policy.name));
            let (attached, bounds) = uses.unwrap_or_default();
            let versions = policy.versions.iter().map(|version| {
                json!({
                    "Document": encoded(&version.document),
                    "VersionId": version.id,
                    "IsDefaultVersion": version.id == policy.default_version,
                    "CreateDate": date(version.created),
                })
            });
            let fields = json!({
                "PolicyId": policy.id,
                "Path": policy.name.path,
                "DefaultVersionId": policy.default_version,
                "AttachmentCount": attached,
                "PermissionsBoundaryUsageCount": bounds,
                "IsAttachable": true,
                "CreateDate": date(policy.created),
                "UpdateDate": date(policy.updated),
                "PolicyVersionList": { "member": versions.collect::<Vec<Value>>() },
            });
            let (kind, region) = (Kind::IamPolicy, String::new());
            let (name, tags) = (policy.name.name.clone(), policy.tags.clone());
            Thing { kind, region, name, tags, fields }
        })
        .collect()
}

fn encoded(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

fn date(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
