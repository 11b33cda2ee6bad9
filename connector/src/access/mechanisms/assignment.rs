//! Account assignments of IAM Identity Center.
//!
//! AWS makes and removes them later than asked for, one at a time in an account and fifteen at a time
//! in an instance. There is no client token: of a call whose answer was lost nobody can tell
//! whether it was made, so each is made with one attempt. What is under way shows in no list of
//! assignments, and the lists of requests tell neither what nor whom they are about:
//! each is described once ([`Requests`]).

use async_trait::async_trait;
use aws_sdk_ssoadmin::{
    config::retry::RetryConfig,
    types::{ListAccountAssignmentsFilter, PrincipalType, TargetType},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Answer, Call, Error, Kind, Look, Mechanism, On, Permission, Plan, Portal, Right, Seen, To,
    Unit, Wish, read,
};
use crate::{
    access::{Config, site::Site},
    aws::{ApiError, error::assignment_refusal},
    catalog::identity_center::LIST_INSTANCES,
    model::{
        assignment::{Assignment, InAccount, Principal},
        details::{self, Details, session_length},
        failure::Lane,
        ids::{AccountId, IntegrationId},
        object::Object,
        recovery::Change,
        refusal::{Refusal, RefusalCode},
        target::{Intent, Observed, Operation, Progress, Verb},
    },
    store::{audited_units::Audited, permission_sets::PermissionSet, units::What},
};

mod requests;

pub use requests::Requests;

pub(super) const LIST_ASSIGNMENTS: &str = "sso:ListAccountAssignmentsForPrincipal";
pub(super) const CREATE: &str = "sso:CreateAccountAssignment";
pub(super) const DELETE: &str = "sso:DeleteAccountAssignment";
/// What looking at assignments takes.
pub(super) const LOOKING: &[&str] = &[
    requests::DESCRIBE_CREATION,
    requests::DESCRIBE_DELETION,
    requests::LIST_CREATIONS,
    requests::LIST_DELETIONS,
    LIST_ASSIGNMENTS,
    LIST_INSTANCES,
];

/// Pages of a list at most: more than there are of any. One that goes on does not come to an end.
const PAGES_MAX: usize = 2000;
/// The most that a page may hold.
const PAGE_ITEMS: i32 = 100;

const ANY_SET: &str = "arn:${AWS::Partition}:sso:::permissionSet/any/any";
pub(super) const MANAGEMENT_ACCOUNT: &str = "arn:${AWS::Partition}:sso:::account/${AWS::AccountId}";

const RIGHTS: &[Right] = &[
    Right { name: "Look", actions: LOOKING, on: On::Everything, when: &[], to: To::Look },
    Right {
        name: "Change",
        actions: &[CREATE, DELETE],
        on: On::AllBut(&[MANAGEMENT_ACCOUNT], ANY_SET),
        when: &[],
        to: To::Change,
    },
    Right {
        name: "ChangeManagementAccount",
        actions: &[CREATE, DELETE],
        on: On::Only(&[MANAGEMENT_ACCOUNT]),
        when: &[],
        to: To::ChangeManagementAccount,
    },
    // There AWS makes the roles of permission sets with the rights of whoever asks.
    Right {
        name: "ManagementAccountRoles",
        actions: &[
            "iam:AttachRolePolicy",
            "iam:CreateRole",
            "iam:CreateSAMLProvider",
            "iam:DeleteRole",
            "iam:DeleteRolePermissionsBoundary",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:GetRole",
            "iam:GetSAMLProvider",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:PutRolePermissionsBoundary",
            "iam:PutRolePolicy",
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRole",
            "iam:UpdateRoleDescription",
            "iam:UpdateSAMLProvider",
        ],
        on: On::Only(&[
            "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-reserved/sso.amazonaws.com/*",
            "arn:${AWS::Partition}:iam::${AWS::AccountId}:saml-provider/AWSSSO_*",
        ]),
        when: &[],
        to: To::ChangeManagementAccount,
    },
];

/// Account assignments.
pub(super) static ASSIGNMENTS: &dyn Mechanism = &Assignments;

const NAME: &str = "aws-account-assignment";

/// What a permission set in an account takes, and the mechanism's name.
#[must_use]
pub fn plan(account: &AccountId, set: &PermissionSet) -> (&'static str, Plan) {
    let wanted = InAccount { account: account.clone(), permission_set: set.arn.clone() };
    (NAME, Plan { plan: json!(wanted), session: Some(session_length(&set.session_duration)) })
}

/// In the object of an assignment that can only be ours.
const IS_MARKED: &str = "is_marked";

struct Assignments;

/// The assignment of a permission set whose ARN is told by the target of an earlier stage.
pub(super) fn object_of_generated(
    account: &AccountId,
    set: &str,
    principal: &Principal,
    stage: i16,
) -> Object {
    Object {
        mechanism: NAME,
        key: format!("{account}/{set}/{principal}"),
        place: account.to_string(),
        // Nobody else assigns the set, which is ours.
        object: json!({ "account": account, "principal": principal, IS_MARKED: true }),
        stage,
        is_ours_alone: true,
        share: None,
    }
}

#[async_trait]
impl Mechanism for Assignments {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        "AccountAssignments"
    }

    fn description(&self) -> &'static str {
        "Assign permission sets to users and groups for a time"
    }

    fn rights(&self) -> &'static [Right] {
        RIGHTS
    }

    fn kinds(&self) -> &'static [&'static dyn Kind] {
        &[&Assignments]
    }

    fn permissions(&self, kind: &str) -> Vec<Permission> {
        let any = Permission {
            id: "*",
            form: "*".to_owned(),
            description: "What a permission set says, named as `permission_set` in an account",
            is_self_ending: false,
        };
        if kind == "aws-account" { vec![any] } else { Vec::new() }
    }

    fn plan(&self, wish: &Wish<'_>) -> Result<Plan, Refusal> {
        let finding = format!("{} needs a permission set: see `permission_set`", wish.on.arn);
        Err(Refusal::new(RefusalCode::PermissionUnknown, finding))
    }

    fn objects(&self, plan: &Value, unit: &Unit<'_>) -> Result<Vec<Object>, ApiError> {
        let InAccount { account, permission_set } = read(CREATE, plan)?;
        let (place, principal) = (account.to_string(), unit.principal.clone());
        let assignment = Assignment { account, permission_set, principal };
        Ok(vec![Object {
            mechanism: NAME,
            key: assignment.to_string(),
            place,
            object: json!(assignment),
            stage: 0,
            is_ours_alone: false,
            share: None,
        }])
    }

    async fn openings(&self, _site: &Site, _plan: &Value) -> Result<Vec<InAccount>, Error> {
        Ok(Vec::new())
    }

    fn audited(&self, what: &What, _whose: (IntegrationId, &Principal)) -> Option<Audited> {
        let (account, permission_set) = (what.account.clone(), what.permission.clone());
        Some(Audited { account, permission_set, actions: Vec::new() })
    }

    fn details(
        &self,
        what: &What,
        _whose: (IntegrationId, &Principal),
        portal: Option<Portal<'_>>,
    ) -> Details {
        let Some(portal) = portal else { return Details::default() };
        details::of_role(portal, &what.account, &what.permission)
    }
}

#[async_trait]
impl Kind for Assignments {
    fn name(&self) -> &'static str {
        NAME
    }

    fn calls_at_once(&self, config: &Config) -> Option<i64> {
        Some(config.assignments_at_once.into())
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let wanted: Assignment = read(LIST_ASSIGNMENTS, look.object)?;
        let target = look.target;
        let mut operations = Vec::new();
        let ours = target.intent.as_ref().and_then(|intent| {
            let request = intent.request.clone()?;
            Some((intent.verb, request))
        });
        if let Some((verb, request)) = ours {
            let progress = if site.requests.is_running(site, verb, &request).await? {
                Some(Progress::Running)
            } else {
                let told = requests::describe(site, verb, &request, lane).await?;
                told.map(|(_, progress)| progress)
            };
            operations.extend(progress.map(|progress| Operation { request, verb, progress }));
            if operations.first().is_some_and(|ours| ours.progress == Progress::Running) {
                // Until it ends, nothing else counts.
                return Ok(Observed { operations, ..Observed::default() }.into());
            }
        }
        let is_lost = |intent: &Intent| intent.request.is_none();
        let is_doubtful = target.doubt.is_any() || target.intent.as_ref().is_some_and(is_lost);
        for (verb, request) in site.requests.running(site, &wanted, is_doubtful, lane).await? {
            if operations.iter().all(|known| known.request != request) {
                operations.push(Operation { request, verb, progress: Progress::Running });
            }
        }
        let is_present = is_present(site, &wanted, lane).await?;
        let is_marked = look.object[IS_MARKED] == true;
        Ok(Observed { is_present, is_marked, operations, ..Observed::default() }.into())
    }

    fn is_done_at_once(&self) -> bool {
        false
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let (object, lane) = (&call.object, call.lane);
        let wanted: Assignment = read(LIST_ASSIGNMENTS, object)?;
        let instance = site.instance(lane).await?.arn.clone();
        let client = site.access(lane).await?.sso_admin();
        let (kind, id) = principal(&wanted.principal)?;
        // A retry inside the SDK would lose the id of the first request.
        let once = aws_sdk_ssoadmin::config::Builder::new().retry_config(RetryConfig::disabled());
        let request = match call.verb {
            Verb::Create => {
                let call = client
                    .create_account_assignment()
                    .instance_arn(instance)
                    .target_type(TargetType::AwsAccount)
                    .target_id(wanted.account.as_str())
                    .permission_set_arn(&wanted.permission_set)
                    .principal_type(kind)
                    .principal_id(id);
                let answer = call.customize().config_override(once).send().await;
                let answer = answer.map_err(|error| ApiError::of(CREATE, &error))?;
                answer.account_assignment_creation_status.and_then(|status| status.request_id)
            }
            Verb::Delete => {
                let call = client
                    .delete_account_assignment()
                    .instance_arn(instance)
                    .target_type(TargetType::AwsAccount)
                    .target_id(wanted.account.as_str())
                    .permission_set_arn(&wanted.permission_set)
                    .principal_type(kind)
                    .principal_id(id);
                let answer = call.customize().config_override(once).send().await;
                let answer = answer.map_err(|error| ApiError::of(DELETE, &error))?;
                answer.account_assignment_deletion_status.and_then(|status| status.request_id)
            }
        };
        let action = if call.verb == Verb::Create { CREATE } else { DELETE };
        let request = request.ok_or_else(|| ApiError {
            leaves_doubt: true,
            ..ApiError::answered(action, "", "an answer without a request id", 200)
        })?;
        site.requests.remember(&request, Some(wanted));
        Ok(request.into())
    }

    async fn changes(
        &self,
        site: &Site,
        since: DateTime<Utc>,
        lane: Lane,
    ) -> Result<Vec<Change>, ApiError> {
        let mut changes = Vec::new();
        for (verb, request, at) in requests::since(site, since, lane).await? {
            let action = LIST_ASSIGNMENTS;
            let unknown = |what: &str| ApiError::answered(action, "", what, 200);
            let (about, progress) = requests::describe(site, verb, &request, lane)
                .await?
                .ok_or_else(|| unknown("a request is listed and not described"))?;
            if progress == Progress::Running {
                return Err(unknown("AWS is still at work on requests"));
            }
            let Some(object) = about else { continue };
            let is_in_effect = is_present(site, &object, lane).await? == (verb == Verb::Create);
            if !is_in_effect {
                continue;
            }
            changes.push(Change {
                request,
                verb,
                at,
                mechanism: NAME.to_owned(),
                key: object.to_string(),
                account: object.account.clone(),
                object: json!(object),
            });
        }
        Ok(changes)
    }

    fn is_recorded(&self) -> bool {
        true
    }

    fn refusal(&self, words: &str) -> Option<Refusal> {
        assignment_refusal(words)
    }
}

fn principal(principal: &Principal) -> Result<(PrincipalType, &str), ApiError> {
    match principal {
        Principal::User(id) => Ok((PrincipalType::User, id)),
        Principal::Group(id) => Ok((PrincipalType::Group, id)),
        Principal::IamUser(_) => {
            let words = format!("the identity store does not know {principal}");
            Err(ApiError::answered(LIST_ASSIGNMENTS, "", &words, 400))
        }
    }
}

/// Whether the assignment is in effect: itself, not one of a group that the user is in.
async fn is_present(site: &Site, wanted: &Assignment, lane: Lane) -> Result<bool, ApiError> {
    let there = of_principal(site, &wanted.principal, Some(&wanted.account), lane).await?;
    let is_it = |found: &InAccount| {
        found.account == wanted.account && found.permission_set == wanted.permission_set
    };
    Ok(there.iter().any(is_it))
}

/// What is assigned to somebody itself: in one account, or in all.
pub(super) async fn of_principal(
    site: &Site,
    of: &Principal,
    account: Option<&AccountId>,
    lane: Lane,
) -> Result<Vec<InAccount>, ApiError> {
    let instance = &site.instance(lane).await?.arn;
    let client = site.access(lane).await?.sso_admin();
    let (kind, id) = principal(of)?;
    let in_account = account.map(|account| {
        ListAccountAssignmentsFilter::builder().account_id(account.as_str()).build()
    });
    let (mut token, mut assigned) = (None, Vec::new());
    for _ in 0..PAGES_MAX {
        let answer = client
            .list_account_assignments_for_principal()
            .instance_arn(instance)
            .principal_type(kind.clone())
            .principal_id(id)
            .set_filter(in_account.clone())
            .max_results(PAGE_ITEMS)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_ASSIGNMENTS, &error))?;
        let own = answer.account_assignments().iter().filter(|found| {
            found.principal_id() == Some(id) && found.principal_type() == Some(&kind)
        });
        for found in own {
            let account = found.account_id().and_then(|account| account.parse().ok());
            let (Some(account), Some(set)) = (account, found.permission_set_arn()) else {
                let words = "an assignment without an account or a permission set";
                return Err(ApiError::answered(LIST_ASSIGNMENTS, "", words, 200));
            };
            assigned.push(InAccount { account, permission_set: set.to_owned() });
        }
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(assigned);
        }
    }
    Err(ApiError::answered(LIST_ASSIGNMENTS, "", "the list does not come to an end", 200))
}
