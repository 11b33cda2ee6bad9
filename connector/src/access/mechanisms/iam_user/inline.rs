//! A policy of ours in a user of IAM, into which each grant puts its statements, with their own ends.
//!
//! IAM counts the characters of all policies in a user together; how many the others have is not known
//! before it is tried. The last holder takes the policy out.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Answer, Call, Error, IS_GRANTABLE, Kind, Look, Mechanism, On, PROPAGATES_WITHIN,
        Permission, Plan, Portal, Right, Seen, To, Unit, Wish, generated,
        iam::{self, GONE, SHOWS_WITHIN, once},
        read, spare_management, statements,
    },
    GET, LIST, OUR_USERS, OUR_USERS_IN_PATHS, PASSING, USER, current, details, in_account, of_unit,
    place, receiving,
};
use crate::{
    access::site::Site,
    aws::{Access, ApiError, simulation::SIMULATE},
    catalog::{self, Ending},
    model::{
        assignment::{IamUser, InAccount, Principal},
        details::Details,
        failure::Lane,
        holding::Holder,
        ids::{AccountId, IntegrationId},
        object::Object,
        policy_document::{self, Share},
        refusal::Refusal,
        share::Shares,
        statement::Statement,
        target::{Observed, Verb},
    },
    store::units::What,
};

const GET_POLICY: &str = "iam:GetUserPolicy";
const PUT: &str = "iam:PutUserPolicy";
const DELETE: &str = "iam:DeleteUserPolicy";

/// Characters of all policies in a user, white space not counted.
/// Source: "IAM and AWS STS quotas" in the IAM user guide.
const CHARACTERS_MAX: usize = 2048;

const MEMBER_RIGHTS: &[Right] = &[
    Right {
        name: "Look",
        actions: &[GET, LIST, GET_POLICY, SIMULATE],
        on: On::Everything,
        when: &[],
        to: To::Look,
    },
    Right {
        name: "Change",
        actions: &[PUT, DELETE],
        on: On::AllBut(&[OUR_USERS, OUR_USERS_IN_PATHS], USER),
        when: &[IS_GRANTABLE],
        to: To::Change,
    },
];

/// Policies in users.
pub(in super::super) static INLINE_POLICIES: &dyn Mechanism = &Policies;

const NAME: &str = "aws-iam-user-policy";

struct Policies;

/// What is to be allowed in an account.
#[derive(Serialize, Deserialize)]
struct Planned {
    account: AccountId,
    statements: Vec<Statement>,
}

#[derive(Serialize, Deserialize)]
struct Policy {
    user: IamUser,
    name: String,
    /// What we have written last, by a hash of it; empty: nothing.
    #[serde(default)]
    written: String,
    /// It cannot be taken out: it is gone when all in it has ended.
    #[serde(default)]
    is_left: bool,
}

#[async_trait]
impl Mechanism for Policies {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        "IamUserPolicies"
    }

    fn description(&self) -> &'static str {
        "Give permissions on single resources to IAM users tagged apono:grantable=true; AWS would let it write any policy into them"
    }

    fn member_rights(&self) -> &'static [Right] {
        MEMBER_RIGHTS
    }

    fn kinds(&self) -> &'static [&'static dyn Kind] {
        &[&Policies]
    }

    fn is_for_iam_users(&self) -> bool {
        true
    }

    fn permissions(&self, kind: &str) -> Vec<Permission> {
        // Sessions of a user of IAM have other names.
        generated::permissions(kind, |ending| matches!(ending, Ending::Closed | Ending::Open))
    }

    fn plan(&self, wish: &Wish<'_>) -> Result<Plan, Refusal> {
        let Wish { on, permission: asked, recipient, .. } = *wish;
        let account = in_account(recipient, on)?.account().clone();
        let permission = generated::permission(on, asked)?;
        let statements = permission.statements(on, asked)?;
        let session = (permission.ending == Ending::Closed).then_some(PROPAGATES_WITHIN);
        Ok(Plan { plan: json!(Planned { account, statements }), session })
    }

    fn objects(&self, plan: &Value, unit: &Unit<'_>) -> Result<Vec<Object>, ApiError> {
        let Planned { statements, .. } = read(PUT, plan)?;
        let user = of_unit(unit)?.clone();
        let name = format!("apono-{}", generated::hash((unit.integration, unit.principal)));
        let number = unit.number.to_string();
        let share = Share::new(&[unit.connector.as_str(), unit.grant, &number], statements);
        Ok(vec![Object {
            mechanism: NAME,
            key: format!("{}/{name}", place(&user)),
            place: place(&user),
            object: json!({ "user": user, "name": name }),
            stage: 0,
            is_ours_alone: false,
            share: Some(json!(share)),
        }])
    }

    async fn openings(&self, site: &Site, plan: &Value) -> Result<Vec<InAccount>, Error> {
        let Planned { account, .. } = read(PUT, plan)?;
        spare_management(site, &account)
    }

    fn can_be_tried(&self) -> bool {
        true
    }

    async fn denials(
        &self,
        site: &Site,
        plan: &Value,
        (_, principal): (IntegrationId, &Principal),
    ) -> Result<Vec<String>, ApiError> {
        let Planned { account, statements: given } = read(PUT, plan)?;
        let access = site.member(&account, Lane::Reconcile).await?;
        statements::denials(&access, principal.id(), &given).await
    }

    fn details(
        &self,
        what: &What,
        whose: (IntegrationId, &Principal),
        _portal: Option<Portal<'_>>,
    ) -> Details {
        details(what, &catalog::way_in(what).command(what, whose.1.id()))
    }
}

#[async_trait]
impl Kind for Policies {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let Policy { user, name, written, is_left } = read(GET_POLICY, look.object)?;
        let access = site.member(user.arn.account(), lane).await?;
        let document = match current(&access, &user).await? {
            Some(user) => document(&access, user.user_name(), &name).await?,
            None => None,
        };
        let has_ended = |seen: &Value| policy_document::is_current(seen, [], look.now);
        let document = document.filter(|seen| !(is_left && has_ended(seen)));
        let shows = |_: &str, verb| match verb {
            Verb::Create => document.as_ref().is_some_and(|seen| statements::hash(seen) == written),
            Verb::Delete => document.is_none(),
        };
        let observed = Observed {
            is_present: document.is_some(),
            is_marked: document.is_some(),
            operations: look.accepted(shows, SHOWS_WITHIN),
            ..Observed::default()
        };
        Ok(Seen { observed, body: document.unwrap_or_default(), facts: None })
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let Policy { user, name, .. } = read(PUT, &call.object)?;
        let access = site.member(user.arn.account(), call.lane).await?;
        let user = receiving(&access, &user, call.verb).await?;
        let (answer, written) = match call.verb {
            Verb::Create => {
                let put = access.iam().put_user_policy().user_name(user).policy_name(name);
                let put = put.policy_document(call.after.to_string());
                let answer = put.customize().config_override(once()).send().await;
                (Answer::of(PUT, answer), statements::hash(&call.after))
            }
            Verb::Delete => {
                let delete = access.iam().delete_user_policy().user_name(user).policy_name(name);
                let answer = delete.customize().config_override(once()).send().await;
                (Answer::of_removal(DELETE, GONE, answer), String::new())
            }
        };
        let has_ended = policy_document::is_current(&call.before, [], call.now);
        match answer.map_err(|error| iam::passing(error, &PASSING)) {
            Ok(done) => Ok(done.telling(json!({ "written": written, "is_left": false }))),
            // It allows nothing, and will not come out by being tried again.
            Err(error) if call.verb == Verb::Delete && has_ended && error.is_final() => {
                Ok(Answer::left(&error))
            }
            Err(error) => Err(error),
        }
    }

    fn shares(
        &self,
        body: &Value,
        holders: &[Holder],
        now: DateTime<Utc>,
    ) -> Result<Shares, ApiError> {
        statements::shares(body, holders, now)
    }

    fn body(&self, holders: &[Holder], now: DateTime<Utc>) -> Value {
        statements::document(holders, now)
    }

    fn fits(&self, holders: &[Holder], now: DateTime<Utc>) -> Result<(), Refusal> {
        statements::fits(holders, now, CHARACTERS_MAX)
    }
}

/// A policy in a user; none: there is none.
async fn document(access: &Access, user: &str, name: &str) -> Result<Option<Value>, ApiError> {
    let get = access.iam().get_user_policy().user_name(user).policy_name(name);
    match get.send().await.map_err(|error| ApiError::of(GET_POLICY, &error)) {
        // What cannot be read is not as it should be.
        Ok(found) => Ok(Some(iam::document(Some(&found.policy_document)).unwrap_or_default())),
        Err(error) if error.code.as_deref() == Some(GONE) => Ok(None),
        Err(error) => Err(error),
    }
}
