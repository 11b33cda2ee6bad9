//! The ways in which access is given, one file each.
//!
//! A mechanism says which permissions it gives, what giving one takes, and which objects in AWS that
//! means. A [`Kind`] of object knows how to look at one, and how to make and remove it. Neither decides
//! or remembers anything; what comes next is [`crate::model::target::decide`]'s. A new mechanism
//! is a file here and a word in [`MECHANISMS`].

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Config, site::Site};
use crate::{
    aws::ApiError,
    model::{
        arn::OUR_PREFIX,
        assignment::{InAccount, Principal},
        details::{Details, Portal},
        failure::Lane,
        grant::Recipient,
        holding::Holder,
        ids::{AccountId, ConnectorId, IntegrationId},
        integration::Settings,
        object::Object,
        recovery::Change,
        refusal::{Refusal, RefusalCode},
        share::Shares,
        target::{Observed, Operation, Progress, Target, Verb},
    },
    store::{self, audited_units::Audited, resources::Stored as Resource, units::What},
};

mod answer;
mod assignment;
mod generated;
mod iam;
mod iam_user;
mod membership;
mod plan;
mod right;
mod role;
mod statements;

pub use answer::Answer;
pub use assignment::{Requests, plan as plan_assignment};
pub use generated::BOUNDARY;
pub(super) use iam_user::find as iam_user;
pub use plan::{Plan, UNBOUNDED_S, Wish};
pub use right::{On, Right, To, When};

use self::{
    assignment::ASSIGNMENTS,
    generated::{GENERATED, INLINE},
    iam_user::{
        attachment::{IAM_ATTACHMENTS, IAM_MEMBERSHIPS},
        inline::INLINE_POLICIES,
    },
    membership::MEMBERSHIPS,
    role::ROLES,
};

/// The IAM actions that recipients are looked up with, whatever the mechanism.
pub const LOOKUP_IAM_ACTIONS: &[&str] = &[
    super::principals::DESCRIBE_GROUP,
    super::principals::DESCRIBE_USER,
    super::principals::GET_GROUP_ID,
    super::principals::GET_USER_ID,
];

/// The tag and its value by which somebody says that a resource may be granted.
pub const GRANTABLE: (&str, &str) = ("apono:grantable", "true");

/// The same as a condition.
const IS_GRANTABLE: When = When::text("aws:ResourceTag/apono:grantable", "true");

/// A way of giving access.
#[async_trait]
pub trait Mechanism: Send + Sync {
    /// Stable name, in rows and in the API.
    fn name(&self) -> &'static str;

    /// Its name in the template: of the parameter that switches it on, and of its policy.
    fn title(&self) -> &'static str;

    /// What it does, in a sentence for whoever deploys the template.
    fn description(&self) -> &'static str;

    /// What it takes in the management account, beside looking recipients up.
    fn rights(&self) -> &'static [Right] {
        &[]
    }

    /// What it takes in a member account.
    fn member_rights(&self) -> &'static [Right] {
        &[]
    }

    /// The kinds of objects that it makes.
    fn kinds(&self) -> &'static [&'static dyn Kind];

    /// The permissions that it gives on resources of a type.
    fn permissions(&self, kind: &str) -> Vec<Permission>;

    /// Whether it serves users of IAM, and nobody of Identity Center.
    fn is_for_iam_users(&self) -> bool {
        false
    }

    /// Whether it is the one that an integration wants, of those that give the same.
    fn is_chosen(&self, _settings: &Settings) -> bool {
        true
    }

    /// Why a resource is not given unless the operator wants even that; none: it is.
    fn withheld(&self, _on: &Resource) -> Option<String> {
        None
    }

    /// What giving a permission on a resource takes, but for who receives it.
    ///
    /// # Errors
    ///
    /// When it is known to be impossible.
    fn plan(&self, wish: &Wish<'_>) -> Result<Plan, Refusal>;

    /// The objects that a plan means for a unit.
    ///
    /// # Errors
    ///
    /// When the plan is not one of this version.
    fn objects(&self, plan: &Value, unit: &Unit<'_>) -> Result<Vec<Object>, ApiError>;

    /// The permission set of its own that a plan assigns to somebody, by its name; none: it takes those
    /// that are there.
    fn own_set(&self, _plan: &Value, _whose: (IntegrationId, &Principal)) -> Option<InAccount> {
        None
    }

    /// What a plan opens beside what it says; refused is what AWS tells to be impossible. Asked before
    /// anything is done.
    async fn openings(&self, site: &Site, plan: &Value) -> Result<Vec<InAccount>, Error>;

    /// Whether [`Mechanism::denials`] can tell anything.
    fn can_be_tried(&self) -> bool {
        false
    }

    /// The actions of what was given that policies of the organization deny, as far as IAM tells.
    async fn denials(
        &self,
        _site: &Site,
        _plan: &Value,
        _whose: (IntegrationId, &Principal),
    ) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }

    /// Which sessions a unit lets its recipient open; none: that is not told.
    fn audited(&self, _what: &What, _whose: (IntegrationId, &Principal)) -> Option<Audited> {
        None
    }

    /// How somebody gets in; without a portal, as far as that can be said.
    fn details(
        &self,
        what: &What,
        whose: (IntegrationId, &Principal),
        portal: Option<Portal<'_>>,
    ) -> Details;

    /// Whether AWS can be asked for what was changed.
    fn is_recorded(&self) -> bool {
        self.kinds().iter().all(|kind| kind.is_recorded())
    }
}

/// A kind of object in AWS.
#[async_trait]
pub trait Kind: Send + Sync {
    /// Stable name, in rows.
    fn name(&self) -> &'static str;

    /// Calls that AWS works on at once in one instance; none: as many as are asked for.
    fn calls_at_once(&self, _config: &Config) -> Option<i64> {
        None
    }

    /// Looks at an object. Operations are read before the object itself.
    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError>;

    /// Whether what AWS has accepted is done; else it is looked for.
    fn is_done_at_once(&self) -> bool {
        true
    }

    /// Makes or removes an object, or brings it up to date, with one attempt.
    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError>;

    /// Whether each call writes all of a place anew, so that a late one undoes what came since.
    fn writes_all_of_a_place(&self) -> bool {
        false
    }

    /// What of its holders' shares is in an object, as it was seen.
    ///
    /// # Errors
    ///
    /// When a share is not one of this version.
    fn shares(
        &self,
        _body: &Value,
        _holders: &[Holder],
        _now: DateTime<Utc>,
    ) -> Result<Shares, ApiError> {
        Ok(Shares::default())
    }

    /// What should be in an object by now.
    fn body(&self, _holders: &[Holder], _now: DateTime<Utc>) -> Value {
        Value::Null
    }

    /// Whether an object can hold what all of its holders put in; else why not.
    ///
    /// # Errors
    ///
    /// When it cannot.
    fn fits(&self, _holders: &[Holder], _now: DateTime<Utc>) -> Result<(), Refusal> {
        Ok(())
    }

    /// What was changed since, by whomever: objects that were made and are there, and objects that
    /// were removed and are not. None where AWS keeps no record ([`Kind::is_recorded`]).
    async fn changes(
        &self,
        _site: &Site,
        _since: DateTime<Utc>,
        _lane: Lane,
    ) -> Result<Vec<Change>, ApiError> {
        Ok(Vec::new())
    }

    /// Whether AWS can be asked for what was changed.
    fn is_recorded(&self) -> bool {
        false
    }

    /// Why an object whose making has failed cannot be made; none: it may be the next time.
    fn refusal(&self, _words: &str) -> Option<Refusal> {
        None
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The object, with what AWS has told of it and of those that it builds on.
    pub object: &'a Value,
    /// What is remembered.
    pub target: &'a Target,
    /// The database's time.
    pub now: DateTime<Utc>,
}

impl Look<'_> {
    /// What has come of a call of ours where AWS does at once what it accepts: it is over when its effect
    /// shows, or should have shown by now.
    fn accepted(&self, shows: impl Fn(&str, Verb) -> bool, within: TimeDelta) -> Vec<Operation> {
        let intents = self.target.intent.iter();
        let known = intents.filter_map(|intent| Some((intent, intent.request.clone()?)));
        let told = known.map(|(intent, request)| {
            let verb = intent.verb;
            let is_over = shows(&request, verb) || self.now - intent.since > within;
            let progress = if is_over { Progress::Succeeded } else { Progress::Running };
            Operation { request, verb, progress }
        });
        told.collect()
    }
}

/// A unit whose recipient is known.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// The tenant.
    pub connector: &'a ConnectorId,
    /// Its integration.
    pub integration: IntegrationId,
    /// Its grant.
    pub grant: &'a str,
    /// Which of the grant's units it is.
    pub number: i16,
    /// Who receives it.
    pub principal: &'a Principal,
    /// By which names they go.
    pub names: &'a [String],
}

/// What a look has shown.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Whether the object is there, and what is under way.
    pub observed: Observed,
    /// What is in it, in its kind's own words.
    pub body: Value,
    /// What AWS has told of it that others need, if it has.
    pub facts: Option<Value>,
}

impl From<Observed> for Seen {
    fn from(observed: Observed) -> Self {
        Self { observed, ..Self::default() }
    }
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    /// The object, as it was looked at.
    pub object: Value,
    /// Who waits for it.
    pub lane: Lane,
    /// What it does.
    pub verb: Verb,
    /// Whether the object is there.
    pub is_present: bool,
    /// What was seen in it.
    pub before: Value,
    /// What should be in it.
    pub after: Value,
    /// The database's time when it was decided.
    pub now: DateTime<Utc>,
}

/// A permission on resources of a type.
#[derive(Debug)]
pub struct Permission {
    /// Its id; `*`: any permission set's name.
    pub id: &'static str,
    /// How it is written.
    pub form: String,
    /// What it allows.
    pub description: &'static str,
    /// Whether it ends at its second, though nobody removes it, also in what is open.
    pub is_self_ending: bool,
}

/// Whether what a unit gives ends at its second, though nobody removes it.
#[must_use]
pub fn is_self_ending(what: &What) -> bool {
    let id = what.permission.split('/').next();
    let permissions = of(&what.mechanism).map(|one| one.permissions(&what.resource_type));
    permissions.is_some_and(|all| all.iter().any(|one| Some(one.id) == id && one.is_self_ending))
}

/// Why something cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be.
    #[error("{0}")]
    Refused(Refusal),
    /// AWS did not tell.
    #[error(transparent)]
    Aws(#[from] ApiError),
    /// The database did not.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It is a newer version's way of giving access.
    #[error("the mechanism {0:?} is not known to this version; update every replica")]
    Unknown(String),
}

/// All of them.
pub static MECHANISMS: &[&dyn Mechanism] = &[
    ASSIGNMENTS,
    MEMBERSHIPS,
    GENERATED,
    INLINE,
    ROLES,
    IAM_MEMBERSHIPS,
    IAM_ATTACHMENTS,
    INLINE_POLICIES,
];

/// The mechanism that gives a permission, with or without a name behind its id, on resources of a type to
/// such a recipient, as an integration wants it.
///
/// # Errors
///
/// When none does.
pub fn giving(
    kind: &str,
    asked: &str,
    recipient: &Recipient,
    settings: &Settings,
) -> Result<&'static dyn Mechanism, Refusal> {
    let id = asked.split('/').next();
    let gives = |mechanism: &&dyn Mechanism| {
        mechanism.permissions(kind).iter().any(|one| Some(one.id) == id)
    };
    let mut giving = MECHANISMS.iter().copied().filter(gives).peekable();
    if giving.peek().is_none() {
        let finding = format!("nothing gives {asked:?} on resources of type {kind}");
        return Err(Refusal::new(RefusalCode::PermissionUnknown, finding));
    }
    let is_iam_user = recipient.iam_user().is_some();
    let is_meant =
        |one: &&dyn Mechanism| one.is_for_iam_users() == is_iam_user && one.is_chosen(settings);
    giving.find(is_meant).ok_or_else(|| {
        let to = if is_iam_user { "users of Identity Center" } else { "users of IAM" };
        let finding = format!("{asked} on resources of type {kind} is given to {to}");
        Refusal::new(RefusalCode::RecipientUnfit, finding)
    })
}

/// No account but a member is opened by what its own role does; nothing else is opened beside.
fn spare_management(site: &Site, account: &AccountId) -> Result<Vec<InAccount>, Error> {
    if account != site.management_account() {
        return Ok(Vec::new());
    }
    let finding =
        format!("{account} is the management account, in which nothing is given by policies");
    Err(Error::Refused(Refusal::new(RefusalCode::ResourceUnfit, finding)))
}

/// What is taken out of a policy is taken out of open sessions within this time.
const PROPAGATES_WITHIN: TimeDelta = TimeDelta::minutes(2);

/// The objects in AWS that a unit means.
///
/// # Errors
///
/// When its mechanism is not known to this version, or its plan cannot be read.
pub(super) fn objects(what: &What, unit: &Unit<'_>) -> Result<Vec<Object>, String> {
    let mechanism =
        of(&what.mechanism).ok_or_else(|| format!("{:?} is unknown", what.mechanism))?;
    mechanism.objects(&what.plan, unit).map_err(|error| error.to_string())
}

/// Every kind of object.
pub(super) fn kinds() -> impl Iterator<Item = &'static dyn Kind> {
    MECHANISMS.iter().flat_map(|mechanism| mechanism.kinds().iter().copied())
}

/// The kind of a name.
pub(super) fn kind(name: &str) -> Option<&'static dyn Kind> {
    kinds().find(|kind| kind.name() == name)
}

/// The kinds of which AWS works on so many calls at once, and how many: of those with the largest number. A step
/// of another kind waits by itself.
pub(super) fn limits(config: &Config) -> (Vec<String>, i64) {
    let limited = || kinds().filter_map(|kind| Some((kind.name(), kind.calls_at_once(config)?)));
    let most = limited().map(|(_, calls)| calls).max().unwrap_or(i64::MAX);
    (limited().filter(|(_, calls)| *calls == most).map(|(name, _)| name.to_owned()).collect(), most)
}

/// What AWS was to be told in a mechanism's words cannot be read: it is our own nonsense, or a newer
/// version's.
fn read<T: DeserializeOwned>(action: &'static str, words: &Value) -> Result<T, ApiError> {
    serde_json::from_value(words.clone())
        .map_err(|error| ApiError::answered(action, "", &error.to_string(), 400))
}

/// The mechanism of a name.
#[must_use]
pub fn of(name: &str) -> Option<&'static dyn Mechanism> {
    MECHANISMS.iter().copied().find(|mechanism| mechanism.name() == name)
}

impl fmt::Debug for dyn Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for dyn Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
