//! Tries settings in AWS, step by step, before anybody relies on them.
//!
//! A step that fails keeps those that build on it from being tried; every step has a
//! stable code, a finding in plain words, and a remedy unless it passed.

use crate::{
    aws::{
        Access, ApiError, Aws,
        identity::{self, Identity},
        sessions::{Key, Kind, Session, is_assumable},
    },
    base::{chain::Chain, chance},
    catalog,
    model::{
        failure::{Lane, ReasonCode},
        ids::{AccountId, ConnectorId, OrganizationId, OuId},
        integration::Settings,
        organization::{Coverage, Walk},
        problem,
        validation::Step,
    },
};

const LIST_INSTANCES: &str = "sso:ListInstances";

/// Every IAM action that this file calls.
pub const IAM_ACTIONS: &[&str] = &[LIST_INSTANCES];

/// What was found.
#[derive(Debug)]
pub struct Findings {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What to pin, where it was found.
    pub pins: Option<(AccountId, OrganizationId)>,
}

/// Tries all steps.
pub async fn run(aws: &Aws, connector: &ConnectorId, settings: &Settings) -> Findings {
    let mut steps = Vec::new();
    let pins = Preflight { aws, connector, settings }.run(&mut steps).await;
    Findings { steps, pins }
}

struct Preflight<'a> {
    aws: &'a Aws,
    connector: &'a ConnectorId,
    settings: &'a Settings,
}

impl Preflight<'_> {
    async fn run(&self, steps: &mut Vec<Step>) -> Option<(AccountId, OrganizationId)> {
        let (step, identity) = self.own_identity().await;
        steps.push(step);
        let identity = identity?;
        let access = self.management_access();
        let step = self.management_role(&access, &identity).await;
        let assumed = step.remedy.is_empty();
        steps.push(step);
        if !assumed {
            return None;
        }
        steps.push(self.external_id("EXTERNAL_ID_REQUIRED", None).await);
        let wrong = chance::uuid().to_string();
        steps.push(self.external_id("EXTERNAL_ID_CHECKED", Some(&wrong)).await);
        let (step, pins) = self.organization(&access).await;
        steps.push(step);
        let pins = pins?;
        self.tree(&access, steps).await;
        steps.push(self.identity_center(&access).await);
        Some(pins)
    }

    async fn own_identity(&self) -> (Step, Option<Identity>) {
        const CODE: &str = "OWN_IDENTITY";
        match identity::own(self.aws, &self.settings.region).await {
            Ok(identity) => {
                (Step::passed(CODE, format!("we are {}", identity.arn)), Some(identity))
            }
            Err(error) => {
                let explained = problem::explain(ReasonCode::OwnIdentityUnavailable, "");
                (Step::failed(CODE, Chain(&error).to_string(), explained.remedy), None)
            }
        }
    }

    fn management_access(&self) -> Access {
        let key = Key {
            connector: self.connector.clone(),
            integration: self.settings.name.clone(),
            role: self.settings.management_role_arn.clone(),
            region: self.settings.region.clone(),
        };
        let session = Session::new(self.aws, key, Kind::Management, Lane::Interactive);
        Access::new(session, self.settings.region.clone())
    }

    async fn management_role(&self, access: &Access, identity: &Identity) -> Step {
        const CODE: &str = "MANAGEMENT_ROLE";
        let role = &self.settings.management_role_arn;
        // What was cached may be from before somebody changed the trust policy.
        access.renew().await;
        match access.open().await {
            Ok(()) => Step::passed(CODE, format!("{role} can be assumed")),
            Err(error) => {
                let reason = error.meaning().reason;
                let explained = problem::explain(reason.code, &reason.subject);
                let ours = identity.role_arn().unwrap_or_else(|| identity.arn.clone());
                let mut remedy = explained.remedy;
                if reason.code == ReasonCode::ManagementRoleDenied {
                    remedy = format!(
                        "{remedy} AponoConnectorId is {}, ConnectorRoleArn is {ours}.",
                        self.connector
                    );
                }
                Step::failed(CODE, format!("{} {}", explained.cause, reason.detail), remedy)
            }
        }
    }

    /// The role must refuse us without our external id, and with somebody else's.
    async fn external_id(&self, code: &str, external_id: Option<&str>) -> Step {
        let role = &self.settings.management_role_arn;
        let how = if external_id.is_some() {
            "with a wrong external id"
        } else {
            "without an external id"
        };
        match is_assumable(self.aws, role, &self.settings.region, external_id).await {
            Ok(false) => Step::passed(code, format!("{role} cannot be assumed {how}")),
            Ok(true) => Step::failed(
                code,
                format!(
                    "{role} can be assumed {how}: whoever learns its ARN could have it used for them"
                ),
                format!(
                    "Deploy the stack again, or add the condition StringEquals sts:ExternalId = {} to the role's trust policy.",
                    self.connector
                ),
            ),
            Err(error) => unanswered(code, &error),
        }
    }

    async fn organization(&self, access: &Access) -> (Step, Option<(AccountId, OrganizationId)>) {
        const CODE: &str = "ORGANIZATION";
        match catalog::organization::identify(access).await {
            Ok((organization, account)) if account == *access.account() => (
                Step::passed(CODE, format!("{organization}, managed by account {account}")),
                Some((account, organization)),
            ),
            Ok((organization, account)) => (
                Step::failed(
                    CODE,
                    format!(
                        "{} belongs to account {}, but {organization} is managed by account {account}",
                        self.settings.management_role_arn,
                        access.account()
                    ),
                    format!(
                        "Deploy the stack in account {account} and use its output ManagementAccountRoleArnOutput."
                    ),
                ),
                None,
            ),
            Err(error) => (unanswered(CODE, &error), None),
        }
    }

    /// Walks the organization: is everything there that the settings name?
    async fn tree(&self, access: &Access, steps: &mut Vec<Step>) {
        let walk = match catalog::organization::walk(access).await {
            Ok(walk) => walk,
            Err(error) => {
                steps.push(unanswered("ORGANIZATION_TREE", &error));
                return;
            }
        };
        let there = |id: &OuId| walk.units().iter().any(|unit| &unit.id == id);
        let absent = walk.absent(&self.settings.excluded_ou_ids);
        steps.push(if !there(&self.settings.root_or_ou_id) {
            Step::failed(
                "ORGANIZATION_TREE",
                format!("root_or_ou_id {} is not in this organization", self.settings.root_or_ou_id),
                format!("Use one of: {}.", some_units(&walk)),
            )
        } else if let Some(first) = absent.first() {
            Step::failed(
                "ORGANIZATION_TREE",
                format!("the excluded unit {first} is not in this organization, so nothing would be excluded by it"),
                format!("Correct or remove it. Units are: {}.", some_units(&walk)),
            )
        } else {
            let crawled = walk
                .accounts()
                .iter()
                .filter(|account| Coverage::of(account, self.settings) == Coverage::Crawled)
                .count();
            Step::passed(
                "ORGANIZATION_TREE",
                format!(
                    "{} accounts in {} units; {crawled} accounts will be read",
                    walk.accounts().len(),
                    walk.units().len()
                ),
            )
        });
    }

    async fn identity_center(&self, access: &Access) -> Step {
        const CODE: &str = "IDENTITY_CENTER";
        let Some(region) = &self.settings.sso_region else {
            return Step::skipped(CODE, "sso_region is not set");
        };
        let there = access.in_region(region.clone());
        match there.sso_admin().list_instances().send().await {
            Ok(answer) => match answer.instances().first().and_then(|i| i.instance_arn()) {
                Some(arn) => Step::passed(CODE, format!("{arn} in {region}")),
                None => Step::warning(
                    CODE,
                    format!("there is no Identity Center instance in {region}"),
                    "Set sso_region to the region that the Identity Center console shows, or leave it empty.",
                ),
            },
            Err(error) => {
                let error = ApiError::of(LIST_INSTANCES, &error);
                let explained = problem::explain(error.reason.code, &error.reason.subject);
                Step::warning(CODE, error.reason.to_string(), explained.remedy)
            }
        }
    }
}

fn unanswered(code: &str, error: &ApiError) -> Step {
    let explained = problem::explain(error.reason.code, &error.reason.subject);
    Step::failed(code, format!("{} {}", explained.cause, error.reason.detail), explained.remedy)
}

/// Enough units to recognize the right one.
fn some_units(walk: &Walk) -> String {
    let units: Vec<String> =
        walk.units().iter().take(20).map(|unit| format!("{} ({})", unit.id, unit.name)).collect();
    units.join(", ")
}
