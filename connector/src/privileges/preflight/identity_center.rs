//! Is Identity Center where the settings say, and is the portal its own?

use url::Url;

use super::Preflight;
use crate::{
    aws::{Access, ApiError},
    catalog::{
        self,
        identity_center::{Instance, instance},
    },
    model::{ids::Region, problem, validation::Step},
};

const CODE: &str = "IDENTITY_CENTER";

impl Preflight<'_> {
    pub(super) async fn identity_center(&self, access: &Access) -> Step {
        let Some(region) = &self.settings.sso_region else {
            return Step::skipped(CODE, "sso_region is not set");
        };
        match instance(access, region).await {
            Ok(Some(instance)) => self.portal(&instance, region),
            Ok(None) => elsewhere(access, region).await,
            Err(error) => unanswered(&error),
        }
    }

    /// A portal with a name of its own tells nothing about its instance; the others do.
    fn portal(&self, instance: &Instance, region: &Region) -> Step {
        let found = format!("{} in {region}", instance.arn);
        let Some(portal) = &self.settings.sso_portal_url else {
            return Step::passed(CODE, format!("{found}; no sso_portal_url, so no sign-in links"));
        };
        let Some((id, expected)) = named_instance(portal, instance) else {
            return Step::passed(CODE, format!("{found}; {portal} has a name of its own"));
        };
        if id == expected {
            return Step::passed(CODE, format!("{found}; {portal} is its portal"));
        }
        Step::warning(
            "PORTAL_URL",
            format!(
                "sso_portal_url {portal} is the portal of {id}, but this instance is {expected}"
            ),
            format!(
                "Set sso_portal_url to the AWS access portal URL that the Identity Center console in {region} shows."
            ),
        )
    }
}

/// Looks where it is instead: in one region at most.
async fn elsewhere(access: &Access, region: &Region) -> Step {
    let finding = format!("there is no Identity Center instance in {region}");
    let regions = match catalog::regions::enabled(access).await {
        Ok(regions) => regions,
        Err(error) => return unanswered(&error),
    };
    for other in regions.iter().filter(|other| *other != region) {
        if let Ok(Some(instance)) = instance(access, other).await {
            return Step::warning(
                CODE,
                format!("{finding}; {} is in {other}", instance.arn),
                format!("Set sso_region to {other}."),
            );
        }
    }
    Step::warning(
        CODE,
        format!("{finding}, nor in any other enabled region"),
        "Enable IAM Identity Center for the organization, or leave sso_region empty.",
    )
}

fn unanswered(error: &ApiError) -> Step {
    let explained = problem::explain(error.reason.code, &error.reason.subject);
    Step::warning(CODE, error.reason.to_string(), explained.remedy)
}

/// What a portal's host names, and what it should name: `d-…` of the identity store, or
/// `ssoins-…` of the instance.
fn named_instance<'a>(portal: &'a Url, instance: &'a Instance) -> Option<(&'a str, &'a str)> {
    let first = portal.host_str()?.split('.').next()?;
    if first.starts_with("d-") {
        return Some((first, &instance.identity_store));
    }
    first.starts_with("ssoins-").then_some((first, instance.arn.rsplit('/').next()?))
}
