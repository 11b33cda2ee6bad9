//! How grants are shown to people.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use apono_connector_proto::v1::{AccessDetails, Grant, GrantUnit, Recipient, recipient::Who};
use prost::{Message, Name};
use prost_types::Timestamp;

use crate::{
    base::clock,
    cli::{
        connect::Client,
        output::{Format, print_table, say, time, word},
    },
};

/// Prints an answer: as JSON, or its grant as tables.
pub(super) fn answer<M: Message + Name>(
    client: &Client,
    answer: &M,
    grant: Option<&Grant>,
) -> anyhow::Result<()> {
    match client.format {
        Format::Json => client.print(answer, &[], []),
        Format::Table => {
            print(grant.context("the daemon sent no grant")?);
            Ok(())
        }
    }
}

fn print(grant: &Grant) {
    let mut labels: Vec<String> =
        grant.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.sort();
    let fields = [
        ("grant", grant.id.clone()),
        ("state", state(grant)),
        ("recipient", recipient(grant.recipient.as_ref())),
        ("granted", time(grant.create_time.as_ref())),
        ("ends", end(grant)),
        ("reason", grant.reason.clone()),
        ("requester", grant.requester.clone()),
        ("approver", grant.approver.clone()),
        ("labels", labels.join(", ")),
        ("integration", grant.integration_id.clone()),
        ("principal", grant.principal_id.clone()),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    print_table(&["field", "value"], fields.map(|(name, value)| vec![name.to_owned(), value]));
    say!("");
    let units = grant.units.iter().map(|unit| {
        vec![
            on(unit).to_owned(),
            permission(unit).to_owned(),
            word(unit.state().as_str_name(), "UNIT_STATE_"),
            when(unit.effective_until_time.as_ref()),
            time(unit.session_tail_until_time.as_ref()),
            note(unit),
        ]
    });
    let headings = ["on", "permission", "state", "until", "sessions until", "note"];
    print_table(&headings, units);
    print_details(grant);
}

/// How a person gets in, unit by unit; what counts for all is said once.
fn print_details(grant: &Grant) {
    let mut custom = BTreeSet::new();
    for granted in &grant.units {
        let Some(details) = &granted.details else { continue };
        custom.insert(details.custom_access_details.as_str());
        if let Some(ways) = ways(details) {
            say!("\n{}\n{ways}", unit(granted));
        }
    }
    for text in custom.into_iter().filter(|text| !text.is_empty()) {
        say!("\n{}", text.trim_end());
    }
}

/// The ways in; none: no portal is known.
fn ways(details: &AccessDetails) -> Option<String> {
    let mut ways = Vec::new();
    if !details.sign_in_url.is_empty() {
        ways.push(format!("  sign in: {}", details.sign_in_url));
    }
    if !details.cli_command.is_empty() {
        ways.push(format!("  command: {}", details.cli_command));
    }
    if !details.aws_config.is_empty() {
        // Not indented: it is there to be copied.
        ways.push(format!("  in ~/.aws/config:\n{}", details.aws_config.trim_end()));
    }
    (!ways.is_empty()).then(|| ways.join("\n"))
}

/// State: `active`; `pending, stuck` when a unit does not get on.
pub(super) fn state(grant: &Grant) -> String {
    let state = word(grant.state().as_str_name(), "GRANT_STATE_");
    let is_stuck = grant.units.iter().any(|unit| unit.stuck_since.is_some());
    if is_stuck { format!("{state}, stuck") } else { state }
}

/// Who: an address, a user name or an ARN as it is, anything else with a word before it.
pub(super) fn recipient(recipient: Option<&Recipient>) -> String {
    match recipient.and_then(|recipient| recipient.who.as_ref()) {
        Some(Who::UserEmail(name) | Who::UserName(name) | Who::IamUserArn(name)) => name.clone(),
        Some(Who::UserId(id)) => format!("user {id}"),
        Some(Who::GroupName(name)) => format!("group {name}"),
        Some(Who::GroupId(id)) => format!("group {id}"),
        None => "-".to_owned(),
    }
}

/// What: the first unit, and how many more: `222222222222/ReadOnly +2 more`.
pub(super) fn what(grant: &Grant) -> String {
    match grant.units.as_slice() {
        [] => "-".to_owned(),
        [only] => unit(only),
        [first, more @ ..] => format!("{} +{} more", unit(first), more.len()),
    }
}

/// A unit, for people.
pub(super) fn unit(unit: &GrantUnit) -> String {
    format!("{}/{}", on(unit), permission(unit))
}

/// What the permission is on: an account, or the name of a resource.
fn on(unit: &GrantUnit) -> &str {
    if unit.resource.is_empty() { &unit.account_id } else { &unit.resource_name }
}

/// What may be done there; a daemon of before has no name for it but the permission set's.
fn permission(unit: &GrantUnit) -> &str {
    let names = [&unit.permission, &unit.permission_set, &unit.permission_set_arn];
    names.into_iter().find(|name| !name.is_empty()).map_or("", String::as_str)
}

/// What else there is to say: why it cannot be granted, why it does not get on, that it stays.
pub(super) fn note(unit: &GrantUnit) -> String {
    let mut notes = Vec::new();
    if let Some(refusal) = &unit.refusal {
        let remedy = match refusal.remedy.as_str() {
            "" => String::new(),
            remedy => format!(" → {remedy}"),
        };
        notes.push(format!("{}: {}{remedy}", refusal.reason, refusal.finding));
    }
    if unit.stuck_since.is_some() {
        let since = time(unit.stuck_since.as_ref());
        notes.push(format!("stuck since {since}: {}", unit.stuck_reason));
    }
    if !unit.warning.is_empty() {
        notes.push(unit.warning.clone());
    }
    if unit.was_there_before {
        notes.push("it was there before, and stays".to_owned());
    }
    notes.join("; ")
}

/// When it ends or was ended.
pub(super) fn end(grant: &Grant) -> String {
    when(grant.revoke_time.as_ref().or(grant.expire_time.as_ref()))
}

/// A time, and how far from now it is; `-` for none.
fn when(then: Option<&Timestamp>) -> String {
    match then {
        Some(then) => format!("{} ({})", time(Some(then)), distance(then)),
        None => time(None),
    }
}

/// How far from now a time is: `in 12m 3s`, `3h 5m ago`.
pub(super) fn distance(then: &Timestamp) -> String {
    seconds_away(then.seconds.saturating_sub(clock::now().timestamp()))
}

fn seconds_away(seconds: i64) -> String {
    let length = Duration::from_secs(seconds.unsigned_abs());
    let length = humantime::format_duration(length).to_string();
    // Two of its words are as much as people want to know.
    let coarse: Vec<&str> = length.split(' ').take(2).collect();
    let coarse = coarse.join(" ");
    if seconds < 0 { format!("{coarse} ago") } else { format!("in {coarse}") }
}

#[cfg(test)]
mod tests {
    use apono_connector_proto::v1::UnitRefusal;

    use super::*;

    fn a_unit(account: &str) -> GrantUnit {
        GrantUnit {
            account_id: account.to_owned(),
            permission_set: "ReadOnly".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn times_to_come_and_gone_are_told_in_two_words() {
        assert_eq!(seconds_away(42 * 60), "in 42m");
        assert_eq!(seconds_away(12 * 60 + 3), "in 12m 3s");
        assert_eq!(seconds_away(-(3 * 3600 + 5 * 60 + 7)), "3h 5m ago");
        assert_eq!(seconds_away(0), "in 0s");
    }

    #[test]
    fn many_units_are_the_first_and_a_number() {
        let mut grant = Grant::default();
        assert_eq!(what(&grant), "-");
        grant.units.push(a_unit("222222222222"));
        assert_eq!(what(&grant), "222222222222/ReadOnly");
        grant.units.extend([a_unit("333333333333"), a_unit("444444444444")]);
        assert_eq!(what(&grant), "222222222222/ReadOnly +2 more");
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let refusal = UnitRefusal {
            reason: "PRINCIPAL_UNKNOWN".to_owned(),
            finding: "no user has this address".to_owned(),
            remedy: "create the user".to_owned(),
        };
        let refused = GrantUnit { refusal: Some(refusal), ..a_unit("222222222222") };
        let told = "PRINCIPAL_UNKNOWN: no user has this address → create the user";
        assert_eq!(note(&refused), told);
        assert_eq!(note(&a_unit("222222222222")), "");
    }

    #[test]
    fn without_a_portal_no_way_in_is_told() {
        assert_eq!(ways(&AccessDetails::default()), None);
        let details = AccessDetails {
            sign_in_url: "https://example.com/start".to_owned(),
            aws_config: "[profile a]\nregion = eu-west-1\n".to_owned(),
            ..Default::default()
        };
        let told = "  sign in: https://example.com/start\n  in ~/.aws/config:\n[profile a]\nregion = eu-west-1";
        assert_eq!(ways(&details).as_deref(), Some(told));
    }
}
