//! The settings of a request: checked, compared, merged with those before.

use apono_connector_proto::v1;
use tonic::Status;

use super::{status, words};
use crate::{
    catalog,
    model::{form, integration::Settings},
};

/// Checks a form; all bad fields are named, as the request names them.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with every field that cannot be used, and why.
pub fn parse(settings: Option<v1::IntegrationSettings>) -> Result<Settings, Status> {
    let settings = settings.ok_or_else(|| status::bad_request("settings", "is required"))?;
    form::parse(words::draft(settings), &catalog::type_ids()).map_err(|violations| {
        status::bad_fields(
            violations
                .into_iter()
                .map(|v| form::Violation { field: format!("settings.{}", v.field), ..v })
                .collect(),
        )
    })
}

/// Whether only AWS knows if a change is good.
pub(super) fn asks_aws(before: &Settings, after: &Settings) -> bool {
    let asked = |s: &Settings| {
        (
            s.management_role_arn.clone(),
            s.region.clone(),
            s.sso_region.clone(),
            s.root_or_ou_id.clone(),
            s.excluded_ou_ids.clone(),
            s.trail.clone(),
        )
    };
    asked(before) != asked(after)
}

/// The settings before, with the masked fields of an update.
pub(super) fn merge(
    mut into: v1::IntegrationSettings,
    from: v1::IntegrationSettings,
    mask: &[String],
) -> Result<v1::IntegrationSettings, Status> {
    if mask.is_empty() {
        return Ok(from);
    }
    for (at, path) in mask.iter().enumerate() {
        match path.as_str() {
            "name" => into.name.clone_from(&from.name),
            "region" => into.region.clone_from(&from.region),
            "sso_region" => into.sso_region.clone_from(&from.sso_region),
            "sso_portal_url" => into.sso_portal_url.clone_from(&from.sso_portal_url),
            "management_role_arn" => into.management_role_arn.clone_from(&from.management_role_arn),
            "root_or_ou_id" => into.root_or_ou_id.clone_from(&from.root_or_ou_id),
            "excluded_ou_ids" => into.excluded_ou_ids.clone_from(&from.excluded_ou_ids),
            "regions" => into.regions.clone_from(&from.regions),
            "resource_types" => into.resource_types.clone_from(&from.resource_types),
            "audit_enabled" => into.audit_enabled = from.audit_enabled,
            "custom_access_details" => {
                into.custom_access_details.clone_from(&from.custom_access_details);
            }
            "integration_owner" => into.integration_owner.clone_from(&from.integration_owner),
            "resource_owner" => into.resource_owner.clone_from(&from.resource_owner),
            "audit_retention" => into.audit_retention = from.audit_retention,
            "trail" => into.trail.clone_from(&from.trail),
            "sync_interval" => into.sync_interval = from.sync_interval,
            "inline_policies" => into.inline_policies = from.inline_policies,
            "account_session_document" => {
                into.account_session_document = from.account_session_document;
            }
            _ => {
                return Err(status::bad_request(
                    &format!("update_mask.paths[{at}]"),
                    format!(
                        "{path:?} is not a field of settings; use whole fields, such as excluded_ou_ids"
                    ),
                ));
            }
        }
    }
    Ok(into)
}
