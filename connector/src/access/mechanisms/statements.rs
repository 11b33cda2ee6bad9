//! What holders put into a policy that they share: statements, each with its own end
//! ([`crate::model::policy_document`]).

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::read;
use crate::{
    aws::ApiError,
    model::{
        holding::Holder,
        policy_document::{self, Share},
        refusal::{Refusal, RefusalCode},
        share::{Content, Shares},
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
