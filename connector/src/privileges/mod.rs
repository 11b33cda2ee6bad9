//! Floor 5: what the connector may do in AWS, and whether it can.
//!
//! Policies are never written by hand: they are the union of the actions that the
//! code declares where it calls them.

use std::collections::BTreeSet;

use crate::{
    access::mechanisms::{self, LOOKUP_IAM_ACTIONS, MECHANISMS, Mechanism, Right, To},
    audit,
    catalog::{self, COLLECTORS},
    model::{arn::Partition, scope::Reach},
};

use self::policy::{Condition, On, Statement};

pub mod policy;
pub mod preflight;
pub mod templates;
pub mod trail;

/// The actions of the two roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions {
    /// Of the role in the management account. That account is read with it too, so it
    /// needs all that a member role needs.
    pub management: BTreeSet<&'static str>,
    /// Of the role in every member account.
    pub member: BTreeSet<&'static str>,
}

/// The actions that discovering these resource types needs.
#[must_use]
pub fn discovery<'a>(types: impl IntoIterator<Item = &'a str>) -> Actions {
    let types: BTreeSet<&str> = types.into_iter().collect();
    let of = |reaches: &[Reach]| {
        COLLECTORS
            .iter()
            .filter(|collector| reaches.contains(&collector.reach()))
            .filter(|collector| collector.types().iter().any(|kind| types.contains(kind.id)))
            .flat_map(|collector| collector.iam_actions().iter().copied())
            .collect::<BTreeSet<_>>()
    };
    let mut member = of(&[Reach::Account, Reach::Region]);
    member.extend(catalog::regions::IAM_ACTIONS);
    member.extend(preflight::MEMBER_IAM_ACTIONS);
    let mut management = of(&[Reach::Organization]);
    management.extend(&member);
    management.extend(catalog::organization::IAM_ACTIONS);
    management.extend(preflight::MANAGEMENT_IAM_ACTIONS);
    Actions { management, member }
}

/// What whoever deploys the template chooses, by a parameter: a way of giving access, or session audit.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Stable name.
    pub name: &'static str,
    /// Its name in the template: of the parameter, and of its policy.
    pub title: &'static str,
    /// What it is for, in a sentence.
    pub description: &'static str,
    /// What it takes in the management account.
    pub rights: &'static [Right],
    /// What it takes in a member account.
    pub member_rights: &'static [Right],
}

impl Choice {
    fn giving(mechanism: &dyn Mechanism) -> Self {
        Self {
            name: mechanism.name(),
            title: mechanism.title(),
            description: mechanism.description(),
            rights: mechanism.rights(),
            member_rights: mechanism.member_rights(),
        }
    }
}

const AUDIT_RIGHTS: &[Right] = &[Right {
    name: "Read",
    actions: audit::IAM_ACTIONS,
    on: mechanisms::On::Everything,
    when: &[],
    to: To::Look,
}];

/// Session audit.
const AUDIT: Choice = Choice {
    name: "aws-session-audit",
    title: "SessionAudit",
    description: "Read what was done with the access that was given",
    rights: AUDIT_RIGHTS,
    member_rights: AUDIT_RIGHTS,
};

/// All choices.
#[must_use]
pub fn choices() -> Vec<Choice> {
    MECHANISMS.iter().map(|one| Choice::giving(*one)).chain([AUDIT]).collect()
}

/// Where a role is to give access, for whom.
#[derive(Clone, Copy, Debug)]
pub struct Stand<'a> {
    /// Partition.
    pub partition: Partition,
    /// The account; `*`: any member account.
    pub account: &'a str,
    /// Id of the connector.
    pub connector: &'a str,
}

impl Stand<'_> {
    fn named(&self, pattern: &str) -> String {
        pattern
            .replace("${AWS::Partition}", self.partition.as_str())
            .replace("${AWS::AccountId}", self.account)
    }

    /// ARNs on which a right is to be tried; none: on whatever there is.
    fn samples(&self, right: &Right) -> Vec<String> {
        match right.on {
            mechanisms::On::Everything => Vec::new(),
            mechanisms::On::AllBut(_, one) => vec![self.named(one)],
            mechanisms::On::Only(patterns) => {
                patterns.iter().map(|one| self.named(one).replace('*', "any")).collect()
            }
        }
    }

    /// The conditions of a right.
    fn conditions(&self, right: &Right) -> Vec<Condition> {
        let written = right.when.iter().map(|when| Condition {
            test: when.test(),
            key: when.key,
            value: self.named(when.value.unwrap_or(self.connector)),
        });
        written.collect()
    }

    /// The condition keys of a call with which a right is to be tried, with their values.
    fn context(&self, right: &Right) -> Vec<(&'static str, String)> {
        let met = |one: Condition| (one.key, one.value.replace('*', "any"));
        self.conditions(right).into_iter().map(met).collect()
    }

    fn statement(&self, title: &str, right: &Right) -> Statement {
        let named = |patterns: &[&str]| patterns.iter().map(|one| self.named(one)).collect();
        Statement {
            sid: format!("{title}{}", right.name),
            actions: actions(right),
            on: match right.on {
                mechanisms::On::Everything => On::Everything,
                mechanisms::On::AllBut(patterns, _) => On::AllBut(named(patterns)),
                mechanisms::On::Only(patterns) => On::Only(named(patterns)),
            },
            when: self.conditions(right),
        }
    }
}

/// The statements that a choice adds to the role of the management account. Access to that account
/// could change the role itself, so it is spared unless that is wanted.
#[must_use]
pub fn in_management(choice: &Choice, stand: Stand<'_>, is_spared: bool) -> Vec<Statement> {
    let rights = choice.rights.iter();
    let meant = rights.filter(|right| !(is_spared && right.to == To::ChangeManagementAccount));
    meant.map(|right| stand.statement(choice.title, right)).collect()
}

/// The statements that a choice adds to the role of member accounts.
#[must_use]
pub fn in_members(choice: &Choice, stand: Stand<'_>) -> Vec<Statement> {
    choice.member_rights.iter().map(|right| stand.statement(choice.title, right)).collect()
}

/// The actions of a right; who looks in Identity Center, looks recipients up, too.
fn actions(right: &Right) -> BTreeSet<&'static str> {
    let mut actions: BTreeSet<_> = right.actions.iter().copied().collect();
    let is_there = actions.iter().any(|action| action.starts_with("sso:"));
    if is_there && right.to == To::Look && matches!(right.on, mechanisms::On::Everything) {
        actions.extend(LOOKUP_IAM_ACTIONS);
    }
    actions
}
