//! Who a recipient is: looked up once for each grant, in AWS and not in the inventory, which may
//! be old. What is found is read back and compared with what was named, so that somebody else
//! never gets the access; whatever is not certain is refused.

use aws_sdk_identitystore::{
    operation::describe_group::DescribeGroupOutput,
    types::{AlternateIdentifier, UniqueAttribute, UserStatus},
};
use aws_smithy_types::Document;

use super::{
    mechanisms::{self, Error},
    site::Site,
};
use crate::{
    aws::ApiError,
    model::{
        arn::UserArn,
        assignment::{IamUser, Principal},
        failure::Lane,
        grant::Recipient,
        refusal::{Refusal, RefusalCode},
    },
};

pub(super) const DESCRIBE_GROUP: &str = "identitystore:DescribeGroup";
pub(super) const DESCRIBE_USER: &str = "identitystore:DescribeUser";
pub(super) const GET_GROUP_ID: &str = "identitystore:GetGroupId";
pub(super) const GET_USER_ID: &str = "identitystore:GetUserId";

/// The lane: a grant waits for it.
const LANE: Lane = Lane::Grant;

/// Somebody in the identity store, or a user of IAM.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) principal: Principal,
    /// Every name by which a caller, or a rule, may know it.
    pub(super) names: Vec<String>,
    /// How Identity Center names its sessions; empty: it is none of its users.
    pub(super) user_name: String,
}

fn refused(code: RefusalCode, finding: String) -> Error {
    Error::Refused(Refusal::new(code, finding))
}

/// Finds a recipient.
pub(super) async fn find(site: &Site, recipient: &Recipient) -> Result<Found, Error> {
    match recipient {
        Recipient::UserEmail(email) => user(site, "emails.value", email).await,
        Recipient::UserName(name) => user(site, "userName", name).await,
        Recipient::UserId(id) => described_user(site, id, None).await,
        Recipient::GroupName(name) => {
            let attribute = identifier("displayName", name)?;
            let answer = site
                .access(LANE)
                .await?
                .identity_store()
                .get_group_id()
                .identity_store_id(&site.instance(LANE).await?.identity_store)
                .alternate_identifier(attribute)
                .send()
                .await
                .map_err(|error| failed(recipient.name(), ApiError::of(GET_GROUP_ID, &error)))?;
            described_group(site, answer.group_id(), Some(name)).await
        }
        Recipient::GroupId(id) => described_group(site, id, None).await,
        Recipient::IamUser(user) => iam_user(site, user).await,
    }
}

async fn iam_user(site: &Site, arn: &UserArn) -> Result<Found, Error> {
    let found = mechanisms::iam_user(site, arn).await?;
    let names = vec![arn.as_str().to_owned(), arn.name().to_owned(), found.user_id.clone()];
    Ok(Found {
        principal: Principal::IamUser(IamUser { arn: arn.clone(), id: found.user_id }),
        names,
        user_name: String::new(),
    })
}

async fn user(site: &Site, path: &'static str, value: &str) -> Result<Found, Error> {
    let attribute = identifier(path, value)?;
    let answer = site
        .access(LANE)
        .await?
        .identity_store()
        .get_user_id()
        .identity_store_id(&site.instance(LANE).await?.identity_store)
        .alternate_identifier(attribute)
        .send()
        .await
        .map_err(|error| failed(value, ApiError::of(GET_USER_ID, &error)))?;
    described_user(site, answer.user_id(), Some((path, value))).await
}

/// Reads a user back: is it who was named, and enabled?
async fn described_user(
    site: &Site,
    id: &str,
    named: Option<(&str, &str)>,
) -> Result<Found, Error> {
    let found = site
        .access(LANE)
        .await?
        .identity_store()
        .describe_user()
        .identity_store_id(&site.instance(LANE).await?.identity_store)
        .user_id(id)
        .send()
        .await
        .map_err(|error| failed(id, ApiError::of(DESCRIBE_USER, &error)))?;
    let is_named = match named {
        None => found.user_id() == id,
        Some(("userName", name)) => {
            found.user_name().is_some_and(|found| found.eq_ignore_ascii_case(name))
        }
        Some((_, email)) => found
            .emails()
            .iter()
            .any(|found| found.value().is_some_and(|found| found.eq_ignore_ascii_case(email))),
    };
    if !is_named {
        let name = named.map_or(id, |(_, value)| value);
        let finding = format!("AWS found the user {id} for {name:?}, who has another name");
        return Err(refused(RefusalCode::PrincipalAmbiguous, finding));
    }
    if found.user_status() == Some(&UserStatus::Disabled) {
        let name = named.map_or(id, |(_, value)| value);
        return Err(refused(
            RefusalCode::PrincipalDisabled,
            format!("the user {name:?} is disabled"),
        ));
    }
    let id = found.user_id().to_owned();
    let emails = found.emails().iter().filter_map(|email| email.value());
    let names = emails.chain(found.user_name()).map(str::to_owned).chain([id.clone()]).collect();
    let user_name = found.user_name().unwrap_or_default().to_owned();
    Ok(Found { principal: Principal::User(id), names, user_name })
}

/// A group as AWS has it now.
pub(super) async fn group(site: &Site, id: &str) -> Result<DescribeGroupOutput, ApiError> {
    site.access(LANE)
        .await?
        .identity_store()
        .describe_group()
        .identity_store_id(&site.instance(LANE).await?.identity_store)
        .group_id(id)
        .send()
        .await
        .map_err(|error| ApiError::of(DESCRIBE_GROUP, &error))
}

async fn described_group(site: &Site, id: &str, named: Option<&str>) -> Result<Found, Error> {
    let found = group(site, id).await.map_err(|error| failed(id, error))?;
    let is_named = named.is_none_or(|name| {
        found.display_name().is_some_and(|found| found.eq_ignore_ascii_case(name))
    });
    if !is_named {
        let finding = format!(
            "AWS found the group {id} for {:?}, which has another name",
            named.unwrap_or(id)
        );
        return Err(refused(RefusalCode::PrincipalAmbiguous, finding));
    }
    let id = found.group_id().to_owned();
    let names = found.display_name().map(str::to_owned).into_iter().chain([id.clone()]).collect();
    Ok(Found { principal: Principal::Group(id), names, user_name: String::new() })
}

fn identifier(path: &str, value: &str) -> Result<AlternateIdentifier, Error> {
    UniqueAttribute::builder()
        .attribute_path(path)
        .attribute_value(Document::String(value.to_owned()))
        .build()
        .map(AlternateIdentifier::UniqueAttribute)
        .map_err(|error| refused(RefusalCode::Invalid, error.to_string()))
}

/// Nobody of this name, or no answer.
fn failed(name: &str, error: ApiError) -> Error {
    match error.refusal() {
        Some(Refusal { code: RefusalCode::NotThere, .. }) => {
            let finding = format!("the identity store knows nobody named {name:?}");
            refused(RefusalCode::PrincipalUnknown, finding)
        }
        Some(Refusal { code: RefusalCode::Invalid, finding }) => {
            refused(RefusalCode::PrincipalUnknown, finding)
        }
        _ => Error::Aws(error),
    }
}
