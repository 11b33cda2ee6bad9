//! Tries settings in AWS, step by step, before anybody relies on them.
//!
//! A step that fails keeps those that build on it from being tried; every step has a
//! stable code, a finding in plain words, and a remedy unless it passed. Only what makes
//! the settings unusable fails; the rest warns.

use crate::{
    aws::{
        Access, ApiError, Aws,
        identity::{self, Identity},
        sessions::{Key, Kind, Session, is_assumable},
        simulation::SIMULATE,
    },
    base::chance,
    catalog::{self, identity_center::LIST_INSTANCES},
    model::{
        arn::RoleArn,
        failure::{Lane, ReasonCode},
        ids::{AccountId, ConnectorId, OrganizationId, OuId, Region},
        integration::Settings,
        organization::{Account, Coverage, Walk},
        problem,
        scope::Reach,
        validation::Step,
    },
};

mod actions;
mod identity_center;
mod members;
mod trail;

/// Every IAM action that is called with the management role.
pub const MANAGEMENT_IAM_ACTIONS: &[&str] = &[SIMULATE, LIST_INSTANCES];
/// Every IAM action that is called with a member role.
pub const MEMBER_IAM_ACTIONS: &[&str] = &[SIMULATE];

/// The code of the first step.
const OWN_IDENTITY: &str = "OWN_IDENTITY";

/// Takes each step as soon as it has ended.
pub type Report<'a> = &'a mut (dyn FnMut(Step) + Send);

/// What to pin, where it was found.
pub type Pins = Option<(AccountId, OrganizationId)>;

/// Asks who we are: the step on which all others build.
pub async fn own_identity(aws: &Aws, region: &Region) -> (Step, Option<Identity>) {
    match identity::own(aws, region).await {
        Ok(identity) => {
            let (arn, provider) = (&identity.arn, identity.provider);
            let finding = match identity.role_arn() {
                Some(role) => format!("we are {arn}, by {provider}; ConnectorRoleArn is {role}"),
                None => format!("we are {arn}, by {provider}"),
            };
            (Step::passed(OWN_IDENTITY, finding), Some(identity))
        }
        Err(error) => (unanswered(OWN_IDENTITY, &error), None),
    }
}

/// Tries the settings of an integration, as the identity that we are.
pub async fn run(
    aws: &Aws,
    connector: &ConnectorId,
    settings: &Settings,
    identity: &Identity,
    report: Report<'_>,
) -> Pins {
    Preflight { aws, connector, settings, identity }.run(report).await
}

struct Preflight<'a> {
    aws: &'a Aws,
    connector: &'a ConnectorId,
    settings: &'a Settings,
    identity: &'a Identity,
}

impl Preflight<'_> {
    async fn run(&self, report: Report<'_>) -> Pins {
        let management = self.access(self.settings.management_role_arn.clone(), Kind::Management);
        let step = self.management_role(&management).await;
        let assumed = step.remedy.is_empty();
        report(step);
        if !assumed {
            return None;
        }
        let role = &self.settings.management_role_arn;
        report(self.external_id("EXTERNAL_ID", role).await);
        let (step, pins) = self.organization(&management).await;
        report(step);
        let pins = pins?;
        let (step, crawled) = self.tree(&management).await;
        report(step);
        report(self.identity_center(&management).await);
        report(self.management_actions(&management).await);
        if let Some(step) = self.audit_actions("AUDIT", &management).await {
            report(step);
        }
        if self.settings.audit_enabled {
            self.trail(&pins, &crawled, report).await;
        }
        if self.settings.sso_region.is_some() {
            report(self.access_actions(&management).await);
        }
        if !crawled.is_empty() {
            self.members(&pins.0, &crawled, report).await;
            report(self.calls(&management, &crawled).await);
        }
        Some(pins)
    }

    fn access(&self, role: RoleArn, kind: Kind) -> Access {
        let key = Key {
            connector: self.connector.clone(),
            integration: self.settings.name.clone(),
            role,
            region: self.settings.region.clone(),
        };
        let session = Session::new(self.aws, key, kind, Lane::Interactive);
        Access::new(session, self.settings.region.clone())
    }

    async fn management_role(&self, access: &Access) -> Step {
        const CODE: &str = "MANAGEMENT_ROLE";
        let role = &self.settings.management_role_arn;
        // What was cached may be from before somebody changed the trust policy.
        access.renew().await;
        match access.open().await {
            Ok(()) => Step::passed(CODE, format!("{role} can be assumed")),
            Err(error) => {
                let reason = error.meaning().reason;
                let explained = problem::explain(reason.code, &reason.subject);
                let ours = self.identity.role_arn().unwrap_or_else(|| self.identity.arn.clone());
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

    /// A role must refuse us without our external id, and with somebody else's.
    async fn external_id(&self, code: &str, role: &RoleArn) -> Step {
        let wrong = chance::uuid().to_string();
        for (how, given) in
            [("without an external id", None), ("with a wrong external id", Some(wrong.as_str()))]
        {
            match is_assumable(self.aws, role, &self.settings.region, given).await {
                Ok(false) => {}
                Ok(true) => {
                    return Step::failed(
                        code,
                        format!(
                            "{role} can be assumed {how}: whoever learns its ARN could have it used for them"
                        ),
                        format!(
                            "Deploy the stack again, or add the condition StringEquals sts:ExternalId = {} to the role's trust policy.",
                            self.connector
                        ),
                    );
                }
                Err(error) => return unanswered(code, &error),
            }
        }
        Step::passed(code, format!("{role} refuses us without, and with a wrong external id"))
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

    /// Walks the organization: is everything there that the settings name? Also tells
    /// which accounts will be read.
    async fn tree(&self, access: &Access) -> (Step, Vec<AccountId>) {
        const CODE: &str = "ORGANIZATION_TREE";
        let walk = match catalog::organization::walk(access).await {
            Ok(walk) => walk,
            Err(error) => return (unanswered(CODE, &error), Vec::new()),
        };
        let there = |id: &OuId| walk.units().iter().any(|unit| &unit.id == id);
        let root = &self.settings.root_or_ou_id;
        if !there(root) {
            let step = Step::failed(
                CODE,
                format!("root_or_ou_id {root} is not in this organization"),
                format!("Use one of: {}.", some_units(&walk)),
            );
            return (step, Vec::new());
        }
        if let Some(first) = walk.absent(&self.settings.excluded_ou_ids).first() {
            let step = Step::failed(
                CODE,
                format!(
                    "the excluded unit {first} is not in this organization, so nothing would be excluded by it"
                ),
                format!("Correct or remove it. Units are: {}.", some_units(&walk)),
            );
            return (step, Vec::new());
        }
        let is_read =
            |account: &&Account| Coverage::of(account, self.settings) == Coverage::Crawled;
        let mut crawled: Vec<AccountId> =
            walk.accounts().iter().filter(is_read).map(|account| account.id.clone()).collect();
        crawled.sort_unstable();
        let finding = format!(
            "{} accounts in {} units; {} accounts will be read",
            walk.accounts().len(),
            walk.units().len(),
            crawled.len()
        );
        let step = if crawled.is_empty() {
            let remedy =
                "Choose a root_or_ou_id that has active accounts below it, or exclude fewer units.";
            Step::warning(CODE, finding, remedy)
        } else {
            Step::passed(CODE, finding)
        };
        (step, crawled)
    }

    /// How much we ask of AWS.
    async fn calls(&self, management: &Access, crawled: &[AccountId]) -> Step {
        const CODE: &str = "CALLS_PER_SYNC";
        let regions = if self.settings.regions.is_empty() {
            match catalog::regions::enabled(management).await {
                Ok(regions) => regions.len(),
                Err(error) => return Step::skipped(CODE, error.reason.to_string()),
            }
        } else {
            self.settings.regions.len()
        };
        let chosen = |reach| catalog::chosen(self.settings, reach).count();
        // One to assume the role and one to list regions.
        let each = 2 + chosen(Reach::Account) + regions * chosen(Reach::Region);
        let finding = format!(
            "at least {} calls every {}: {} accounts, {regions} regions; and one for each further page",
            crawled.len() * each,
            humantime::format_duration(self.settings.sync_interval),
            crawled.len(),
        );
        Step::passed(CODE, finding)
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
