//! What a role allows, as IAM itself says: boundaries and service control policies count too.

use std::collections::BTreeSet;

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum};

use super::{Access, ApiError};

/// The IAM action.
pub const SIMULATE: &str = "iam:SimulatePrincipalPolicy";
/// Pages of an answer at most: each names tens of actions.
const PAGES_MAX: usize = 20;

/// Which of these actions a session's role does not allow: on a resource, if one is named, when these
/// condition keys have these values.
///
/// # Errors
///
/// When IAM does not tell.
pub async fn denied(
    access: &Access,
    declared: &BTreeSet<&'static str>,
    resource: Option<String>,
    context: &[(&str, &str)],
) -> Result<Vec<String>, ApiError> {
    let entry = |(key, value): &(&str, &str)| {
        let of = ContextEntry::builder().context_key_name(*key);
        of.context_key_type(ContextKeyTypeEnum::String).context_key_values(*value).build()
    };
    let context: Vec<ContextEntry> = context.iter().map(entry).collect();
    let mut denied = Vec::new();
    let mut marker = None;
    for _ in 0..PAGES_MAX {
        let answer = access
            .iam()
            .simulate_principal_policy()
            .policy_source_arn(access.role().to_string())
            .set_action_names(Some(declared.iter().map(|action| (*action).to_owned()).collect()))
            .set_resource_arns(resource.clone().map(|one| vec![one]))
            .set_context_entries(Some(context.clone()).filter(|all| !all.is_empty()))
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
