//! Between the words of access in the API and those of the model.

use std::collections::{BTreeMap, BTreeSet};

use apono_connector_proto::v1::{
    self, GrantRequest, ValidateGrantRequest, grant_request, recipient::Who, validate_grant_request,
};
use chrono::{DateTime, TimeDelta, Utc};
use tonic::Status;

use super::{status, words};
use crate::{
    access::mechanisms::{self, UNBOUNDED_S},
    model::{
        arn::UserArn,
        assignment::Principal,
        details::Portal,
        form::Violation,
        grant::{
            ARN_CHARACTERS_MAX, End, ID_CHARACTERS_MAX, LABEL_KEY_CHARACTERS_MAX, LABELS_MAX,
            REASON_CHARACTERS_MAX, Recipient, Request, TEXT_CHARACTERS_MAX, UNITS_MAX, Wanted,
        },
        ids::{AccountId, IntegrationId},
        integration::Settings,
        unit::UnitState,
    },
    store::{
        acts::Act,
        grants::Grant,
        units::{Unit, What},
    },
};

/// Checks a request; all bad fields are named.
pub(super) fn request(
    asked: GrantRequest,
    integration: IntegrationId,
) -> Result<(String, Request), Status> {
    let mut bad = Bad::default();
    let is_id_character = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if asked.grant_id.is_empty()
        || asked.grant_id.len() > ID_CHARACTERS_MAX
        || !asked.grant_id.chars().all(is_id_character)
    {
        bad.field("grant_id", format!(
            "is {:?}; use 1 to {ID_CHARACTERS_MAX} letters, digits, `-`, `_`, `.` or `:`, such as a UUID",
            asked.grant_id
        ));
    }
    let recipient = bad.take(recipient(asked.recipient));
    let units = units(asked.units, &mut bad);
    let end = match asked.end {
        Some(grant_request::End::ExpireTime(time)) => bad
            .take(words::time(time, "expire_time").map_err(|error| Violation {
                field: "expire_time".to_owned(),
                reason: error.message().replace("expire_time ", ""),
            }))
            .map(End::At),
        Some(grant_request::End::Duration(length)) => {
            let milliseconds = length
                .seconds
                .checked_mul(1000)
                .and_then(|all| all.checked_add(i64::from(length.nanos / 1_000_000)));
            Some(End::After(milliseconds.unwrap_or(i64::MAX)))
        }
        None => {
            bad.field("end", "is required; set expire_time or duration");
            None
        }
    };
    bad.text("reason", &asked.reason, REASON_CHARACTERS_MAX);
    bad.text("requester", &asked.requester, TEXT_CHARACTERS_MAX);
    bad.text("approver", &asked.approver, TEXT_CHARACTERS_MAX);
    if asked.labels.len() > LABELS_MAX {
        bad.field("labels", format!("are {}; use at most {LABELS_MAX}", asked.labels.len()));
    }
    for (key, value) in &asked.labels {
        if key.is_empty() {
            bad.field("labels", "has an empty key; name it");
        }
        bad.text("labels", key, LABEL_KEY_CHARACTERS_MAX);
        bad.text("labels", value, TEXT_CHARACTERS_MAX);
    }
    let (Some(recipient), Some(end), true) = (recipient, end, bad.0.is_empty()) else {
        return Err(status::bad_fields(bad.0));
    };
    let request = Request {
        integration: integration.0,
        recipient,
        units,
        end,
        reason: asked.reason,
        requester: asked.requester,
        approver: asked.approver,
        labels: asked.labels.into_iter().collect::<BTreeMap<_, _>>(),
    };
    Ok((asked.grant_id, request))
}

/// The request of a grant that is only tried, under an id that is not stored.
pub(super) fn as_if_granted(tried: ValidateGrantRequest) -> GrantRequest {
    let end = tried.end.map(|end| match end {
        validate_grant_request::End::ExpireTime(time) => grant_request::End::ExpireTime(time),
        validate_grant_request::End::Duration(length) => grant_request::End::Duration(length),
    });
    GrantRequest {
        grant_id: "tried".to_owned(),
        recipient: tried.recipient,
        units: tried.units,
        end,
        reason: tried.reason,
        requester: tried.requester,
        approver: tried.approver,
        ..Default::default()
    }
}

fn units(asked: Vec<v1::AccessUnit>, bad: &mut Bad) -> BTreeSet<Wanted> {
    let mut units = BTreeSet::new();
    if asked.is_empty() || asked.len() > UNITS_MAX {
        bad.field("units", format!("are {}; use 1 to {UNITS_MAX}", asked.len()));
    }
    for (at, unit) in asked.into_iter().take(UNITS_MAX).enumerate() {
        let before = bad.0.len();
        let is_on_resource = !unit.resource.is_empty() || !unit.permission.is_empty();
        let is_in_account = !unit.account_id.is_empty() || !unit.permission_set.is_empty();
        if is_on_resource && is_in_account {
            bad.field(
                &format!("units[{at}]"),
                "is two things; set account_id and permission_set, or resource and permission",
            );
            continue;
        }
        let wanted = if is_on_resource {
            let (resource, permission) = (unit.resource, unit.permission);
            let what = "is required; use the ARN of a resource that was discovered";
            bad.required(&format!("units[{at}].resource"), &resource, ARN_CHARACTERS_MAX, what);
            let what = "is required; use a permission of the resource's type";
            bad.required(
                &format!("units[{at}].permission"),
                &permission,
                TEXT_CHARACTERS_MAX,
                what,
            );
            Some(Wanted::On { resource, permission })
        } else {
            let (account, permission_set) = (unit.account_id.parse(), unit.permission_set);
            let what = "is required; use the name or ARN of a permission set";
            let field = format!("units[{at}].permission_set");
            bad.required(&field, &permission_set, TEXT_CHARACTERS_MAX, what);
            let account: Result<AccountId, _> = account;
            account
                .map_err(|error| bad.field(&format!("units[{at}].account_id"), error.to_string()))
                .ok()
                .map(|account| Wanted::InAccount { account, permission_set })
        };
        let is_good = bad.0.len() == before;
        if let Some(wanted) = wanted.filter(|_| is_good)
            && !units.insert(wanted)
        {
            bad.field(&format!("units[{at}]"), "is there twice; remove one");
        }
    }
    units
}

/// Checks who receives access.
pub(super) fn recipient(asked: Option<v1::Recipient>) -> Result<Recipient, Violation> {
    let violation =
        |reason: &str| Violation { field: "recipient".to_owned(), reason: reason.into() };
    let who = asked.and_then(|asked| asked.who);
    let recipient = match who {
        None => {
            return Err(violation(
                "is required; set user_email, user_name, user_id, group_name, group_id or iam_user_arn",
            ));
        }
        Some(Who::UserEmail(name)) => Recipient::UserEmail(name),
        Some(Who::UserName(name)) => Recipient::UserName(name),
        Some(Who::UserId(id)) => Recipient::UserId(id),
        Some(Who::GroupName(name)) => Recipient::GroupName(name),
        Some(Who::GroupId(id)) => Recipient::GroupId(id),
        Some(Who::IamUserArn(arn)) => {
            let user = UserArn::try_from(arn);
            return user.map(Recipient::IamUser).map_err(|error| violation(&error.to_string()));
        }
    };
    let name = recipient.name();
    if name.trim().is_empty()
        || name.chars().count() > TEXT_CHARACTERS_MAX
        || name.chars().any(char::is_control)
    {
        let reason = format!("is {name:?}; use 1 to {TEXT_CHARACTERS_MAX} characters that show");
        return Err(violation(&reason));
    }
    Ok(recipient)
}

/// Checks the reason of a revoke.
pub(super) fn reason(text: &str) -> Result<(), Status> {
    let mut bad = Bad::default();
    bad.text("reason", text, REASON_CHARACTERS_MAX);
    if bad.0.is_empty() { Ok(()) } else { Err(status::bad_fields(bad.0)) }
}

/// Fields that cannot be taken.
#[derive(Default)]
struct Bad(Vec<Violation>);

impl Bad {
    fn field(&mut self, field: &str, reason: impl Into<String>) {
        self.0.push(Violation { field: field.to_owned(), reason: reason.into() });
    }

    fn text(&mut self, field: &str, text: &str, most: usize) {
        let characters = text.chars().count();
        if characters > most {
            self.field(field, format!("has {characters} characters; use at most {most}"));
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.field(field, "holds control characters; remove them");
        }
    }

    fn required(&mut self, field: &str, text: &str, most: usize, what: &str) {
        if text.is_empty() {
            self.field(field, what);
        }
        self.text(field, text, most);
    }

    fn take<T>(&mut self, checked: Result<T, Violation>) -> Option<T> {
        checked.map_err(|violation| self.0.push(violation)).ok()
    }
}

/// A grant with its units, as they stand at a time.
pub(super) fn grant(
    grant: Grant,
    units: Vec<Unit>,
    settings: Option<&Settings>,
    now: DateTime<Utc>,
) -> v1::Grant {
    let state = state(&grant, &units, now);
    let units = units.into_iter().map(|found| unit(found, settings, &grant)).collect();
    v1::Grant {
        id: grant.id,
        integration_id: grant.integration.to_string(),
        recipient: Some(shown(grant.request.recipient)),
        principal_id: grant.principal.map(|found| found.id().to_owned()).unwrap_or_default(),
        state: state.into(),
        units,
        expire_time: Some(words::timestamp(grant.expires_at)),
        create_time: Some(words::timestamp(grant.created_at)),
        revoke_time: grant.revoked_at.map(words::timestamp),
        reason: grant.request.reason,
        requester: grant.request.requester,
        approver: grant.request.approver,
        labels: grant.request.labels.into_iter().collect(),
        desired_version: grant.desired_version,
    }
}

fn state(grant: &Grant, units: &[Unit], now: DateTime<Utc>) -> v1::GrantState {
    if units.iter().all(|unit| unit.state == UnitState::Failed) {
        return v1::GrantState::Failed;
    }
    if units.iter().all(|unit| unit.state.is_final()) {
        return v1::GrantState::Ended;
    }
    if grant.until() <= now {
        return v1::GrantState::Ending;
    }
    if units.iter().any(|unit| unit.state == UnitState::Pending) {
        return v1::GrantState::Pending;
    }
    v1::GrantState::Active
}

fn shown(recipient: Recipient) -> v1::Recipient {
    let who = match recipient {
        Recipient::UserEmail(name) => Who::UserEmail(name),
        Recipient::UserName(name) => Who::UserName(name),
        Recipient::UserId(id) => Who::UserId(id),
        Recipient::GroupName(name) => Who::GroupName(name),
        Recipient::GroupId(id) => Who::GroupId(id),
        Recipient::IamUser(arn) => Who::IamUserArn(arn.into()),
    };
    v1::Recipient { who: Some(who) }
}

fn unit(unit: Unit, settings: Option<&Settings>, grant: &Grant) -> v1::GrantUnit {
    let is_open = !unit.state.is_final();
    let stuck_since = unit.stuck_since.or(grant.stuck_since.filter(|_| is_open));
    let reason = if unit.stuck_since.is_some() { &unit.stuck_reason } else { &grant.stuck_reason };
    let is_self_ending = mechanisms::is_self_ending(&unit.what);
    // What ends by itself ends in open sessions too, but for what is taken back before.
    let is_on_time = is_self_ending && grant.revoked_at.is_none();
    let session = if is_on_time { 0 } else { unit.what.session_seconds };
    let session = TimeDelta::seconds(session.into());
    let tail = match unit.state {
        // Whatever ends with the grant was not there before it.
        _ if unit.is_found || unit.what.session_seconds == UNBOUNDED_S => None,
        UnitState::Active | UnitState::Revoking | UnitState::Settling => {
            Some(unit.effective_until.unwrap_or(unit.state_at) + session)
        }
        UnitState::Ended => Some(unit.state_at + session),
        UnitState::Pending | UnitState::Failed => None,
    };
    let state = match unit.state {
        UnitState::Pending => v1::UnitState::Pending,
        UnitState::Active => v1::UnitState::Active,
        UnitState::Revoking => v1::UnitState::Revoking,
        UnitState::Settling => v1::UnitState::Settling,
        UnitState::Ended => v1::UnitState::Ended,
        UnitState::Failed => v1::UnitState::Failed,
    };
    let way_in = settings.filter(|_| unit.state == UnitState::Active);
    let way_in = way_in.zip(grant.principal.as_ref());
    let details = way_in.map(|(settings, principal)| {
        access_details(settings, &unit.what, (grant.integration, principal))
    });
    let What { account, resource, resource_type, resource_name, permission, .. } = unit.what;
    let set = unit.what.plan["permission_set"].as_str().unwrap_or_default();
    v1::GrantUnit {
        account_id: account.to_string(),
        details,
        permission_set: if set.is_empty() { String::new() } else { permission.clone() },
        permission_set_arn: set.to_owned(),
        resource,
        resource_type,
        resource_name,
        permission,
        mechanism: unit.what.mechanism,
        state: state.into(),
        refusal: unit.refusal.map(|refusal| v1::UnitRefusal {
            reason: refusal.code.to_string(),
            remedy: refusal.code.remedy().to_owned(),
            finding: refusal.finding,
        }),
        was_there_before: unit.is_found,
        stuck_since: stuck_since.map(words::timestamp),
        stuck_reason: stuck_since.map(|_| reason.clone()).unwrap_or_default(),
        effective_until_time: unit.effective_until.map(words::timestamp),
        session_tail_until_time: tail.map(words::timestamp),
        state_time: Some(words::timestamp(unit.state_at)),
        is_forgotten: unit.is_forgotten,
        is_self_ending,
        warning: unit.warning,
    }
}

fn access_details(
    settings: &Settings,
    what: &What,
    whose: (IntegrationId, &Principal),
) -> v1::AccessDetails {
    let custom_access_details = settings.custom_access_details.clone();
    let mechanism = mechanisms::of(&what.mechanism);
    let portal = settings.sso_portal_url.as_ref().zip(settings.sso_region.as_ref());
    let portal = portal.map(|(url, sso_region)| Portal { url, sso_region });
    let found = mechanism.map(|mechanism| mechanism.details(what, whose, portal));
    let found = found.unwrap_or_default();
    v1::AccessDetails {
        sign_in_url: found.sign_in_url,
        aws_config: found.aws_config,
        cli_command: found.cli_command,
        custom_access_details,
    }
}

/// An act.
pub(super) fn act(act: Act) -> v1::Act {
    v1::Act {
        number: act.number,
        time: Some(words::timestamp(act.at)),
        grant_id: act.grant_id,
        verb: act.verb,
        actor: act.actor,
        object: act.object,
        detail: act.detail,
    }
}
