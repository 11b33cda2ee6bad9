//! Generated access: what a permission on a resource allows, for one person, until one second.
//!
//! Each person has one permission set, which refers to a customer managed policy by name; AWS
//! resolves the name in every account, so what the person may do there is the policy of that
//! account, into which each grant puts its statements ([`crate::model::policy_document`]). A further
//! grant in an account changes that policy alone: Identity Center is not called.
//!
//! ```text
//!   stage 1                                 stage 2
//!   policy /apono/<hash>   (in the account) ─┐
//!                                            ├─▶ assignment of the set in the account
//!   permission set apono-<hash>             ─┘
//! ```
//!
//! The policy is first, since AWS assigns no set whose policy is missing; at the end the assignment
//! goes first, since AWS removes neither what is attached nor what is assigned. Each statement
//! ends by itself, so that access ends at its second, though nobody removes anything. What it ends
//! not are shells that are open, so those are terminated ([`sessions`]): beside the assignment, and at
//! stage 0 when nobody gets in any more. With the connector gone they end by their document ([`document`]),
//! which is made beside the policy.
//!
//! An integration may want nothing of that in member accounts ([`inline`]): then a person has one permission
//! set for each account, with its own policy, in the place of the two.

use async_trait::async_trait;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Error, Kind, Mechanism, PROPAGATES_WITHIN, Permission, Plan, Portal, Right, Unit, Wish,
    assignment, read, spare_management, statements,
};
use crate::{
    access::site::Site,
    aws::ApiError,
    catalog::{
        self, COLLECTORS, Ending, Grantable,
        reserved_roles::{self, LIST_ROLES},
    },
    model::{
        assignment::{InAccount, Principal},
        details::{self, Details},
        failure::Lane,
        ids::{AccountId, IntegrationId},
        integration::Settings,
        object::Object,
        policy_document::{self, Share},
        refusal::{Refusal, RefusalCode},
        statement::Statement,
    },
    store::{audited_units::Audited, resources::Stored as Resource, units::What},
};

mod document;
mod inline;
mod permission_set;
mod policy;
mod rights;
mod sessions;
mod set;

/// The policy that caps every generated permission set. The stack makes it, outside the path in which the
/// connector may write.
pub const BOUNDARY: &str = "apono-connector-boundary";
/// Tags of what is ours.
const CONNECTOR_TAG: &str = "apono:connector";
const INTEGRATION_TAG: &str = "apono:integration";
/// Sessions of a generated permission set last so long, but what they may do ends before.
const SESSION: &str = "PT1H";

/// Generated access.
pub(super) static GENERATED: &dyn Mechanism = &Generated { is_inline: false };
/// The same where no role of the connector may write policies in member accounts.
pub(super) static INLINE: &dyn Mechanism = &Generated { is_inline: true };

struct Generated {
    /// Whether what somebody may do stands in permission sets, one for each account ([`inline`]).
    is_inline: bool,
}

/// What is to be allowed in an account.
#[derive(Serialize, Deserialize)]
struct Planned {
    account: AccountId,
    statements: Vec<Statement>,
    /// What is terminated at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sessions: Option<sessions::Planned>,
    /// What ends by itself then, if not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<document::Planned>,
}

/// Whose an object is, by the tags that it carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mark {
    connector: String,
    integration: String,
}

impl Mark {
    fn tags(&self) -> [(&'static str, &str); 2] {
        [(CONNECTOR_TAG, &self.connector), (INTEGRATION_TAG, &self.integration)]
    }

    /// Whether these tags are it.
    fn is_on(&self, tags: &[(&str, &str)]) -> bool {
        self.tags().iter().all(|tag| tags.contains(tag))
    }
}

/// What carries our name without our tags.
fn not_ours(action: &'static str, what: &str) -> ApiError {
    let words = format!("{what} is there without our tags; rename or remove it");
    ApiError::answered(action, "NotOurs", &words, 400)
}

#[async_trait]
impl Mechanism for Generated {
    fn name(&self) -> &'static str {
        if self.is_inline { "aws-generated-inline-access" } else { "aws-generated-access" }
    }

    fn title(&self) -> &'static str {
        if self.is_inline { "GeneratedInlineAccess" } else { "GeneratedAccess" }
    }

    fn description(&self) -> &'static str {
        if self.is_inline {
            "Give permissions on single resources by permission sets of its own with inline policies, without changing IAM in member accounts"
        } else {
            "Give permissions on single resources by permission sets and policies of its own"
        }
    }

    fn rights(&self) -> &'static [Right] {
        if self.is_inline { rights::INLINE } else { rights::BY_POLICY }
    }

    fn member_rights(&self) -> &'static [Right] {
        if self.is_inline { rights::INLINE_IN_MEMBERS } else { rights::BY_POLICY_IN_MEMBERS }
    }

    fn kinds(&self) -> &'static [&'static dyn Kind] {
        if self.is_inline {
            &[&inline::InlineSets, &document::Documents, &sessions::Sessions]
        } else {
            &[
                &policy::Policies,
                &permission_set::PermissionSets,
                &document::Documents,
                &sessions::Sessions,
            ]
        }
    }

    fn is_chosen(&self, settings: &Settings) -> bool {
        settings.inline_policies == self.is_inline
    }

    fn permissions(&self, kind: &str) -> Vec<Permission> {
        // To assume a role takes more.
        permissions(kind, |ending| ending != Ending::Hour)
    }

    fn plan(&self, wish: &Wish<'_>) -> Result<Plan, Refusal> {
        let Wish { on, permission: asked, .. } = *wish;
        if wish.recipient.is_group() {
            let finding = format!("{asked} is given to one user at a time");
            return Err(Refusal::new(RefusalCode::RecipientUnfit, finding));
        }
        let permission = permission(on, asked)?;
        let mut statements = permission.statements(on, asked)?;
        let account = on.account_id.parse::<AccountId>();
        let account = account
            .map_err(|error| Refusal::new(RefusalCode::AccountUnknown, error.to_string()))?;
        let takes_ours =
            permission.ending == Ending::Shells && !wish.of.settings.account_session_document;
        let document =
            takes_ours.then(|| document::Planned::fitting(wish.length, &on.region, wish.of.id));
        let with = |document: &str| Some(sessions::Planned::new(on, document));
        let (sessions, session) = match (permission.ending, &document) {
            (Ending::Closed, _) => (None, Some(PROPAGATES_WITHIN)),
            (Ending::Hour, _) => (None, Some(TimeDelta::hours(1))),
            (Ending::Open, _) => (None, None),
            (Ending::Sessions(document), _) => (with(document), None),
            (Ending::Shells, None) => (with(catalog::PREFERENCES), None),
            (Ending::Shells, Some(ours)) => {
                ours.stand_in(&mut statements);
                (with(&ours.name), Some(ours.longest()))
            }
        };
        Ok(Plan { plan: json!(Planned { account, statements, sessions, document }), session })
    }

    fn objects(&self, plan: &Value, unit: &Unit<'_>) -> Result<Vec<Object>, ApiError> {
        let Planned { account, statements, sessions, document } = read(policy::CREATE, plan)?;
        let (set, hash) = self.set((unit.integration, unit.principal), &account);
        let mark = unit.mark();
        let number = unit.number.to_string();
        let share = Share::new(&[unit.connector.as_str(), unit.grant, &number], statements);
        let person = unit.names.first().map_or(unit.principal.id(), String::as_str);
        let mut objects = if self.is_inline {
            vec![inline::object(&account, &set, mark.clone(), person, &share)]
        } else {
            vec![
                policy::object(&account, &hash, mark.clone(), &share),
                permission_set::object(&set, &hash, mark.clone(), person),
            ]
        };
        objects.push(assignment::object_of_generated(&account, &set, unit.principal, 2));
        objects.extend(document.map(|document| document.object(&account, &mark)));
        objects.extend(sessions.iter().flat_map(|planned| planned.objects(&account, &set)));
        Ok(objects)
    }

    fn own_set(&self, plan: &Value, whose: (IntegrationId, &Principal)) -> Option<InAccount> {
        let Planned { account, .. } = read(policy::CREATE, plan).ok()?;
        let (permission_set, _) = self.set(whose, &account);
        Some(InAccount { account, permission_set })
    }

    async fn openings(&self, site: &Site, plan: &Value) -> Result<Vec<InAccount>, Error> {
        let Planned { account, .. } = read(policy::CREATE, plan)?;
        spare_management(site, &account)
    }

    fn can_be_tried(&self) -> bool {
        true
    }

    async fn denials(
        &self,
        site: &Site,
        plan: &Value,
        whose: (IntegrationId, &Principal),
    ) -> Result<Vec<String>, ApiError> {
        let Planned { account, statements: given, .. } = read(policy::CREATE, plan)?;
        let access = site.member(&account, Lane::Reconcile).await?;
        let (set, _) = self.set(whose, &account);
        let Some(role) = reserved_roles::find(&access, &set).await? else {
            let words = format!("no role of {set} shows in {account}");
            return Err(ApiError::answered(LIST_ROLES, "NoSuchEntity", &words, 404));
        };
        statements::denials(&access, &role.arn, &given).await
    }

    fn audited(&self, what: &What, whose: (IntegrationId, &Principal)) -> Option<Audited> {
        let Planned { account, statements, .. } = read(policy::CREATE, &what.plan).ok()?;
        let (permission_set, _) = self.set(whose, &account);
        let actions = statements.into_iter().flat_map(|one| one.actions).collect();
        Some(Audited { account, permission_set, actions })
    }

    fn details(
        &self,
        what: &What,
        whose: (IntegrationId, &Principal),
        portal: Option<Portal<'_>>,
    ) -> Details {
        let Some(portal) = portal else { return Details::default() };
        let (way, (set, _)) = (catalog::way_in(what), self.set(whose, &what.account));
        let user = whose.1.id();
        let details = details::of_role(portal, &what.account, &set);
        // The console opens shells with the account's document alone.
        let page = way.page(what, user).filter(|_| what.plan["document"].is_null());
        details.leading_to(page.as_deref(), &way.command(what, user))
    }
}

/// The permissions on resources of a type that end in some ways.
pub(super) fn permissions(kind: &str, is_meant: fn(Ending) -> bool) -> Vec<Permission> {
    let types = COLLECTORS.iter().flat_map(|collector| collector.types());
    let all = types.filter(|one| one.id == kind).flat_map(|one| one.permissions);
    let given = all.filter(|one| is_meant(one.ending)).map(|one| Permission {
        id: one.id,
        form: one.form(),
        description: one.description,
        is_self_ending: one.ending == Ending::Closed,
    });
    given.collect()
}

/// The permission on a resource that somebody wrote.
pub(super) fn permission(on: &Resource, asked: &str) -> Result<&'static Grantable, Refusal> {
    catalog::permission(&on.kind, asked).ok_or_else(|| {
        let finding = format!("{} has no permission {asked:?}", on.kind);
        Refusal::new(RefusalCode::PermissionUnknown, finding)
    })
}

/// What the objects of somebody have in their names.
pub(super) fn hash((integration, principal): (IntegrationId, &Principal)) -> String {
    policy_document::name_of(&[&integration.0.to_string(), principal.id()])
}

impl Generated {
    /// The name of somebody's permission set in an account, and the hash in it.
    fn set(&self, whose: (IntegrationId, &Principal), account: &AccountId) -> (String, String) {
        let hash = if self.is_inline {
            let (integration, principal) = whose;
            let words = [&integration.0.to_string(), principal.id(), account.as_str()];
            policy_document::name_of(&words)
        } else {
            hash(whose)
        };
        (format!("apono-{hash}"), hash)
    }
}

impl Unit<'_> {
    fn mark(&self) -> Mark {
        let integration = self.integration.0.to_string();
        Mark { connector: self.connector.to_string(), integration }
    }
}
