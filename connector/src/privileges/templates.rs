//! The CloudFormation templates, made from what the code declares.
//!
//! Those of `deploy/cloudformation` are made for every resource type; who chooses fewer
//! gets smaller roles.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    Choice, actions, choices, discovery,
    trail::{NAMED, Named},
};
use crate::{
    access::mechanisms::{BOUNDARY, On, Right, To},
    catalog,
};

/// Where the actions of a role stand.
const ACTIONS: &str = "@ACTIONS@";
/// Where the member template stands in the other.
const MEMBER: &str = "@MEMBER@";
/// Where what is chosen stands.
const CHOICES: &str = "@CHOICES@";
const CONDITIONS: &str = "@CONDITIONS@";
const POLICIES: &str = "@POLICIES@";
/// Where what the StackSet hands on stands.
const PARAMETERS: &str = "@PARAMETERS@";
/// Where the services stand that generated permission sets may reach at most.
const SERVICES: &str = "@SERVICES@";
/// The parameter that says whose role reads the trail.
const READER: &str = "TrailAccountId";

/// The template of the management account, with the StackSet of the other one.
#[must_use]
pub fn management(types: &[&str]) -> String {
    let of_role = &discovery(types.iter().copied()).management;
    let template = filled(include_str!("templates/management.yaml"), ACTIONS, &items(of_role));
    let choices = choices();
    let parameters: String = choices.iter().map(parameter).collect();
    let template = filled(&template, CHOICES, &(parameters + &named_parameters()));
    let here = || choices.iter().filter(|choice| !choice.rights.is_empty());
    let conditions: String = here().map(condition).chain(NAMED.iter().map(is_named)).collect();
    let template = filled(&template, CONDITIONS, &conditions);
    let policies = here().map(policy).chain(NAMED.iter().map(|one| named(one, "ManagementRole")));
    let policies: Vec<String> = policies.collect();
    let template = filled(&template, POLICIES, &policies.join("\n"));
    let titles = in_members().into_iter().map(|one| one.title);
    let titles = titles.chain(NAMED.iter().map(|one| one.title)).chain([READER]);
    let handed_on: String = titles.map(handed_on).collect();
    let template = filled(&template, PARAMETERS, &handed_on);
    filled(&template, MEMBER, &member(types))
}

/// The choices that need something in member accounts.
fn in_members() -> Vec<Choice> {
    choices().into_iter().filter(|choice| !choice.member_rights.is_empty()).collect()
}

/// A parameter that the StackSet hands on.
fn handed_on(title: &str) -> String {
    format!("- ParameterKey: {title}\n  ParameterValue:\n    Ref: {title}\n")
}

/// The parameter of a choice.
fn parameter(choice: &Choice) -> String {
    let Choice { title, description, .. } = choice;
    format!(
        "{title}:\n  Type: String\n  Description: {description}\n  AllowedValues:\n    - Enabled\n    - Disabled\n  Default: Disabled\n"
    )
}

/// The parameters that name what belongs to a trail, and the account whose role reads it.
fn named_parameters() -> String {
    let arns = NAMED.iter().map(|one| {
        let Named { title, description, pattern, .. } = one;
        format!(
            "{title}:\n  Type: String\n  Description: {description}\n  AllowedPattern: ^(arn:[a-z-]+:{pattern})?$\n  Default: \"\"\n"
        )
    });
    let reader = format!(
        "{READER}:\n  Type: String\n  Description: The member account whose role reads the trail, such as the log archive; empty - the role of the management account does\n  AllowedPattern: ^([0-9]{{12}})?$\n  Default: \"\"\n"
    );
    arns.chain([reader]).collect()
}

/// What is named is read by the role of this template if that is the one which reads trails.
fn is_named(Named { title, .. }: &Named) -> String {
    format!(
        "Has{title}:\n  Fn::And:\n    - Condition: ReadsTrail\n    - Fn::Not:\n        - Fn::Equals:\n            - Ref: {title}\n            - \"\"\n"
    )
}

fn named(Named { title, rights, .. }: &Named, role: &str) -> String {
    policy_of(title, ("", "", role), &rights.iter().collect::<Vec<_>>())
}

fn has(title: &str) -> String {
    format!("Has{title}:\n  Fn::Equals:\n    - Ref: {title}\n    - Enabled\n")
}

fn condition(choice: &Choice) -> String {
    let title = choice.title;
    let mut condition = has(title);
    if choice.rights.iter().any(|right| right.to == To::ChangeManagementAccount) {
        let _ = writeln!(
            condition,
            "Has{title}InManagementAccount:\n  Fn::And:\n    - Condition: Has{title}\n    - Condition: HasManagementAccountAccess"
        );
    }
    condition
}

/// The policies that a choice adds to the role of the management account: what it always needs, and
/// what it needs to give access to that account.
fn policy(choice: &Choice) -> String {
    let is_for_all = |right: &&Right| right.to != To::ChangeManagementAccount;
    let (all, own): (Vec<_>, Vec<_>) = choice.rights.iter().partition(is_for_all);
    let mut policies = policy_of(choice.title, ("", "", "ManagementRole"), &all);
    if !own.is_empty() {
        let (name, file) = ("InManagementAccount", "-management-account");
        policies.push('\n');
        policies.push_str(&policy_of(choice.title, (name, file, "ManagementRole"), &own));
    }
    policies
}

fn policy_of(title: &str, (name, file, role): (&str, &str, &str), rights: &[&Right]) -> String {
    let template = include_str!("templates/mechanism.yaml")
        .replace("@TITLE@", title)
        .replace("@ROLE@", role)
        .replace("@NAME@", name)
        .replace("@FILE@", file);
    let statements = rights.iter().map(|right| statement(title, right)).collect::<String>();
    filled(&template, "@STATEMENTS@", &statements)
}

fn statement(title: &str, right: &Right) -> String {
    let (field, patterns): (_, &[&str]) = match &right.on {
        On::Everything => ("Resource", &[]),
        On::AllBut(patterns, _) => ("NotResource", patterns),
        On::Only(patterns) => ("Resource", patterns),
    };
    let on = if patterns.is_empty() {
        " \"*\"\n".to_owned()
    } else {
        let subs = patterns.iter().map(|pattern| format!("    - Fn::Sub: {pattern}\n"));
        format!("\n{}", subs.collect::<String>())
    };
    let actions = items(&actions(right)).replace("- ", "    - ");
    let mut when = String::new();
    if !right.when.is_empty() {
        when.push_str("  Condition:\n");
    }
    let mut tested = "";
    for condition in right.when {
        if tested != condition.test() {
            tested = condition.test();
            let _ = writeln!(when, "    {tested}:");
        }
        let _ = match condition.value {
            Some(value) if condition.is_like => {
                writeln!(when, "      {}:\n        Fn::Sub: {value}", condition.key)
            }
            Some(value) => writeln!(when, "      {}: \"{value}\"", condition.key),
            None => writeln!(when, "      {}:\n        Ref: AponoConnectorId", condition.key),
        };
    }
    let name = right.name;
    format!("- Sid: {title}{name}\n  Effect: Allow\n  Action:\n{actions}  {field}:{on}{when}")
}

/// The template of the member accounts.
#[must_use]
pub fn member(types: &[&str]) -> String {
    let of_role = &discovery(types.iter().copied()).member;
    let template = filled(include_str!("templates/member.yaml"), ACTIONS, &items(of_role));
    let chosen = in_members();
    let parameters: String = chosen.iter().map(parameter).collect();
    let template = filled(&template, CHOICES, &(parameters + &named_parameters()));
    let conditions = chosen.iter().map(|one| has(one.title)).chain(NAMED.iter().map(is_named));
    let template = filled(&template, CONDITIONS, &conditions.collect::<String>());
    let policies = chosen.iter().map(member_policy);
    let policies = policies.chain(NAMED.iter().map(|one| named(one, "MemberRole")));
    let policies: Vec<String> = policies.collect();
    let template = filled(&template, POLICIES, &policies.join("\n"));
    let services: Vec<String> = catalog::SERVICES.iter().map(|one| all_of(one)).collect();
    let template = filled(&template, SERVICES, &services.join("\n"));
    template.replace("@BOUNDARY@", BOUNDARY)
}

/// What generated permission sets may do at most with a service; of STS, assume roles.
fn all_of(service: &str) -> String {
    if service == "sts" { "- sts:AssumeRole".to_owned() } else { format!("- {service}:*") }
}

fn member_policy(choice: &Choice) -> String {
    let rights: Vec<&Right> = choice.member_rights.iter().collect();
    policy_of(choice.title, ("", "", "MemberRole"), &rights)
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
