//! Access for users of IAM, whom Identity Center does not know: a group or a managed policy
//! ([`attachment`]), or statements of a policy in the user ([`inline`]), all in the user's own account.
//!
//! Who receives it says by the tag [`super::GRANTABLE`] that they may, so that nobody can be made mighty
//! who was not meant. Groups cannot have tags, and IAM knows no condition for those of a policy that is
//! attached; of both, those in the path [`GRANTABLE_PATH`] are given.

use aws_sdk_iam::types::User;
use chrono::TimeDelta;

use super::{Error, OUR_PREFIX, Unit, When, iam};
use crate::{
    access::site::Site,
    aws::{Access, ApiError},
    model::{
        arn::UserArn,
        assignment::Principal,
        details::{Details, SESSION_MAX},
        failure::Lane,
        grant::Recipient,
        refusal::{Refusal, RefusalCode},
    },
    store::{resources::Stored as Resource, units::What},
};

pub(super) mod attachment;
pub(super) mod inline;

const GET: &str = "iam:GetUser";

/// Where [`super::GRANTABLE`] is said of a user.
const IS_GRANTABLE: When = When::text("aws:ResourceTag/apono:grantable", "true");
const USER: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/any";
const OUR_USERS: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:user/apono-*";

/// The path of groups and policies that are given.
const GRANTABLE_PATH: &str = "/apono-grantable/";

/// What IAM says while another change is under way: it is looked at again.
const PASSING: [&str; 2] = ["ConcurrentModification", "EntityTemporarilyUnmodifiable"];

/// Sessions of a role that was assumed by what was given go on for so long at most.
const SESSION: TimeDelta = SESSION_MAX;

/// A user of IAM as it is now. The connector's own names are nobody's.
pub(in crate::access) async fn find(site: &Site, user: &UserArn) -> Result<User, Error> {
    if user.name().starts_with(OUR_PREFIX) {
        let finding = format!("{} has a name of the connector's own", user.as_str());
        return Err(Error::Refused(Refusal::new(RefusalCode::RecipientUnfit, finding)));
    }
    let lane = Lane::Grant;
    let answer =
        reach(site, user, lane).await?.iam().get_user().user_name(user.name()).send().await;
    let found = match answer.map_err(|error| ApiError::of(GET, &error)) {
        Ok(found) => found.user,
        Err(error) if error.code.as_deref() == Some(iam::GONE) => None,
        Err(error) => return Err(error.into()),
    };
    // One of the same name in another path is another one.
    found.filter(|found| found.arn() == user.as_str()).ok_or_else(|| {
        let finding = format!("there is no user {}", user.as_str());
        Error::Refused(Refusal::new(RefusalCode::PrincipalUnknown, finding))
    })
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

/// One change at a time is made of a user.
fn place(user: &UserArn) -> String {
    user.as_str().to_owned()
}

/// The user of a unit; another's plan is our own nonsense.
fn of_unit<'a>(unit: &Unit<'a>) -> Result<&'a UserArn, ApiError> {
    match unit.principal {
        Principal::IamUser(user) => Ok(user),
        Principal::User(_) | Principal::Group(_) => {
            let words = format!("{} is no user of IAM", unit.principal);
            Err(ApiError::answered(GET, "", &words, 400))
        }
    }
}

/// The way to the account of a user.
async fn reach(
    site: &Site,
    user: &UserArn,
    lane: Lane,
) -> Result<std::sync::Arc<Access>, ApiError> {
    site.member(user.account(), lane).await
}

/// How a user of IAM gets to something, perhaps by a command.
fn details(what: &What, command: &str) -> Details {
    let partition = what.resource.split(':').nth(1).unwrap_or_default();
    Details::of_iam_user(partition, &what.account, command)
}
