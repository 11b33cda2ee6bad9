//! What a user of IAM is put into or given as a whole: a group of IAM, a managed policy.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Answer, Call, Error, IS_GRANTABLE, Kind, Look, Mechanism, On, Permission, Plan, Portal,
        Right, Seen, To, Unit, When, Wish,
        iam::{self, once},
        read, spare_management,
    },
    GET, GRANTABLE_PATH, LIST, OUR_USERS, OUR_USERS_IN_PATHS, PASSING, SESSION, USER, current,
    details, in_account, of_unit, place, receiving, refuse_own,
};
use crate::{
    access::site::Site,
    aws::{Access, ApiError},
    model::{
        assignment::{IamUser, InAccount, Principal},
        details::Details,
        failure::Lane,
        ids::{AccountId, IntegrationId},
        object::Object,
        refusal::Refusal,
        target::{Observed, Verb},
    },
    store::{resources::Stored as Resource, units::What},
};

const LIST_GROUPS: &str = "iam:ListGroupsForUser";
const ADD: &str = "iam:AddUserToGroup";
const REMOVE: &str = "iam:RemoveUserFromGroup";
const LIST_POLICIES: &str = "iam:ListAttachedUserPolicies";
const ATTACH: &str = "iam:AttachUserPolicy";
const DETACH: &str = "iam:DetachUserPolicy";

const GROUPS: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:group/apono-grantable/*";
const POLICIES: When = When::like(
    "iam:PolicyARN",
    "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/apono-grantable/*",
);

/// What is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    /// A group, by its name.
    Group,
    /// A managed policy, by its ARN.
    Policy,
}

struct Attachments {
    thing: Thing,
    name: &'static str,
    title: &'static str,
    description: &'static str,
    rights: &'static [Right],
    kinds: &'static [&'static dyn Kind],
    /// The type of what is attached.
    of: &'static str,
    /// The permission, and what it allows.
    permission: (&'static str, &'static str),
}

/// Memberships in groups of IAM.
pub(in super::super) static IAM_MEMBERSHIPS: &dyn Mechanism = &MEMBERSHIPS;

/// Managed policies of users of IAM.
pub(in super::super) static IAM_ATTACHMENTS: &dyn Mechanism = &ATTACHED_POLICIES;

static MEMBERSHIPS: Attachments = Attachments {
    thing: Thing::Group,
    name: "aws-iam-group-membership",
    title: "IamGroupMemberships",
    description: "Put IAM users tagged apono:grantable=true into IAM groups of the path /apono-grantable/ for a time; AWS would let it put in any user",
    rights: &[
        Right {
            name: "Look",
            actions: &[GET, LIST, LIST_GROUPS],
            on: On::Everything,
            when: &[],
            to: To::Look,
        },
        // IAM tells who joins by no condition.
        Right {
            name: "Change",
            actions: &[ADD, REMOVE],
            on: On::Only(&[GROUPS]),
            when: &[],
            to: To::Change,
        },
    ],
    kinds: &[&MEMBERSHIPS],
    of: "aws-iam-group",
    permission: ("MEMBER", "What the policies of the group allow; for an IAM user of the account"),
};

static ATTACHED_POLICIES: Attachments = Attachments {
    thing: Thing::Policy,
    name: "aws-iam-policy-attachment",
    title: "IamPolicyAttachments",
    description: "Attach IAM policies of the path /apono-grantable/ to IAM users tagged apono:grantable=true for a time",
    rights: &[
        Right {
            name: "Look",
            actions: &[GET, LIST, LIST_POLICIES],
            on: On::Everything,
            when: &[],
            to: To::Look,
        },
        Right {
            name: "Attach",
            actions: &[ATTACH],
            on: On::AllBut(&[OUR_USERS, OUR_USERS_IN_PATHS], USER),
            when: &[IS_GRANTABLE, POLICIES],
            to: To::Change,
        },
        // Also from those whose tag was taken away since.
        Right {
            name: "Detach",
            actions: &[DETACH],
            on: On::AllBut(&[OUR_USERS, OUR_USERS_IN_PATHS], USER),
            when: &[POLICIES],
            to: To::Change,
        },
    ],
    kinds: &[&ATTACHED_POLICIES],
    of: "aws-iam-policy",
    permission: ("ATTACH", "What the policy allows; for an IAM user of the account"),
};

#[derive(Serialize, Deserialize)]
struct Planned {
    account: AccountId,
    /// The name of a group, the ARN of a policy.
    thing: String,
}

#[derive(Serialize, Deserialize)]
struct Attachment {
    user: IamUser,
    thing: String,
}

#[async_trait]
impl Mechanism for Attachments {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn description(&self) -> &'static str {
        self.description
    }

    fn member_rights(&self) -> &'static [Right] {
        self.rights
    }

    fn kinds(&self) -> &'static [&'static dyn Kind] {
        self.kinds
    }

    fn is_for_iam_users(&self) -> bool {
        true
    }

    fn permissions(&self, kind: &str) -> Vec<Permission> {
        let (id, description) = self.permission;
        let form = id.to_owned();
        let permission = Permission { id, form, description, is_self_ending: false };
        if kind == self.of { vec![permission] } else { Vec::new() }
    }

    fn withheld(&self, on: &Resource) -> Option<String> {
        let path = on.attributes["path"].as_str().unwrap_or_default();
        let lies_elsewhere = !path.starts_with(GRANTABLE_PATH);
        lies_elsewhere.then(|| format!("{} does not lie in the path {GRANTABLE_PATH}", on.arn))
    }

    fn plan(&self, &Wish { on, recipient, .. }: &Wish<'_>) -> Result<Plan, Refusal> {
        let account = in_account(recipient, on)?.account().clone();
        refuse_own(on)?;
        let thing = match self.thing {
            Thing::Group => &on.name,
            Thing::Policy => &on.arn,
        };
        let planned = Planned { account, thing: thing.clone() };
        Ok(Plan { plan: json!(planned), session: Some(SESSION) })
    }

    fn objects(&self, plan: &Value, unit: &Unit<'_>) -> Result<Vec<Object>, ApiError> {
        let Planned { thing, .. } = read(ADD, plan)?;
        let user = of_unit(unit)?.clone();
        Ok(vec![Object {
            mechanism: self.name,
            key: format!("{}/{thing}", place(&user)),
            place: place(&user),
            object: json!(Attachment { user, thing }),
            stage: 0,
            is_ours_alone: false,
            share: None,
        }])
    }

    async fn openings(&self, site: &Site, plan: &Value) -> Result<Vec<InAccount>, Error> {
        let Planned { account, .. } = read(ADD, plan)?;
        spare_management(site, &account)
    }

    fn details(
        &self,
        what: &What,
        _whose: (IntegrationId, &Principal),
        _portal: Option<Portal<'_>>,
    ) -> Details {
        details(what, "")
    }
}

#[async_trait]
impl Kind for Attachments {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let Attachment { user, thing } = read(GET, look.object)?;
        let access = site.member(user.arn.account(), lane).await?;
        let is_present = match current(&access, &user).await? {
            Some(user) => self.thing.of(&access, user.user_name()).await?.contains(&thing),
            None => false,
        };
        let shows = |_: &str, verb| is_present == (verb == Verb::Create);
        let operations = look.accepted(shows, iam::SHOWS_WITHIN);
        Ok(Observed { is_present, operations, ..Observed::default() }.into())
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let Attachment { user, thing } = read(ADD, &call.object)?;
        let access = site.member(user.arn.account(), call.lane).await?;
        let name = receiving(&access, &user, call.verb).await?;
        let answer = match call.verb {
            Verb::Create => self.thing.attach(&access, &name, thing).await,
            Verb::Delete => self.thing.detach(&access, &name, thing).await.map_err(in_doubt),
        };
        answer.map_err(|error| iam::passing(error, &PASSING))
    }
}

impl Thing {
    /// What a user has of it.
    async fn of(self, access: &Access, user: &str) -> Result<Vec<String>, ApiError> {
        match self {
            Self::Group => {
                let list = access.iam().list_groups_for_user().user_name(user);
                let items: Result<Vec<_>, _> = list.into_paginator().items().send().collect().await;
                let items = items.map_err(|error| ApiError::of(LIST_GROUPS, &error));
                items.map(|items| items.into_iter().map(|one| one.group_name).collect())
            }
            Self::Policy => {
                let list = access.iam().list_attached_user_policies().user_name(user);
                let items: Result<Vec<_>, _> = list.into_paginator().items().send().collect().await;
                let items = items.map_err(|error| ApiError::of(LIST_POLICIES, &error));
                items.map(|items| items.into_iter().filter_map(|one| one.policy_arn).collect())
            }
        }
    }

    /// Where it is attached already, IAM says the same.
    async fn attach(self, access: &Access, user: &str, thing: String) -> Result<Answer, ApiError> {
        match self {
            Self::Group => {
                let add = access.iam().add_user_to_group().user_name(user).group_name(thing);
                Answer::of(ADD, add.customize().config_override(once()).send().await)
            }
            Self::Policy => {
                let attach = access.iam().attach_user_policy().user_name(user).policy_arn(thing);
                Answer::of(ATTACH, attach.customize().config_override(once()).send().await)
            }
        }
    }

    async fn detach(self, access: &Access, user: &str, thing: String) -> Result<Answer, ApiError> {
        match self {
            Self::Group => {
                let remove = access.iam().remove_user_from_group();
                let remove = remove.user_name(user).group_name(thing);
                Answer::of(REMOVE, remove.customize().config_override(once()).send().await)
            }
            Self::Policy => {
                let detach = access.iam().detach_user_policy().user_name(user).policy_arn(thing);
                Answer::of(DETACH, detach.customize().config_override(once()).send().await)
            }
        }
    }
}

/// That something is not there to be detached may be an old view of IAM's: it may show again.
fn in_doubt(error: ApiError) -> ApiError {
    let is_gone = error.code.as_deref() == Some(iam::GONE);
    ApiError { leaves_doubt: error.leaves_doubt || is_gone, ..error }
}
