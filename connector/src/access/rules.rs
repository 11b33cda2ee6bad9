//! What the guardrails say of one unit of a grant.

use crate::{
    guard::{Guard, Kind, On, Question, Verdict},
    model::{
        grant::Request,
        refusal::{Refusal, RefusalCode},
    },
    store::{integrations::Integration, organization::Account, units::What},
};

/// A unit as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Integration.
    pub of: &'a Integration,
    /// The whole request.
    pub request: &'a Request,
    /// A name of the recipient: that of the request, or another one of the same.
    pub recipient: &'a str,
    /// The account.
    pub account: &'a Account,
    /// What is asked for.
    pub on: On<'a>,
    /// How long the grant lasts, from its start.
    pub length_s: i64,
}

/// What a unit is on, as rules see it.
#[must_use]
pub fn on(what: &What) -> On<'_> {
    if what.resource.is_empty() {
        return On::PermissionSet { name: &what.permission };
    }
    On::Resource {
        arn: &what.resource,
        kind: &what.resource_type,
        name: &what.resource_name,
        permission: &what.permission,
    }
}

/// Why a rule forbids it; none: it may be.
#[must_use]
pub fn refusal(guard: &Guard, asked: Asked<'_>) -> Option<Refusal> {
    let Asked { of, request, recipient, account, on, length_s } = asked;
    let verdict = guard.judge(&Question {
        integration: &of.settings.name,
        recipient: if request.recipient.is_group() { Kind::Group } else { Kind::User },
        recipient_name: recipient,
        account: account.id.as_str(),
        account_name: &account.name,
        ous: &account.path,
        on,
        duration_s: length_s,
        reason: &request.reason,
        requester: &request.requester,
        approver: &request.approver,
    });
    match verdict {
        Verdict::Allowed => None,
        Verdict::Refused { rule, words } => {
            let finding = format!("the rule {rule:?} forbids it for {recipient}: {words}");
            Some(Refusal::new(RefusalCode::Guardrail, finding))
        }
    }
}
