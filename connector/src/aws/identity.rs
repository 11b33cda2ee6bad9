//! Who we are to AWS, and by which provider we know.

use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::{
    credential_feature::AwsCredentialFeature, provider::ProvideCredentials,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use chrono::{DateTime, Utc};

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
    /// The provider of the SDK's default chain that found the credentials.
    pub provider: &'static str,
    /// What AWS's clock showed when it answered.
    pub answered_at: Option<DateTime<Utc>>,
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
    let clock = AnswerClock::default();
    let answer = sts_client(aws, region, Lane::Interactive)
        .get_caller_identity()
        .customize()
        .interceptor(clock.clone())
        .send()
        .await
        .map_err(|error| ApiError::of(GET_CALLER_IDENTITY, &error))?;
    let arn = answer.arn().unwrap_or_default().to_owned();
    let answered_at = *clock.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Identity {
        account: account_of(&arn).to_owned(),
        arn,
        provider: provider(aws).await,
        answered_at,
    })
}

/// Notes the `Date` of the last answer.
#[derive(Clone, Debug, Default)]
struct AnswerClock(Arc<Mutex<Option<DateTime<Utc>>>>);

impl Intercept for AnswerClock {
    fn name(&self) -> &'static str {
        "AnswerClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| date.to_utc());
        Ok(())
    }
}

/// Where the SDK's chain found our credentials, in words for people.
async fn provider(aws: &Aws) -> &'static str {
    const UNKNOWN: &str = "a provider that the SDK does not name";
    let Some(chain) = aws.base.credentials_provider() else { return UNKNOWN };
    let Ok(credentials) = chain.provide_credentials().await else { return UNKNOWN };
    let features = credentials.get_property::<Vec<AwsCredentialFeature>>();
    features.into_iter().flatten().find_map(words).unwrap_or(UNKNOWN)
}

fn words(feature: &AwsCredentialFeature) -> Option<&'static str> {
    use AwsCredentialFeature as Feature;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK may add variants")]
    match feature {
        Feature::CredentialsEnvVars => Some("environment variables"),
        Feature::CredentialsEnvVarsStsWebIdToken | Feature::CredentialsStsAssumeRoleWebId => {
            Some("web identity token (IRSA)")
        }
        Feature::CredentialsHttp => Some("container credentials (ECS task role, EKS Pod Identity)"),
        Feature::CredentialsImds => Some("instance profile (IMDS)"),
        Feature::CredentialsProfile
        | Feature::CredentialsProfileSourceProfile
        | Feature::CredentialsProfileNamedProvider
        | Feature::CredentialsProfileStsWebIdToken
        | Feature::CredentialsProfileSso
        | Feature::CredentialsProfileProcess => Some("profile of the shared configuration"),
        Feature::CredentialsSso => Some("SSO session"),
        Feature::CredentialsProcess => Some("credential process"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_behind_an_assumed_role_is_named_with_its_partition() {
        let identity = |arn: &str| Identity {
            arn: arn.into(),
            account: "123456789012".into(),
            provider: "",
            answered_at: None,
        };
        assert_eq!(
            identity("arn:aws-cn:sts::123456789012:assumed-role/connector/i-1")
                .role_arn()
                .as_deref(),
            Some("arn:aws-cn:iam::123456789012:role/connector")
        );
        assert_eq!(identity("arn:aws:iam::123456789012:user/ann").role_arn(), None);
    }
}
