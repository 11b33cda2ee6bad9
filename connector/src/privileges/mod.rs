//! Floor 5: what the connector may do in AWS, and whether it can.
//!
//! Policies are never written by hand: they are the union of the actions that the
//! code declares where it calls them.

use std::collections::BTreeSet;

use crate::{
    access::mechanisms::{LOOKUP_IAM_ACTIONS, Mechanism},
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
    let account = partition.arn("sso", "", "", &format!("account/{management}"));
    let title = mechanism.title();
    let statement = |name: &str, actions: &[&'static str], on: On| Statement {
        sid: format!("{title}{name}"),
        actions: actions.iter().copied().collect(),
        on,
    };
    let look =
        Statement { sid: format!("{title}Look"), actions: looking(mechanism), on: On::Everything };
    if is_spared {
        return vec![look, statement("Change", mechanism.changing(), On::AllBut(account))];
    }
    let iam = |rest: &str| partition.arn("iam", "", management.as_str(), rest);
    let reserved =
        vec![iam("role/aws-reserved/sso.amazonaws.com/*"), iam("saml-provider/AWSSSO_*")];
    vec![
        look,
        statement("Change", mechanism.changing(), On::Everything),
        statement(
            "ManagementAccountRoles",
            mechanism.changing_in_management_account(),
            On::Only(reserved),
        ),
    ]
}

/// The actions with which a mechanism looks, and recipients are looked up.
fn looking(mechanism: &dyn Mechanism) -> BTreeSet<&'static str> {
    mechanism.looking().iter().chain(LOOKUP_IAM_ACTIONS).copied().collect()
}
