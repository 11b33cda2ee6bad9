//! Do the roles allow what the code declares? IAM itself is asked, so that boundaries
//! and service control policies count too.

use std::collections::BTreeSet;

use super::Preflight;
use crate::{
    access::mechanisms::{MECHANISMS, To},
    aws::{Access, ApiError},
    model::{arn::RoleArn, problem, validation::Step},
    privileges,
};

/// The IAM action.
pub(super) const SIMULATE: &str = "iam:SimulatePrincipalPolicy";
/// Pages of an answer at most: each names tens of actions.
const PAGES_MAX: usize = 20;

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
        for mechanism in MECHANISMS {
            let changing = privileges::actions_to(*mechanism, To::Change);
            let looking = privileges::actions_to(*mechanism, To::Look);
            let declared: BTreeSet<&str> = looking.union(&changing).copied().collect();
            let denied = match denied(management, &declared).await {
                Ok(denied) => denied,
                Err(error) => return untried(CODE, role, &error),
            };
            if denied.is_empty() {
                ways.push(mechanism.name());
            } else if changing.iter().any(|action| denied.iter().all(|denied| denied != action)) {
                return Step::warning(
                    CODE,
                    format!("{role} may change access, but does not allow {}", denied.join(", ")),
                    "Update the stack to the template of this version; if it is current, look for a service control policy.",
                );
            }
        }
        let finding = if ways.is_empty() {
            format!("{role} can give no access: the stack's parameters for it are Disabled")
        } else {
            format!("{role} can give access by {}", ways.join(", "))
        };
        Step::passed(CODE, finding)
    }

    pub(super) async fn member_actions(&self, member: &Access) -> Step {
        let declared = privileges::discovery(self.types()).member;
        step("MEMBER_ACTIONS", member, &declared).await
    }

    fn types(&self) -> impl Iterator<Item = &str> {
        self.settings.resource_types.iter().map(String::as_str)
    }
}

async fn step(code: &str, access: &Access, declared: &BTreeSet<&'static str>) -> Step {
    let role = access.role();
    match denied(access, declared).await {
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

async fn denied(
    access: &Access,
    declared: &BTreeSet<&'static str>,
) -> Result<Vec<String>, ApiError> {
    let mut denied = Vec::new();
    let mut marker = None;
    for _ in 0..PAGES_MAX {
        let answer = access
            .iam()
            .simulate_principal_policy()
            .policy_source_arn(access.role().to_string())
            .set_action_names(Some(declared.iter().map(|action| (*action).to_owned()).collect()))
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| ApiError::of(SIMULATE, &error))?;
        let results = answer.evaluation_results();
        denied.extend(
            results
                .iter()
                .filter(|result| result.eval_decision().as_str() != "allowed")
                .map(|result| result.eval_action_name().to_owned()),
        );
        if !answer.is_truncated() {
            return Ok(denied);
        }
        marker = answer.marker().map(str::to_owned);
    }
    Err(ApiError::answered(SIMULATE, "", "the list does not come to an end", 200))
}
