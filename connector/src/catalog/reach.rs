//! How far an integration reaches: the roles of its accounts.

use crate::{
    aws::{
        Access, Aws,
        sessions::{Key, Kind, Session},
    },
    model::{
        failure::Lane,
        ids::{AccountId, Region},
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
    let settings = &integration.settings;
    let account = account.unwrap_or(&integration.management_account);
    let is_management = *account == integration.management_account;
    let kind = if is_management { Kind::Management } else { Kind::Member };
    let key = Key {
        connector: integration.connector.clone(),
        integration: settings.name.clone(),
        role: integration.role_in(account),
        region: settings.region.clone(),
    };
    let region = region.unwrap_or(&settings.region).clone();
    Access::new(Session::new(aws, key, kind, lane), region)
}
