//! Who we are to AWS.

use super::{
    Aws,
    error::ApiError,
    sessions::{account_of, sts_client},
};
use crate::model::{failure::Lane, ids::Region};

/// The IAM action; it needs no permission.
const GET_CALLER_IDENTITY: &str = "sts:GetCallerIdentity";

/// Our own identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As STS tells it.
    pub arn: String,
    /// Its account.
    pub account: String,
}

impl Identity {
    /// The role behind an assumed role: what the template wants as
    /// `ConnectorRoleArn`. STS does not tell a role's path, so for a role with a path
    /// it has to be added by hand.
    #[must_use]
    pub fn role_arn(&self) -> Option<String> {
        let mut parts = self.arn.splitn(6, ':');
        let (_, partition) = (parts.next()?, parts.next()?);
        let resource = self.arn.splitn(6, ':').nth(5)?;
        let name = resource.strip_prefix("assumed-role/")?.split('/').next()?;
        Some(format!("arn:{partition}:iam::{}:role/{name}", self.account))
    }
}

/// Asks STS who we are.
///
/// # Errors
///
/// When there are no credentials, or STS does not take them.
pub async fn own(aws: &Aws, region: &Region) -> Result<Identity, ApiError> {
    let answer = sts_client(aws, region, Lane::Interactive)
        .get_caller_identity()
        .send()
        .await
        .map_err(|error| ApiError::of(GET_CALLER_IDENTITY, &error))?;
    let arn = answer.arn().unwrap_or_default().to_owned();
    Ok(Identity { account: account_of(&arn).to_owned(), arn })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_behind_an_assumed_role_is_named_with_its_partition() {
        let identity = |arn: &str| Identity { arn: arn.into(), account: "123456789012".into() };
        assert_eq!(
            identity("arn:aws-cn:sts::123456789012:assumed-role/connector/i-1")
                .role_arn()
                .as_deref(),
            Some("arn:aws-cn:iam::123456789012:role/connector")
        );
        assert_eq!(identity("arn:aws:iam::123456789012:user/ann").role_arn(), None);
    }
}
