//! Floor 5: what the connector may do in AWS, and whether it can.
//!
//! Policies are never written by hand: they are the union of the actions that the
//! code declares where it calls them.

use std::collections::BTreeSet;

use crate::{
    access::mechanisms::{self, LOOKUP_IAM_ACTIONS, Mechanism, Right, To},
    catalog::{self, COLLECTORS},
    model::{arn::Partition, ids::AccountId, scope::Reach},
};

use self::policy::{On, Statement};

pub mod policy;
pub mod preflight;
pub mod templates;

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

/// The statements that a mechanism adds to the role of the management account. Access to that account
/// could change the role itself, so it is spared unless that is wanted.
#[must_use]
pub fn giving(
    mechanism: &dyn Mechanism,
    partition: Partition,
    management: &AccountId,
    is_spared: bool,
) -> Vec<Statement> {
    let arn = |pattern: &str| {
        pattern
            .replace("${AWS::Partition}", partition.as_str())
            .replace("${AWS::AccountId}", management.as_str())
    };
    let rights = mechanism.rights().iter();
    let meant = rights.filter(|right| !(is_spared && right.to == To::ChangeManagementAccount));
    let statement = |right: &Right| Statement {
        sid: format!("{}{}", mechanism.title(), right.name),
        actions: actions(right),
        on: match right.on {
            mechanisms::On::Everything => On::Everything,
            mechanisms::On::AllBut(pattern) => On::AllBut(arn(pattern)),
            mechanisms::On::Only(patterns) => {
                On::Only(patterns.iter().map(|pattern| arn(pattern)).collect())
            }
        },
    };
    meant.map(statement).collect()
}

/// The actions of a right; who looks, looks recipients up, too.
fn actions(right: &Right) -> BTreeSet<&'static str> {
    let mut actions: BTreeSet<_> = right.actions.iter().copied().collect();
    if right.to == To::Look {
        actions.extend(LOOKUP_IAM_ACTIONS);
    }
    actions
}

/// The actions of a mechanism's rights to do something.
fn actions_to(mechanism: &dyn Mechanism, to: To) -> BTreeSet<&'static str> {
    mechanism.rights().iter().filter(|right| right.to == to).flat_map(actions).collect()
}
