//! Access for users of IAM, whom Identity Center does not know: a group or a managed policy
//! ([`attachment`]), or statements of a policy in the user ([`inline`]), all in the user's own account.
//!
//! Who receives it says by the tag [`GRANTABLE`] that they may. Groups cannot have tags, and IAM knows no
//! condition for those of a policy that is attached; of both, those in the path [`GRANTABLE_PATH`] are
//! given. What IAM itself cannot be told to refuse is refused here: into such a group it would let anybody
//! be put, and into a user with the tag any policy be written.
//!
//! A user is who has the id that was found first: under another name the access is still theirs, and who
//! is made anew under their name receives none of it.

use aws_sdk_iam::types::User;
use chrono::TimeDelta;

use super::{Error, GRANTABLE, OUR_PREFIX, Unit, iam};
use crate::{
    access::site::Site,
    aws::{Access, ApiError},
    model::{
        arn::UserArn,
        assignment::{IamUser, Principal},
        details::{Details, SESSION_MAX},
        failure::Lane,
        grant::Recipient,
        refusal::{Refusal, RefusalCode},
        target::Verb,
    },
    store::{resources::Stored as Resource, units::What},
};

pub(super) mod attachment;
pub(super) mod inline;

const GET: &str = "iam:GetUser";
const LIST: &str = "iam:ListUsers";

const USER: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/any";
const OUR_USERS: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/apono-*";
const OUR_USERS_IN_PATHS: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/*/apono-*";

/// The path of groups and policies that are given.
const GRANTABLE_PATH: &str = "/apono-grantable/";

/// What IAM says while another change is under way: it is looked at again.
const PASSING: [&str; 2] = ["ConcurrentModification", "EntityTemporarilyUnmodifiable"];

/// Sessions of a role that was assumed by what was given go on for so long at most.
const SESSION: TimeDelta = SESSION_MAX;

/// A user of IAM as it is now, to receive something. The connector's own names are nobody's.
pub(in crate::access) async fn find(site: &Site, arn: &UserArn) -> Result<User, Error> {
    let refused = |code, finding| Error::Refused(Refusal::new(code, finding));
    if arn.name().starts_with(OUR_PREFIX) {
        let finding = format!("{} has a name of the connector's own", arn.as_str());
        return Err(refused(RefusalCode::RecipientUnfit, finding));
    }
    let access = site.member(arn.account(), Lane::Grant).await?;
    // One of the same name in another path is another one.
    let found = named(&access, arn.name()).await?.filter(|found| found.arn() == arn.as_str());
    let found = found.ok_or_else(|| {
        let finding = format!("there is no user {}", arn.as_str());
        refused(RefusalCode::PrincipalUnknown, finding)
    })?;
    if !is_grantable(&found) {
        return Err(refused(RefusalCode::NotGrantable, untagged(arn)));
    }
    Ok(found)
}

async fn named(access: &Access, name: &str) -> Result<Option<User>, ApiError> {
    let answer = access.iam().get_user().user_name(name).send().await;
    match answer.map_err(|error| ApiError::of(GET, &error)) {
        Ok(found) => Ok(found.user),
        Err(error) if error.code.as_deref() == Some(iam::GONE) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_grantable(user: &User) -> bool {
    let (tag, value) = GRANTABLE;
    user.tags().iter().any(|one| one.key() == tag && one.value() == value)
}

fn untagged(arn: &UserArn) -> String {
    let (tag, value) = GRANTABLE;
    format!("{} has not the tag {tag}={value}", arn.as_str())
}

/// A user as they are by now, under whichever name; none: they are gone.
async fn current(access: &Access, user: &IamUser) -> Result<Option<User>, ApiError> {
    let is_it = |found: &User| found.user_id() == user.id;
    let found = named(access, user.arn.name()).await?.filter(is_it);
    if found.is_some() {
        return Ok(found);
    }
    let mut all = access.iam().list_users().max_items(1000).into_paginator().items().send();
    while let Some(found) = all.next().await {
        let found = found.map_err(|error| ApiError::of(LIST, &error))?;
        if is_it(&found) {
            // The list tells no tags.
            return Ok(named(access, found.user_name()).await?.filter(is_it));
        }
    }
    Ok(None)
}

/// The name of a user who is to be changed.
async fn receiving(access: &Access, user: &IamUser, verb: Verb) -> Result<String, ApiError> {
    let found = current(access, user).await;
    let found = found.map_err(|error| ApiError { leaves_doubt: false, ..error })?;
    let found = found.ok_or_else(|| {
        let words = format!("the user {} is gone", user.arn.as_str());
        ApiError::answered(GET, iam::GONE, &words, 404)
    })?;
    // No policy of the role asks for it where somebody is put into a group.
    if verb == Verb::Create && !is_grantable(&found) {
        return Err(ApiError::answered(GET, "NotGrantable", &untagged(&user.arn), 400));
    }
    Ok(found.user_name)
}

/// The user of IAM that receives something in their own account; else why they cannot.
fn in_account<'a>(recipient: &'a Recipient, on: &Resource) -> Result<&'a UserArn, Refusal> {
    let unfit = |finding| Err(Refusal::new(RefusalCode::RecipientUnfit, finding));
    let Some(user) = recipient.iam_user() else {
        return unfit(format!("{} is given to users of IAM", on.arn));
    };
    if user.account().as_str() != on.account_id {
        let finding = format!(
            "{} is a user of the account {}, and {} lies in {}",
            user.as_str(),
            user.account(),
            on.arn,
            on.account_id
        );
        return unfit(finding);
    }
    Ok(user)
}

/// Whether something is the connector's own, which is not given away.
fn refuse_own(on: &Resource) -> Result<(), Refusal> {
    let path = on.attributes["path"].as_str().unwrap_or_default();
    if !on.name.starts_with(OUR_PREFIX) && !path.starts_with(iam::PATH) {
        return Ok(());
    }
    let finding = format!("{} is one of the connector's own", on.arn);
    Err(Refusal::new(RefusalCode::ResourceUnfit, finding))
}

/// What tells a user from all others; one change at a time is made of one.
fn place(user: &IamUser) -> String {
    format!("{}/{}", user.arn.account(), user.id)
}

/// The user of a unit; another's plan is our own nonsense.
fn of_unit<'a>(unit: &Unit<'a>) -> Result<&'a IamUser, ApiError> {
    match unit.principal {
        Principal::IamUser(user) => Ok(user),
        Principal::User(_) | Principal::Group(_) => {
            let words = format!("{} is no user of IAM", unit.principal);
            Err(ApiError::answered(GET, "", &words, 400))
        }
    }
}

/// How a user of IAM gets to something, perhaps by a command.
fn details(what: &What, command: &str) -> Details {
    let partition = what.resource.split(':').nth(1).unwrap_or_default();
    Details::of_iam_user(partition, &what.account, command)
}
