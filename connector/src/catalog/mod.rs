//! Floor 3: what can be discovered, one file a collector.
//!
//! A collector reads one service's things in one place, a page at a time. It says
//! which IAM actions it calls, which types it yields and what their attributes mean;
//! the engine that loops over its pages, stores them and proves absence stands in
//! `sync` and knows no collector by name.
//!
//! To add one: a file here, and a word in [`COLLECTORS`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::{
    aws::{Access, ApiError},
    model::{
        failure::{Failure, Reason, ReasonCode},
        integration::Settings,
        organization::Account,
        proof::PageToken,
        resource::{Resource, Tags},
        scope::{Place, Reach},
    },
};

mod account;
mod dynamodb_table;
mod ec2_instance;
mod eks_cluster;
mod iam;
pub mod identity_center;
mod identity_center_group;
mod identity_center_user;
mod lambda_function;
pub mod organization;
mod permission_set;
mod rds;
pub mod regions;
mod s3_bucket;
mod secret;
mod sns_topic;
mod sqs_queue;
mod tags;

/// Every collector.
pub static COLLECTORS: &[&dyn Collector] = &[
    &account::Accounts,
    &dynamodb_table::Tables,
    &ec2_instance::Instances,
    &eks_cluster::Clusters,
    &iam::AuthorizationDetails,
    &identity_center_group::Groups,
    &identity_center_user::Users,
    &lambda_function::Functions,
    &permission_set::PermissionSets,
    &rds::Clusters,
    &rds::Instances,
    &s3_bucket::Buckets,
    &secret::Secrets,
    &sns_topic::Topics,
    &sqs_queue::Queues,
];

/// Calls that a collector makes at once for the things of one page.
const CALLS_AT_ONCE: usize = 8;

/// A kind of resource.
#[derive(Debug)]
pub struct ResourceType {
    /// Stable id.
    pub id: &'static str,
    /// Name for people.
    pub display_name: &'static str,
    /// Attribute names with what they say.
    pub attributes: &'static [(&'static str, &'static str)],
}

/// Where a collector stands when it reads.
#[derive(Debug)]
pub struct Ground<'a> {
    /// The role session in the place's region (home region where it has none).
    pub access: &'a Access,
    /// The place.
    pub place: &'a Place,
    /// The integration's settings.
    pub settings: &'a Settings,
    /// The accounts of the organization, for collectors that reach all of it.
    pub accounts: &'a [Account],
}

/// One page.
#[derive(Debug, Default)]
pub struct Page {
    /// What is on it.
    pub resources: Vec<Resource>,
    /// ARNs of what is there and not to be read: what is stored of it stays.
    pub passed_over: Vec<String>,
    /// Where the next one begins; none: this was the last.
    pub next: Option<PageToken>,
}

impl Page {
    /// What a list has told. Something without an ARN or id could not be told from what has
    /// gone, so it fails the page.
    fn of(
        action: &'static str,
        found: impl IntoIterator<Item = Option<Resource>>,
        next: Option<PageToken>,
    ) -> Result<Self, ApiError> {
        let nameless = || ApiError {
            reason: Reason::new(ReasonCode::UnreadableAnswer, action, "something has no ARN or id"),
            failure: Failure::Permanent,
            code: None,
            leaves_doubt: false,
        };
        let resources = found.into_iter().collect::<Option<Vec<_>>>().ok_or_else(nameless)?;
        Ok(Self { resources, passed_over: Vec::new(), next })
    }
}

/// Reads one service's things in one place.
#[async_trait]
pub trait Collector: Send + Sync {
    /// Stable name; stored with every scope.
    fn name(&self) -> &'static str;

    /// Where it reads.
    fn reach(&self) -> Reach;

    /// What it yields.
    fn types(&self) -> &'static [ResourceType];

    /// Every IAM action that it calls.
    fn iam_actions(&self) -> &'static [&'static str];

    /// Reads one page: the first without a token, another with the token of the page
    /// before. What cannot be read beside the list itself is noted on the resource.
    ///
    /// # Errors
    ///
    /// When the list itself cannot be read.
    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError>;
}

/// A resource in the region that is being read, of which no more is known.
fn here(ground: &Ground<'_>, kind: &ResourceType, arn: String, name: String) -> Resource {
    named_in(ground.access, kind, arn, name)
}

/// The same in the region of a role session.
fn named_in(access: &Access, kind: &ResourceType, arn: String, name: String) -> Resource {
    Resource {
        arn,
        kind: kind.id,
        account: access.account().clone(),
        region: Some(access.region().clone()),
        name,
        tags: Tags::new(),
        attributes: Map::new(),
        unread: BTreeMap::new(),
    }
}

/// The name that a list told, else the last part of the ARN.
fn name_of(name: Option<String>, arn: &str) -> String {
    name.unwrap_or_else(|| arn.rsplit([':', '/']).next().unwrap_or_default().to_owned())
}

/// The ARN of something in the region that is being read.
fn arn(ground: &Ground<'_>, service: &str, resource: &str) -> String {
    let access = ground.access;
    access.partition().arn(service, access.region().as_str(), access.account().as_str(), resource)
}

/// The attributes that there are.
fn attributes<const N: usize>(all: [(&str, Option<Value>); N]) -> Map<String, Value> {
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Names or ids as attributes have them: in one order, whichever AWS gave them in; none where
/// there are none.
fn sorted(mut texts: Vec<String>) -> Option<Value> {
    texts.sort_unstable();
    (!texts.is_empty()).then(|| Value::from(texts))
}

/// A time as attributes have it: RFC 3339, UTC.
fn time(time: Option<aws_smithy_types::DateTime>) -> Option<Value> {
    time?.fmt(aws_smithy_types::date_time::Format::DateTime).ok().map(Value::from)
}

/// A resource of which the list told the name alone, with what a call of its own told:
/// none when it has gone since (one of the codes `gone`), and where the call failed all of
/// its attributes are unread.
fn described<T>(
    mut resource: Resource,
    kind: &ResourceType,
    told: Result<T, ApiError>,
    gone: &[&str],
    fill: impl FnOnce(&mut Resource, T),
) -> Option<Resource> {
    match told {
        Ok(answer) => fill(&mut resource, answer),
        Err(error) if error.code.as_deref().is_some_and(|code| gone.contains(&code)) => {
            return None;
        }
        Err(error) => {
            let names = kind.attributes.iter().map(|(name, _)| (*name).to_owned());
            resource.unread.extend(names.map(|name| (name, error.reason.code)));
        }
    }
    Some(resource)
}

/// The ids of all resource types, sorted.
#[must_use]
pub fn type_ids() -> Vec<&'static str> {
    let mut ids: Vec<_> =
        COLLECTORS.iter().flat_map(|collector| collector.types()).map(|kind| kind.id).collect();
    ids.sort_unstable();
    ids
}

/// The collectors that the settings choose for places of one reach.
pub fn chosen(settings: &Settings, reach: Reach) -> impl Iterator<Item = &'static dyn Collector> {
    COLLECTORS.iter().copied().filter(move |collector| {
        collector.reach() == reach
            && collector.types().iter().any(|kind| settings.resource_types.contains(kind.id))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn collectors_and_types_have_names_of_their_own() {
        let names: BTreeSet<_> = COLLECTORS.iter().map(|collector| collector.name()).collect();
        assert_eq!(names.len(), COLLECTORS.len());
        let ids = type_ids();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }
}
