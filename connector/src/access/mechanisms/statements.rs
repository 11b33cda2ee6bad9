//! What holders put into a policy that they share: statements, each with its own end
//! ([`crate::model::policy_document`]).

use std::collections::BTreeSet;

use aws_sdk_iam::types::ContextKeyTypeEnum;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::read;
use crate::{
    aws::{Access, ApiError, simulation::denied_by_organization},
    model::{
        holding::Holder,
        policy_document::{self, Share},
        refusal::{Refusal, RefusalCode},
        share::{Content, Shares},
        statement::Statement,
    },
};

/// A holder's place in the list, what it puts in, and until when.
type Put = (usize, Share, DateTime<Utc>);

/// What is to be in a policy: the shares of those who want it.
fn wanted(holders: &[Holder], now: DateTime<Utc>) -> Result<Vec<Put>, ApiError> {
    let live = holders.iter().enumerate().filter(|(_, holder)| holder.is_live(now));
    live.filter_map(|(at, holder)| {
        let share = holder.share.as_ref()?;
        Some(read("iam:GetPolicy", share).map(|share| (at, share, holder.until)))
    })
    .collect()
}

/// Whose statements are in a policy, and whether all is as it should be.
pub(super) fn shares(
    seen: &Value,
    holders: &[Holder],
    now: DateTime<Utc>,
) -> Result<Shares, ApiError> {
    let shares = wanted(holders, now)?;
    let lacking = shares
        .iter()
        .filter(|(_, share, _)| !policy_document::allows(seen, share, now))
        .map(|(at, ..)| *at)
        .collect();
    let wanted = shares.iter().map(|(_, share, until)| (share, *until));
    let is_current = policy_document::is_current(seen, wanted, now);
    let content = if is_current { Content::Current } else { Content::Stale };
    Ok(Shares { content, lacking })
}

/// The policy as it should be.
pub(super) fn document(holders: &[Holder], now: DateTime<Utc>) -> Value {
    // What cannot be read was told by `shares`.
    let shares = wanted(holders, now).unwrap_or_default();
    policy_document::document(shares.iter().map(|(_, share, until)| (share, *until)))
}

/// The actions of statements that policies of the organization deny to a role or a user.
pub(super) async fn denials(
    access: &Access,
    source: &str,
    statements: &[Statement],
) -> Result<Vec<String>, ApiError> {
    let mut denied = BTreeSet::new();
    for statement in statements {
        // What is about the session of who calls cannot be asked without one.
        let resources = statement.resources.iter().filter(|one| !one.contains("${"));
        let resources: Vec<String> = resources.cloned().collect();
        let conditions = statement.conditions.iter();
        let values = conditions.filter_map(|one| Some((&one.key, one.values.first()?)));
        let keys: Vec<_> = values
            .map(|(key, value)| (key.as_str(), ContextKeyTypeEnum::String, value.as_str()))
            .collect();
        if !resources.is_empty() {
            let what = (statement.actions.as_slice(), resources.as_slice());
            denied.extend(denied_by_organization(access, source, what, &keys).await?);
        }
    }
    Ok(denied.into_iter().collect())
}

/// Whether the policy as it should be has at most so many characters.
pub(super) fn fits(
    holders: &[Holder],
    now: DateTime<Utc>,
    characters_max: usize,
) -> Result<(), Refusal> {
    let characters = policy_document::characters(&document(holders, now));
    if characters <= characters_max {
        return Ok(());
    }
    let finding = format!(
        "the person's policy in the account would have {characters} characters, and AWS takes {characters_max}"
    );
    Err(Refusal::new(RefusalCode::PolicyFull, finding))
}
