//! The CloudFormation templates, made from what the code declares.
//!
//! Those of `deploy/cloudformation` are made for every resource type; who chooses fewer
//! gets smaller roles.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{discovery, looking};
use crate::access::mechanisms::{MECHANISMS, Mechanism};

/// Where the actions of a role stand.
const ACTIONS: &str = "@ACTIONS@";
/// Where the member template stands in the other.
const MEMBER: &str = "@MEMBER@";
/// Where what mechanisms need stands.
const CHOICES: &str = "@CHOICES@";
const CONDITIONS: &str = "@CONDITIONS@";
const POLICIES: &str = "@POLICIES@";

/// The template of the management account, with the StackSet of the other one.
#[must_use]
pub fn management(types: &[&str]) -> String {
    let of_role = &discovery(types.iter().copied()).management;
    let template = filled(include_str!("templates/management.yaml"), ACTIONS, &items(of_role));
    let template = filled(&template, CHOICES, &of_each(choice));
    let template = filled(&template, CONDITIONS, &of_each(condition));
    let template = filled(&template, POLICIES, &of_each(policy));
    filled(&template, MEMBER, &member(types))
}

fn of_each(written: fn(&dyn Mechanism) -> String) -> String {
    MECHANISMS.iter().map(|mechanism| written(*mechanism)).collect()
}

/// The parameter that switches a mechanism on.
fn choice(mechanism: &dyn Mechanism) -> String {
    let (title, description) = (mechanism.title(), mechanism.description());
    format!(
        "{title}:\n  Type: String\n  Description: {description}\n  AllowedValues:\n    - Enabled\n    - Disabled\n  Default: Disabled\n"
    )
}

fn condition(mechanism: &dyn Mechanism) -> String {
    let title = mechanism.title();
    format!(
        "Has{title}:\n  Fn::Equals:\n    - Ref: {title}\n    - Enabled\nHas{title}InManagementAccount:\n  Fn::And:\n    - Condition: Has{title}\n    - Condition: HasManagementAccountAccess\n"
    )
}

/// The policies that a mechanism adds to the role of the management account.
fn policy(mechanism: &dyn Mechanism) -> String {
    let title = mechanism.title();
    let template = include_str!("templates/mechanism.yaml").replace("@TITLE@", title);
    let template = filled(&template, "@LOOKING@", &items(&looking(mechanism)));
    let changing = mechanism.changing().iter().copied().collect();
    let template = filled(&template, "@CHANGING@", &items(&changing));
    let roles = mechanism.changing_in_management_account().iter().copied().collect();
    filled(&template, "@ROLES@", &items(&roles))
}

/// The template of the member accounts.
#[must_use]
pub fn member(types: &[&str]) -> String {
    let of_role = &discovery(types.iter().copied()).member;
    filled(include_str!("templates/member.yaml"), ACTIONS, &items(of_role))
}

fn items(actions: &BTreeSet<&str>) -> String {
    actions.iter().fold(String::new(), |mut items, action| {
        let _ = writeln!(items, "- {action}");
        items
    })
}

/// Puts lines in the place of a line that is a mark, as far to the right.
fn filled(template: &str, mark: &str, lines: &str) -> String {
    let mut filled = String::new();
    for line in template.lines() {
        let Some(indent) = line.strip_suffix(mark) else {
            filled.push_str(line);
            filled.push('\n');
            continue;
        };
        for line in lines.lines() {
            let indent = if line.is_empty() { "" } else { indent };
            let _ = writeln!(filled, "{indent}{line}");
        }
    }
    filled
}
