//! The one table from what AWS answered to what it means.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{lease::Lost, sessions};
use crate::{
    base::chain::Chain,
    model::{
        failure::{Failure, Reason, ReasonCode},
        refusal::{Refusal, RefusalCode},
    },
};

/// Codes by which AWS services throttle. (`LimitExceededException` is not among them:
/// where services use it, it is a quota.)
const THROTTLES: [&str; 13] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "TransactionInProgressException",
    "ProvisionedThroughputExceededException",
];

/// Whether a code is one of them.
#[must_use]
pub fn is_throttle(code: &str) -> bool {
    THROTTLES.contains(&code)
}

/// A call that failed, with its meaning.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ApiError {
    /// Why, for people and for folding.
    pub reason: Reason,
    /// Whether trying again can help.
    pub failure: Failure,
    /// The code that AWS gave, where it gave one; only for callers that expect one
    /// particular refusal.
    pub code: Option<String>,
    /// Whether what was asked for may have been done all the same, or may yet be: the call was sent,
    /// and no answer told what became of it.
    pub leaves_doubt: bool,
}

impl ApiError {
    /// The meaning of an SDK error of a call that needs the IAM action `action`.
    pub fn of<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        // A denial that comes from getting credentials must never read as "nothing
        // here": it is told by its type, wherever in the chain it stands.
        if let Some(session) = find::<sessions::Error>(error) {
            return session.meaning();
        }
        // The SDK hands a failure of our own credential chain out as one of dispatch.
        if find::<CredentialsError>(error).is_some() {
            let reason =
                Reason::new(ReasonCode::OwnIdentityUnavailable, "", Chain(error).to_string());
            let failure = Failure::NeedsHuman;
            return Self { reason, failure, code: None, leaves_doubt: false };
        }
        if let Some(lost) = find::<Lost>(error) {
            let reason = Reason::new(ReasonCode::Unreachable, service(action), lost.to_string());
            let failure = Failure::Retry { after: None };
            return Self { reason, failure, code: None, leaves_doubt: false };
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK may add variants")]
        match error {
            SdkError::ServiceError(context) => {
                let answer = context.err();
                let (code, message) =
                    (answer.code().unwrap_or_default(), answer.message().unwrap_or_default());
                Self::answered(action, code, message, context.raw().status().as_u16())
            }
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => Self {
                reason: Reason::new(
                    ReasonCode::Unreachable,
                    service(action),
                    Chain(error).to_string(),
                ),
                failure: Failure::Retry { after: None },
                code: None,
                leaves_doubt: true,
            },
            SdkError::ResponseError(context) if context.raw().status().as_u16() >= 500 => {
                Self::answered(action, "", "", context.raw().status().as_u16())
            }
            // Construction failures, answers that cannot be read, and what the SDK may
            // add: none of them passes by itself.
            _ => Self {
                reason: Reason::new(ReasonCode::UnreadableAnswer, action, Chain(error).to_string()),
                failure: Failure::Permanent,
                code: None,
                leaves_doubt: !matches!(error, SdkError::ConstructionFailure(_)),
            },
        }
    }

    /// The meaning of an error answer.
    #[must_use]
    pub fn answered(action: &'static str, code: &str, message: &str, status: u16) -> Self {
        let retry = Failure::Retry { after: None };
        let (reason, subject, failure) = match code {
            code if is_throttle(code) => (ReasonCode::Throttled, service(action), retry),
            "AccessDenied"
            | "AccessDeniedException"
            | "UnauthorizedOperation"
            | "AuthorizationError"
            | "AuthorizationErrorException"
            | "Forbidden"
                if message.contains("service control policy") =>
            {
                (ReasonCode::DeniedByScp, "", Failure::NeedsHuman)
            }
            "AccessDenied"
            | "AccessDeniedException"
            | "UnauthorizedOperation"
            | "AuthorizationError"
            | "AuthorizationErrorException"
            | "Forbidden" => (ReasonCode::ActionDenied, action, Failure::NeedsHuman),
            "OptInRequired" => (ReasonCode::RegionNotEnabled, "", Failure::NeedsHuman),
            "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "AuthFailure"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "InvalidAccessKeyId" => (ReasonCode::CredentialsExpired, service(action), retry),
            _ if status >= 500 => (ReasonCode::ServiceError, action, retry),
            _ => (ReasonCode::ServiceError, action, Failure::Permanent),
        };
        let detail = match (code, message) {
            ("", _) => format!("HTTP status {status}"),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        Self {
            reason: Reason::new(reason, subject, detail),
            failure,
            code: Some(code.to_owned()).filter(|code| !code.is_empty()),
            // A throttled call was not taken, whatever the status.
            leaves_doubt: status >= 500 && !is_throttle(code),
        }
    }
}

impl ApiError {
    /// Whether nothing came of the call, and nothing will by its being made again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.leaves_doubt && !matches!(self.failure, Failure::Retry { .. })
    }

    /// Why access cannot be granted, if trying again would not help: of a call about one user,
    /// group or assignment. None: it may pass.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let code = match (self.failure, self.code.as_deref()) {
            (Failure::Retry { .. }, _) | (_, Some("ConflictException")) => return None,
            _ if self.reason.code == ReasonCode::IdentityCenterMissing => {
                RefusalCode::IdentityCenterMissing
            }
            (
                _,
                Some("DocumentLimitExceeded" | "LimitExceeded" | "ServiceQuotaExceededException"),
            ) => RefusalCode::QuotaExceeded,
            (_, Some("ResourceNotFoundException" | "NoSuchEntity")) => RefusalCode::NotThere,
            (_, Some("NotGrantable")) => RefusalCode::NotGrantable,
            (Failure::NeedsHuman, _) => RefusalCode::NotAllowed,
            (Failure::Permanent, _) => RefusalCode::Invalid,
        };
        Some(Refusal::new(code, self.reason.to_string()))
    }
}

/// Why an assignment whose making has failed cannot be made, in AWS's words; none: it may be the
/// next time. The words are those that Identity Center was seen to use: they are documented
/// nowhere.
#[must_use]
pub fn assignment_refusal(words: &str) -> Option<Refusal> {
    let lower = words.to_lowercase();
    let says = |some: &[&str]| some.iter().any(|part| lower.contains(part));
    let code = if says(&["suspended", "pending_closure", "pending closure", "closed"]) {
        RefusalCode::AccountNotActive
    } else if says(&["quota", "limit exceeded", "limitexceeded", "cannot exceed"]) {
        RefusalCode::QuotaExceeded
    } else if says(&["404", "does not exist", "not found"]) {
        RefusalCode::NotThere
    } else if says(&["403", "access denied", "accessdenied", "not authorized"]) {
        RefusalCode::NotAllowed
    } else {
        return None;
    };
    Some(Refusal::new(code, words))
}

/// The service of an IAM action.
fn service(action: &'static str) -> &'static str {
    action.split(':').next().unwrap_or(action)
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_refuses_for_good_is_told_from_what_may_pass() {
        let refusal = |code: &str, status| {
            ApiError::answered("sso:CreateAccountAssignment", code, "", status)
                .refusal()
                .map(|refusal| refusal.code)
        };
        assert_eq!(refusal("ConflictException", 400), None);
        assert_eq!(refusal("ThrottlingException", 400), None);
        assert_eq!(refusal("InternalServerException", 500), None);
        assert_eq!(refusal("AccessDeniedException", 400), Some(RefusalCode::NotAllowed));
        assert_eq!(refusal("ServiceQuotaExceededException", 400), Some(RefusalCode::QuotaExceeded));
        assert_eq!(refusal("ResourceNotFoundException", 400), Some(RefusalCode::NotThere));
        assert_eq!(refusal("ValidationException", 400), Some(RefusalCode::Invalid));
        let of = |words| assignment_refusal(words).map(|refusal| refusal.code);
        let suspended = "Received a 403 status error: the account 222222222222 is SUSPENDED.";
        assert_eq!(of(suspended), Some(RefusalCode::AccountNotActive));
        let roles = "Cannot exceed quota for RolesPerAccount: 1000";
        assert_eq!(of(roles), Some(RefusalCode::QuotaExceeded));
        let denied =
            "Received a 403 status error: AccessDenied: not authorized to perform iam:CreateRole";
        assert_eq!(of(denied), Some(RefusalCode::NotAllowed));
        assert_eq!(of("An unexpected error has occurred"), None);
    }

    #[test]
    fn only_what_was_sent_and_not_answered_leaves_doubt() {
        let doubt = |code: &str, status| ApiError::answered("a:B", code, "", status).leaves_doubt;
        assert!(doubt("InternalServerException", 500));
        assert!(doubt("", 502));
        assert!(!doubt("SlowDown", 503));
        assert!(!doubt("ConflictException", 400));
    }

    #[test]
    fn codes_mean_what_the_table_says() {
        const ACTION: &str = "ec2:DescribeInstances";
        let scp = "User: arn:x is not authorized to perform: ec2:DescribeInstances with an explicit deny in a service control policy";
        let table = [
            ("UnauthorizedOperation", "no", 403, ReasonCode::ActionDenied, ACTION),
            ("AccessDeniedException", scp, 400, ReasonCode::DeniedByScp, ""),
            ("RequestLimitExceeded", "", 503, ReasonCode::Throttled, "ec2"),
            ("OptInRequired", "", 401, ReasonCode::RegionNotEnabled, ""),
            ("ExpiredToken", "", 400, ReasonCode::CredentialsExpired, "ec2"),
            ("InternalError", "", 500, ReasonCode::ServiceError, ACTION),
            ("", "", 502, ReasonCode::ServiceError, ACTION),
            ("LimitExceededException", "", 400, ReasonCode::ServiceError, ACTION),
        ];
        for (code, message, status, reason, subject) in table {
            let error = ApiError::answered(ACTION, code, message, status);
            assert_eq!(
                (error.reason.code, error.reason.subject.as_str()),
                (reason, subject),
                "{code}"
            );
        }
    }
}
