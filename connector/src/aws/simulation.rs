//! What somebody may do, as IAM itself says: boundaries and service control policies count too.

use std::collections::BTreeSet;

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult};

use super::{Access, ApiError};

/// The IAM action.
pub const SIMULATE: &str = "iam:SimulatePrincipalPolicy";
/// Pages of an answer at most: each names tens of actions.
const PAGES_MAX: usize = 20;

/// A condition key of a call, what kind of value it has, and the value.
pub type Key<'a> = (&'a str, ContextKeyTypeEnum, &'a str);

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
    let actions: Vec<String> = declared.iter().map(|action| (*action).to_owned()).collect();
    let resources: Vec<String> = resource.into_iter().collect();
    let keys = context.iter().map(|(key, value)| (*key, ContextKeyTypeEnum::String, *value));
    let source = access.role().to_string();
    let keys: Vec<Key<'_>> = keys.collect();
    let results = simulated(access, &source, (&actions, &resources), &keys).await?;
    let denied = results.iter().filter(|result| result.eval_decision().as_str() != "allowed");
    Ok(denied.map(|result| result.eval_action_name().to_owned()).collect())
}

/// Which of these actions on these resources policies of the organization deny to a role or a user.
///
/// # Errors
///
/// When IAM does not tell.
pub async fn denied_by_organization(
    access: &Access,
    source: &str,
    what: (&[String], &[String]),
    keys: &[Key<'_>],
) -> Result<BTreeSet<String>, ApiError> {
    let results = simulated(access, source, what, keys).await?;
    let denied = results.iter().filter(|result| {
        let decision = result.organizations_decision_detail();
        decision.is_some_and(|decision| !decision.allowed_by_organizations())
    });
    Ok(denied.map(|result| result.eval_action_name().to_owned()).collect())
}

async fn simulated(
    access: &Access,
    source: &str,
    (actions, resources): (&[String], &[String]),
    keys: &[Key<'_>],
) -> Result<Vec<EvaluationResult>, ApiError> {
    let entry = |(key, kind, value): &Key<'_>| {
        let of = ContextEntry::builder().context_key_name(*key);
        of.context_key_type(kind.clone()).context_key_values(*value).build()
    };
    let entries: Vec<ContextEntry> = keys.iter().map(entry).collect();
    let (mut results, mut marker) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let answer = access
            .iam()
            .simulate_principal_policy()
            .policy_source_arn(source)
            .set_action_names(Some(actions.to_vec()))
            .set_resource_arns(Some(resources.to_vec()).filter(|all| !all.is_empty()))
            .set_context_entries(Some(entries.clone()).filter(|all| !all.is_empty()))
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| ApiError::of(SIMULATE, &error))?;
        let is_truncated = answer.is_truncated();
        marker = answer.marker().map(str::to_owned);
        results.extend(answer.evaluation_results.unwrap_or_default());
        if !is_truncated {
            return Ok(results);
        }
    }
    Err(ApiError::answered(SIMULATE, "", "the list does not come to an end", 200))
}
