//! What the guardrails say of one unit of a grant.

use std::collections::BTreeSet;

use crate::{
    guard::{Guard, Kind, On, Question, Verdict},
    model::{
        assignment::InAccount,
        grant::{Recipient, Request},
        organization::Coverage,
        refusal::{Refusal, RefusalCode},
    },
    store::{
        self, PgConnection,
        integrations::Integration,
        organization::{self, Account},
        permission_sets,
        units::What,
    },
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

/// Why something that would be opened beside what was asked for must not be; none: it may be. Each
/// opening is judged as if it had been asked for, and what is not known is not opened.
///
/// # Errors
///
/// When the database does not answer.
pub async fn opened(
    conn: &mut PgConnection,
    guard: &Guard,
    (of, request): (&Integration, &Request),
    names: &[String],
    openings: &BTreeSet<InAccount>,
    length_s: i64,
) -> store::Result<Option<Refusal>> {
    for InAccount { account: id, permission_set: arn } in openings {
        let account = organization::account(conn, &of.connector, of.id, id).await?;
        let Some(account) = account.filter(|found| found.coverage == Coverage::Crawled) else {
            let finding = format!("it would open the account {id}, which is not crawled");
            return Ok(Some(Refusal::new(RefusalCode::AccountExcluded, finding)));
        };
        let set = permission_sets::find(conn, &of.connector, of.id, arn).await?;
        let Some(set) = set else {
            let finding = format!("it would open {arn} in {id}, which was not discovered");
            return Ok(Some(Refusal::new(RefusalCode::PermissionSetUnknown, finding)));
        };
        let (account, on) = (&account, On::PermissionSet { name: &set.name });
        for recipient in names {
            let asked = Asked { of, request, recipient, account, on, length_s };
            if let Some(Refusal { code, finding }) = refusal(guard, asked) {
                let finding = format!("it would open {} in {id}: {finding}", set.name);
                return Ok(Some(Refusal::new(code, finding)));
            }
        }
    }
    Ok(None)
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

fn kind_of(recipient: &Recipient) -> Kind {
    match recipient {
        Recipient::UserEmail(_) | Recipient::UserName(_) | Recipient::UserId(_) => Kind::User,
        Recipient::GroupName(_) | Recipient::GroupId(_) => Kind::Group,
        Recipient::IamUser(_) => Kind::IamUser,
    }
}

/// Why a rule forbids it; none: it may be.
#[must_use]
pub fn refusal(guard: &Guard, asked: Asked<'_>) -> Option<Refusal> {
    let Asked { of, request, recipient, account, on, length_s } = asked;
    let verdict = guard.judge(&Question {
        integration: &of.settings.name,
        recipient: kind_of(&request.recipient),
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
