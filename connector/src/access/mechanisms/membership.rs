//! Memberships in groups of IAM Identity Center.
//!
//! AWS makes and removes them at once. What a group opens is the group's: every permission set in an
//! account that it is assigned, so that is held against the guardrails and shown to whoever asks first. (What
//! applications it opens is not looked at.) A group that comes from an identity provider is
//! refused, since the provider would undo what is changed here.
//!
//! Each call is made with one attempt: a hidden second one would meet the first one's membership, and
//! take what is ours for somebody else's.

use async_trait::async_trait;
use aws_sdk_identitystore::{config::retry::RetryConfig, types::MemberId};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Answer, Call, Error, Kind, Look, Mechanism, On, Permission, Plan, Portal, Right, Seen, To,
    Unit, Wish,
    assignment::{LIST_ASSIGNMENTS, of_principal},
    read,
};
use crate::{
    access::{principals, site::Site},
    aws::ApiError,
    catalog::identity_center::LIST_INSTANCES,
    model::{
        assignment::{InAccount, Principal},
        details::{Details, SESSION_MAX, start},
        failure::Lane,
        ids::IntegrationId,
        object::Object,
        refusal::{Refusal, RefusalCode},
        target::{Observed, Verb},
    },
    store::units::What,
};

const GET: &str = "identitystore:GetGroupMembershipId";
const CREATE: &str = "identitystore:CreateGroupMembership";
const DELETE: &str = "identitystore:DeleteGroupMembership";

/// How AWS says that something is not there.
const GONE: &str = "ResourceNotFoundException";
/// What was changed shows by then. Until it does, nothing else is begun in the group.
const SHOWS_WITHIN: TimeDelta = TimeDelta::seconds(3);
/// Sessions that a group has opened may be renewed for so long after somebody has left it.
const AFTER_LEAVING: TimeDelta = TimeDelta::hours(1);

const RIGHTS: &[Right] = &[
    Right {
        name: "Look",
        actions: &[GET, LIST_ASSIGNMENTS, LIST_INSTANCES],
        on: On::Everything,
        when: &[],
        to: To::Look,
    },
    // There is nothing to narrow it by: groups and users have ids alone, no tags.
    Right {
        name: "Change",
        actions: &[CREATE, DELETE],
        on: On::Everything,
        when: &[],
        to: To::Change,
    },
];

/// Memberships in groups.
pub(super) static MEMBERSHIPS: &dyn Mechanism = &Memberships;

const NAME: &str = "aws-identity-center-group-membership";

struct Memberships;

/// The group that somebody is to be in, by id and by the name that rules have judged.
#[derive(Serialize, Deserialize)]
struct Planned {
    group: String,
    name: String,
}

/// A user in a group.
#[derive(Serialize, Deserialize)]
struct Membership {
    group: String,
    user: String,
}

#[async_trait]
impl Mechanism for Memberships {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        "GroupMemberships"
    }

    fn description(&self) -> &'static str {
        "Put users into Identity Center groups for a time, also into those with access to this account"
    }

    fn rights(&self) -> &'static [Right] {
        RIGHTS
    }

    fn kinds(&self) -> &'static [&'static dyn Kind] {
        &[&Memberships]
    }

    fn permissions(&self, kind: &str) -> Vec<Permission> {
        let member = Permission {
            id: "MEMBER",
            form: "MEMBER".to_owned(),
            description: "What the group is assigned in accounts, which ValidateGrant shows, and in applications",
            is_self_ending: false,
        };
        if kind == "aws-identity-center-group" { vec![member] } else { Vec::new() }
    }

    fn plan(&self, &Wish { on, recipient, .. }: &Wish<'_>) -> Result<Plan, Refusal> {
        if recipient.is_group() {
            let finding = "a group cannot be a member of a group";
            return Err(Refusal::new(RefusalCode::RecipientUnfit, finding));
        }
        let text = |name: &str| on.attributes[name].as_str();
        if let Some(external) = text("external_id") {
            return Err(external_group(&on.name, external));
        }
        let Some(group) = text("group_id") else {
            let finding = format!("{} has no group_id", on.arn);
            return Err(Refusal::new(RefusalCode::ResourceUnknown, finding));
        };
        let planned = Planned { group: group.to_owned(), name: on.name.clone() };
        Ok(Plan { plan: json!(planned), session: Some(SESSION_MAX + AFTER_LEAVING) })
    }

    fn objects(&self, plan: &Value, unit: &Unit<'_>) -> Result<Vec<Object>, ApiError> {
        let Planned { group, .. } = read(CREATE, plan)?;
        let user = unit.principal.id().to_owned();
        Ok(vec![Object {
            mechanism: NAME,
            key: format!("group/{group}/user/{user}"),
            place: format!("group/{group}"),
            object: json!(Membership { group, user }),
            stage: 0,
            is_ours_alone: false,
            share: None,
        }])
    }

    async fn openings(&self, site: &Site, plan: &Value) -> Result<Vec<InAccount>, Error> {
        let Planned { group, name } = read(CREATE, plan)?;
        let found = principals::group(site, &group).await?;
        if let Some(external) = found.external_ids().first() {
            return Err(Error::Refused(external_group(&name, external.id())));
        }
        if found.display_name().is_some_and(|now_is| now_is != name) {
            let now_is = found.display_name().unwrap_or_default();
            let finding = format!("the group {group} is {now_is:?} by now, and no more {name:?}");
            return Err(Error::Refused(Refusal::new(RefusalCode::ResourceUnknown, finding)));
        }
        Ok(of_principal(site, &Principal::Group(group), None, Lane::Grant).await?)
    }

    fn details(
        &self,
        _what: &What,
        _whose: (IntegrationId, &Principal),
        portal: Option<Portal<'_>>,
    ) -> Details {
        let Some(portal) = portal else { return Details::default() };
        Details { sign_in_url: start(portal.url), ..Details::default() }
    }
}

#[async_trait]
impl Kind for Memberships {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let membership = read(GET, look.object)?;
        let is_present = id(site, &membership, lane).await?.is_some();
        let shows = |_: &str, verb| is_present == (verb == Verb::Create);
        let operations = look.accepted(shows, SHOWS_WITHIN);
        Ok(Observed { is_present, operations, ..Observed::default() }.into())
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let (object, lane) = (&call.object, call.lane);
        let membership: Membership = read(GET, object)?;
        let client = site.access(lane).await?.identity_store();
        let store = &site.instance(lane).await?.identity_store;
        let once = aws_sdk_identitystore::config::Builder::new();
        let once = once.retry_config(RetryConfig::disabled());
        match call.verb {
            Verb::Create => {
                let create = client.create_group_membership().identity_store_id(store);
                let create = create.group_id(&membership.group);
                let create = create.member_id(MemberId::UserId(membership.user.clone()));
                Answer::of(CREATE, create.customize().config_override(once).send().await)
            }
            Verb::Delete => {
                // Nothing is changed by a look.
                let found = id(site, &membership, lane).await;
                let found = found.map_err(|error| ApiError { leaves_doubt: false, ..error })?;
                let gone = || ApiError::answered(DELETE, GONE, "it does not show any more", 400);
                let delete = client.delete_group_membership().identity_store_id(store);
                let delete = delete.membership_id(found.ok_or_else(gone)?);
                let answer = delete.customize().config_override(once).send().await;
                // By its id AWS knows what is gone.
                Answer::of_removal(DELETE, GONE, answer)
            }
        }
    }
}

fn external_group(name: &str, external: &str) -> Refusal {
    let finding = format!(
        "the group {name} comes from an identity provider, as {external:?}, which would undo a change"
    );
    Refusal::new(RefusalCode::GroupExternal, finding)
}

/// The id of a membership; none: the user is not in the group.
async fn id(site: &Site, membership: &Membership, lane: Lane) -> Result<Option<String>, ApiError> {
    let answer = site
        .access(lane)
        .await?
        .identity_store()
        .get_group_membership_id()
        .identity_store_id(&site.instance(lane).await?.identity_store)
        .group_id(&membership.group)
        .member_id(MemberId::UserId(membership.user.clone()))
        .send()
        .await;
    match answer.map_err(|error| ApiError::of(GET, &error)) {
        Ok(found) => Ok(Some(found.membership_id)),
        Err(error) if error.code.as_deref() == Some(GONE) => Ok(None),
        Err(error) => Err(error),
    }
}
