//! What holders put into a policy that they share: statements, each with its own end
//! ([`crate::model::policy_document`]).

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types::ContextKeyTypeEnum;
use chrono::{DateTime, TimeDelta, Utc};
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

/// What tells a policy from others.
pub(super) fn hash(document: &Value) -> String {
    policy_document::name_of(&[&document.to_string()])
}

/// Shares, those of each grant with an end of its own.
fn apart(puts: &[Put], holders: &[Holder], now: DateTime<Utc>) -> Vec<(Share, DateTime<Utc>)> {
    let mut ends: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
    let each = puts.iter().map(|(at, share, _)| {
        let seconds = i32::try_from(ends.len()).unwrap_or(i32::MAX);
        let next = now + TimeDelta::seconds(seconds.into());
        (share.clone(), *ends.entry(&holders[*at].grant).or_insert(next))
    });
    each.collect()
}

/// The actions of statements that policies of the organization may deny to a role or a user.
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
        let own =
            conditions.filter_map(|one| Some((one.key.as_str(), one.values.first()?.as_str())));
        let Some(first) = resources.first() else { continue };
        let region = first.split(':').nth(3).filter(|region| !region.is_empty());
        // Such policies ask where a call is made, and by whom; a key that is not told is taken for another.
        let asked = [
            ("aws:PrincipalAccount", source.split(':').nth(4).unwrap_or_default()),
            ("aws:PrincipalArn", source),
            ("aws:RequestedRegion", region.unwrap_or_else(|| access.region().as_str())),
        ];
        let keys = own.chain(asked).map(|(key, value)| (key, ContextKeyTypeEnum::String, value));
        let keys: Vec<_> = keys.collect();
        let ask = async |actions: &[String]| {
            denied_by_organization(access, source, (actions, resources.as_slice()), &keys).await
        };
        match ask(&statement.actions).await {
            Ok(found) => denied.extend(found),
            // Some actions cannot be asked together.
            Err(error) if error.code.as_deref() == Some("InvalidInput") => {
                for action in &statement.actions {
                    denied.extend(ask(std::slice::from_ref(action)).await.unwrap_or_default());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(denied.into_iter().collect())
}

/// Whether the policy as it should be has at most so many characters, also when the ends of its grants are
/// moved apart.
pub(super) fn fits(
    holders: &[Holder],
    now: DateTime<Utc>,
    characters_max: usize,
) -> Result<(), Refusal> {
    let shares = apart(&wanted(holders, now).unwrap_or_default(), holders, now);
    let shares = shares.iter().map(|(share, until)| (share, *until));
    let characters = policy_document::characters(&policy_document::document(shares));
    if characters <= characters_max {
        return Ok(());
    }
    let finding = format!(
        "the person's policy in the account would have {characters} characters, and AWS takes {characters_max}"
    );
    Err(Refusal::new(RefusalCode::PolicyFull, finding))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{statement::allow, unit::UnitState};

    fn holder(grant: &str, bucket: usize, now: DateTime<Utc>) -> Holder {
        let statement = allow(&["s3:GetObject"]).on([format!("arn:aws:s3:::bucket-{bucket}/*")]);
        let share = Share::new(&[grant, &bucket.to_string()], vec![statement]);
        let to_come = Holder::to_come(0, now, json!(share));
        Holder { grant: grant.to_owned(), unit: UnitState::Active, ..to_come }
    }

    #[test]
    fn grants_find_room_however_their_ends_are_moved() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let together: Vec<Holder> = (0..9).map(|number| holder("g1", number, now)).collect();
        let several: Vec<Holder> =
            (0..9).map(|number| holder(&format!("g{number}"), number, now)).collect();
        let characters = policy_document::characters(&document(&together, now));
        assert_eq!(policy_document::characters(&document(&several, now)), characters);
        assert_eq!(fits(&together, now, characters), Ok(()));
        assert!(fits(&several, now, characters).is_err(), "each may get an end of its own");
    }
}
