//! How far an integration reaches: the roles of its accounts.

use crate::{
    aws::{
        Access, Aws,
        sessions::{Key, Kind, Session},
    },
    model::{
        arn::RoleArn,
        failure::Lane,
        ids::{AccountId, Region},
        integration::Settings,
    },
    store::integrations::Integration,
};

/// The reach of the role of an account (none: of the management role), in a region (none: in that of the
/// integration's calls).
#[must_use]
pub fn access(
    aws: &Aws,
    integration: &Integration,
    account: Option<&AccountId>,
    region: Option<&Region>,
    lane: Lane,
) -> Access {
    let account = account.unwrap_or(&integration.management_account);
    let region = region.unwrap_or(&integration.settings.region);
    by(aws, integration, integration.role_in(account), region, lane)
}

/// The reach of the role that reads the organization trail of an integration, in the region of its bucket.
#[must_use]
pub fn trail(aws: &Aws, integration: &Integration, lane: Lane) -> Access {
    let Settings { trail, region, management_role_arn, .. } = &integration.settings;
    let region = trail.as_ref().map_or(region, |trail| &trail.region);
    let role = trail.as_ref().and_then(|trail| trail.role_arn.as_ref());
    by(aws, integration, role.unwrap_or(management_role_arn).clone(), region, lane)
}

fn by(aws: &Aws, integration: &Integration, role: RoleArn, region: &Region, lane: Lane) -> Access {
    let is_management = *role.account() == integration.management_account;
    let kind = if is_management { Kind::Management } else { Kind::Member };
    let key = Key {
        connector: integration.connector.clone(),
        integration: integration.settings.name.clone(),
        role,
        region: integration.settings.region.clone(),
    };
    Access::new(Session::new(aws, key, kind, lane), region.clone())
}
