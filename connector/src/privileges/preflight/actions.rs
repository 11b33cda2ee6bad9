//! Do the roles allow what the code declares? IAM itself is asked, so that boundaries
//! and service control policies count too.

use std::collections::BTreeSet;

use super::Preflight;
use crate::{
    access::mechanisms::{MECHANISMS, Mechanism, Right, To},
    audit,
    aws::{Access, ApiError, simulation::denied},
    model::{arn::RoleArn, integration::Settings, problem, validation::Step},
    privileges::{self, Stand},
};

impl Preflight<'_> {
    pub(super) async fn management_actions(&self, management: &Access) -> Step {
        let declared = privileges::discovery(self.types()).management;
        step("MANAGEMENT_ACTIONS", management, &declared).await
    }

    /// What the role may do about access. That it may only read is a choice.
    pub(super) async fn access_actions(&self, management: &Access) -> Step {
        const CODE: &str = "ACCESS_ACTIONS";
        let role = management.role();
        let mut ways = Vec::new();
        // The others need something in members alone.
        for mechanism in MECHANISMS.iter().filter(|one| !one.rights().is_empty()) {
            let side = |mechanism: &dyn Mechanism| {
                let rights = mechanism.rights().iter();
                rights.filter(|right| right.to != To::ChangeManagementAccount).collect()
            };
            match tried(management, self.connector.as_str(), *mechanism, side).await {
                Err(error) => return untried(CODE, role, &error),
                Ok(Tried::AllAllowed) => ways.push(mechanism.name()),
                Ok(Tried::NoChange) => {}
                Ok(Tried::Partly(denied)) => return partial(CODE, role, &denied),
            }
        }
        if let Some(step) = self.unwanted(role, &ways) {
            return step;
        }
        let finding = if ways.is_empty() {
            format!(
                "{role} gives no access by Identity Center: the stack's parameters for it are Disabled"
            )
        } else {
            format!("{role} can give access by {}", ways.join(", "))
        };
        Step::passed(CODE, finding)
    }

    /// Tells when the role gives access in another way than the integration wants, and not in that.
    fn unwanted(&self, role: &RoleArn, ways: &[&str]) -> Option<Step> {
        let inline = self.settings.inline_policies;
        let other = Settings { inline_policies: !inline, ..self.settings.clone() };
        let one_of = |of: &Settings, not: &Settings| {
            MECHANISMS.iter().find(|one| one.is_chosen(of) && !one.is_chosen(not))
        };
        let (wanted, unwanted) = (one_of(self.settings, &other)?, one_of(&other, self.settings)?);
        if ways.contains(&wanted.name()) || !ways.contains(&unwanted.name()) {
            return None;
        }
        let (wants, gives, parameter) = (wanted.name(), unwanted.name(), wanted.title());
        Some(Step::warning(
            "ACCESS_ACTIONS",
            format!(
                "{role} can give access by {gives}, but the integration wants {wants} (inline_policies is {inline})"
            ),
            format!("Set the stack's parameter {parameter} to Enabled, or change inline_policies."),
        ))
    }

    /// What a member role may do: discover, and what a mechanism needs there, all of it or nothing.
    pub(super) async fn member_actions(&self, member: &Access) -> Step {
        const CODE: &str = "MEMBER_ACTIONS";
        for mechanism in MECHANISMS {
            let side = |mechanism: &dyn Mechanism| mechanism.member_rights().iter().collect();
            match tried(member, self.connector.as_str(), *mechanism, side).await {
                Err(error) => return untried(CODE, member.role(), &error),
                Ok(Tried::AllAllowed | Tried::NoChange) => {}
                Ok(Tried::Partly(denied)) => return partial(CODE, member.role(), &denied),
            }
        }
        let declared = privileges::discovery(self.types()).member;
        step(CODE, member, &declared).await
    }

    /// Whether a role may read what was done with access; none: nobody wants to know.
    pub(super) async fn audit_actions(&self, code: &str, access: &Access) -> Option<Step> {
        if !self.settings.audit_enabled {
            return None;
        }
        let (role, title) = (access.role(), privileges::AUDIT.title);
        let declared = audit::IAM_ACTIONS.iter().copied().collect();
        Some(match denied(access, &declared, None, &[]).await {
            Ok(denied) if denied.is_empty() => {
                Step::passed(code, format!("{role} can read what was done with access"))
            }
            Ok(denied) => Step::warning(
                code,
                format!(
                    "{role} does not allow {}, so session audit is not read",
                    denied.join(", ")
                ),
                format!(
                    "Set the stack's parameter {title} to Enabled; if it is, look for a service control policy or a permissions boundary."
                ),
            ),
            Err(error) => untried(code, role, &error),
        })
    }

    fn types(&self) -> impl Iterator<Item = &str> {
        self.settings.resource_types.iter().map(String::as_str)
    }
}

async fn step(code: &str, access: &Access, declared: &BTreeSet<&'static str>) -> Step {
    let role = access.role();
    match denied(access, declared, None, &[]).await {
        Ok(denied) if denied.is_empty() => {
            Step::passed(code, format!("{role} allows all {} actions", declared.len()))
        }
        Ok(denied) => Step::warning(
            code,
            format!("{role} does not allow {}", denied.join(", ")),
            "Update the stack and its StackSet to the template of this version; if they are current, look for a service control policy or a permissions boundary.",
        ),
        Err(error) => untried(code, role, &error),
    }
}

fn untried(code: &str, role: &RoleArn, error: &ApiError) -> Step {
    let explained = problem::explain(error.reason.code, &error.reason.subject);
    let finding = format!("{role} cannot be tried: {} {}", explained.cause, error.reason.detail);
    Step::warning(code, finding, explained.remedy)
}

/// What came of trying the rights of a mechanism.
enum Tried {
    /// It can do all that it needs.
    AllAllowed,
    /// It can change nothing.
    NoChange,
    /// It can change something, and not do all that it needs.
    Partly(BTreeSet<String>),
}

/// The rights of a mechanism in the management account, or in member accounts.
type Side = fn(&dyn Mechanism) -> Vec<&'static Right>;

/// What is changed there by one mechanism alone; else all that it changes.
fn own_changes(mechanism: &dyn Mechanism, side: Side) -> BTreeSet<&'static str> {
    let changes = |one: &dyn Mechanism| -> BTreeSet<&'static str> {
        let rights = side(one).into_iter();
        rights.filter(|right| right.to == To::Change).flat_map(privileges::actions).collect()
    };
    let others = MECHANISMS.iter().filter(|one| one.name() != mechanism.name());
    let others: BTreeSet<_> = others.flat_map(|one| changes(*one)).collect();
    let all = changes(mechanism);
    let own: BTreeSet<_> = all.difference(&others).copied().collect();
    if own.is_empty() { all } else { own }
}

async fn tried(
    access: &Access,
    connector: &str,
    mechanism: &dyn Mechanism,
    side: Side,
) -> Result<Tried, ApiError> {
    let role = access.role();
    let stand = Stand { partition: role.partition(), account: role.account().as_str(), connector };
    let own = own_changes(mechanism, side);
    let (mut all_denied, mut may_change) = (BTreeSet::new(), false);
    for right in side(mechanism) {
        let declared = privileges::actions(right);
        let context = stand.context(right);
        let context: Vec<_> = context.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let samples = stand.samples(right);
        let samples: Vec<Option<String>> =
            if samples.is_empty() { vec![None] } else { samples.into_iter().map(Some).collect() };
        for sample in samples {
            let denied = denied(access, &declared, sample, &context).await?;
            let is_allowed = |action: &&&str| denied.iter().all(|denied| denied != *action);
            may_change |= right.to == To::Change
                && declared.iter().filter(is_allowed).any(|action| own.contains(action));
            all_denied.extend(denied);
        }
    }
    Ok(match (all_denied.is_empty(), may_change) {
        (true, _) => Tried::AllAllowed,
        (false, false) => Tried::NoChange,
        (false, true) => Tried::Partly(all_denied),
    })
}

fn partial(code: &str, role: &RoleArn, denied: &BTreeSet<String>) -> Step {
    let denied: Vec<&str> = denied.iter().map(String::as_str).collect();
    Step::warning(
        code,
        format!("{role} may change access, but does not allow {}", denied.join(", ")),
        "Update the stack and its StackSet to the template of this version; if they are current, look for a service control policy.",
    )
}
