//! Floor 3: what can be discovered, one file a collector.
//!
//! A collector reads one service's things in one place, a page at a time. It says
//! which IAM actions it calls, which types it yields and what their attributes mean;
//! the engine that loops over its pages, stores them and proves absence stands in
//! `sync` and knows no collector by name.
//!
//! To add one: a file here, and a word in [`COLLECTORS`].
//!
//! A type may also have permissions: what a person can be allowed on one resource of it, as
//! statements of a policy. What can leave access, deliveries or deletions behind when a grant
//! has ended is in none but OWNER, and what passes roles is in none at all.

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
        refusal::{Refusal, RefusalCode},
        resource::{Resource, Tags},
        scope::{Place, Reach},
        statement::Statement,
    },
    store::{resources::Stored, units::What},
};

mod account;
mod dynamodb_table;
pub mod ec2_instance;
mod eks_cluster;
mod iam;
pub mod identity_center;
mod identity_center_group;
mod identity_center_user;
mod lambda_function;
pub mod organization;
mod permission_set;
mod rds;
pub mod reach;
pub mod regions;
pub mod reserved_roles;
mod s3_bucket;
mod secret;
mod sns_topic;
mod sqs_queue;
mod statements;
mod tags;
mod way;

pub use ec2_instance::{FORWARDING, PREFERENCES};
pub use way::Way;

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
    /// What can be allowed on one resource of it by a policy.
    pub permissions: &'static [Grantable],
    /// How somebody gets to one who is allowed something on it.
    pub way_in: Way,
    /// Attribute names with what they say.
    pub attributes: &'static [(&'static str, &'static str)],
}

/// What can be allowed on one resource by a policy.
#[derive(Debug)]
pub struct Grantable {
    /// Stable id within the type, such as `READ_ONLY`.
    pub id: &'static str,
    /// What it allows, for people.
    pub description: &'static str,
    /// What its actions may do.
    pub level: Level,
    /// What becomes of what was opened with it.
    pub ending: Ending,
    /// How somebody gets in, where that is another way than to the type's other permissions.
    way: Option<Way>,
    made: Made,
}

/// What becomes of what was opened when the permission ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ends with it: every call is judged anew.
    Closed,
    /// It stays open until it is closed: a connection.
    Open,
    /// Sessions on an instance with this document stay open until they are terminated.
    Sessions(&'static str),
    /// So do shells with the account's preferences ([`PREFERENCES`]); a document that stands for those may end
    /// them.
    Shells,
    /// Sessions of the role that was assumed go on for an hour: AWS's limit where a session of a role
    /// assumes another.
    Hour,
}

/// The services whose actions permissions allow.
pub const SERVICES: &[&str] = &[
    "dynamodb",
    "ec2",
    "kms",
    "lambda",
    "rds-db",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "ssmmessages",
    "sts",
];

/// What the actions of a permission may do, told by the access levels of AWS's service
/// authorization reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// List and read.
    Read,
    /// Change as well; nothing of it outlives the grant but what was changed.
    Write,
    /// Also change who has access, share, tag: it can leave lasting access.
    Owner,
}

impl Level {
    /// Whether it may hold actions of an access level of AWS.
    #[must_use]
    pub fn admits(self, access_level: &str) -> bool {
        match access_level {
            "List" | "Read" => true,
            "Write" => self != Self::Read,
            "Tagging" | "Permissions management" => self == Self::Owner,
            _ => false,
        }
    }
}

/// Statements, or why a resource is unfit for them.
type Statements = Result<Vec<Statement>, Refusal>;

/// What statements are made of.
#[derive(Debug)]
enum Made {
    /// The resource alone.
    Of(fn(&Stored) -> Statements),
    /// The resource, and something of it that is named behind the id: `CONNECT/app_ro`.
    Named {
        /// What is named, for people.
        what: &'static str,
        of: fn(&Stored, &str) -> Statements,
    },
}

impl Grantable {
    /// One that is about the resource alone.
    const fn of(
        id: &'static str,
        level: Level,
        description: &'static str,
        of: fn(&Stored) -> Statements,
    ) -> Self {
        Self { id, description, level, ending: Ending::Closed, way: None, made: Made::Of(of) }
    }

    /// One that is about something of the resource that is named behind the id.
    const fn of_named(
        id: &'static str,
        what: &'static str,
        level: Level,
        description: &'static str,
        of: fn(&Stored, &str) -> Statements,
    ) -> Self {
        Self {
            id,
            description,
            level,
            ending: Ending::Closed,
            way: None,
            made: Made::Named { what, of },
        }
    }

    /// The same, where what was opened ends otherwise, and is got to otherwise.
    const fn ending(mut self, ending: Ending, way: Way) -> Self {
        self.ending = ending;
        self.way = Some(way);
        self
    }

    /// What it allows on a resource; `asked` is how somebody wrote the permission.
    ///
    /// # Errors
    ///
    /// When the resource is unfit for it, or what is named behind the id is.
    pub fn statements(&self, on: &Stored, asked: &str) -> Statements {
        let named = asked.split_once('/').map(|(_, named)| named);
        match (&self.made, named) {
            (Made::Of(of), None) => of(on),
            (Made::Of(_), Some(_)) => {
                let finding = format!("nothing stands behind {}", self.id);
                Err(Refusal::new(RefusalCode::PermissionUnknown, finding))
            }
            (Made::Named { of, .. }, named) => of(on, named.unwrap_or_default()),
        }
    }

    /// How it is written: `READ_ONLY`, `CONNECT/<database user>`.
    #[must_use]
    pub fn form(&self) -> String {
        match self.made {
            Made::Of(_) => self.id.to_owned(),
            Made::Named { what, .. } => format!("{}/<{what}>", self.id),
        }
    }
}

/// The permission of a type that somebody wrote: its id, with or without a name behind it.
#[must_use]
pub fn permission(kind: &str, asked: &str) -> Option<&'static Grantable> {
    let id = asked.split('/').next().unwrap_or_default();
    resource_type(kind)?.permissions.iter().find(|one| one.id == id)
}

fn resource_type(kind: &str) -> Option<&'static ResourceType> {
    COLLECTORS.iter().flat_map(|collector| collector.types()).find(|one| one.id == kind)
}

/// How somebody gets to what a unit allows.
#[must_use]
pub fn way_in(what: &What) -> Way {
    let own = permission(&what.resource_type, &what.permission).and_then(|one| one.way);
    own.or_else(|| Some(resource_type(&what.resource_type)?.way_in)).unwrap_or(Way::NONE)
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

    #[test]
    fn a_permission_is_found_by_its_id_within_its_type() {
        let found = |kind, asked| permission(kind, asked).map(Grantable::form);
        assert_eq!(found("aws-s3-bucket", "READ_ONLY").as_deref(), Some("READ_ONLY"));
        assert_eq!(
            found("aws-rds-cluster", "CONNECT/app_ro").as_deref(),
            Some("CONNECT/<database user>")
        );
        assert_eq!(found("aws-s3-bucket", "CONNECT"), None);
        assert_eq!(found("aws-s3-bucket", ""), None);
        assert_eq!(found("aws-eks-cluster", "READ_ONLY"), None);
    }

    #[test]
    fn nothing_stands_behind_the_id_of_most_permissions() {
        let bucket = statements::tests::a_resource("arn:aws:s3:::logs", serde_json::json!({}));
        let permission = permission("aws-s3-bucket", "READ_ONLY/x").expect("a permission");
        let refused = permission.statements(&bucket, "READ_ONLY/x").expect_err("a refusal");
        assert_eq!(refused.code, RefusalCode::PermissionUnknown);
    }

    #[test]
    fn only_owners_may_leave_lasting_access_and_the_description_says_so() {
        for kind in COLLECTORS.iter().flat_map(|collector| collector.types()) {
            let ids: BTreeSet<_> = kind.permissions.iter().map(|one| one.id).collect();
            assert_eq!(ids.len(), kind.permissions.len(), "{}", kind.id);
            for permission in kind.permissions {
                let is_owner = permission.level == Level::Owner;
                let says = permission.description.contains("can leave lasting access");
                assert_eq!((is_owner, says), (permission.id == "OWNER", is_owner), "{}", kind.id);
            }
        }
    }
}
