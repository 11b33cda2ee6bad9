//! Errors as callers see them: a gRPC code, a sentence that says what to do, and
//! `google.rpc` details with a stable reason.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use tracing::error;

use crate::{
    base::chain::Chain,
    model::{form::Violation, grant::Difference, refusal::Refusal, role::Role, validation::Step},
    store,
};

/// The domain of all reasons.
const DOMAIN: &str = "connector.apono.io";

/// One field that cannot be taken.
pub(super) fn bad_request(field: &str, reason: impl Into<String>) -> Status {
    bad_fields(vec![Violation { field: field.to_owned(), reason: reason.into() }])
}

/// PostgreSQL cannot compare with U+0000, and nothing of ours is named by it.
pub(super) fn refuse_nul(field: &str, text: &str) -> Result<(), Status> {
    if text.contains('\0') {
        return Err(bad_request(field, "holds U+0000; remove it"));
    }
    Ok(())
}

/// Fields that cannot be taken.
pub(super) fn bad_fields(violations: Vec<Violation>) -> Status {
    let message: Vec<String> =
        violations.iter().map(|v| format!("{} {}", v.field, v.reason)).collect();
    let fields: Vec<FieldViolation> =
        violations.into_iter().map(|v| FieldViolation::new(v.field, v.reason)).collect();
    let mut details = ErrorDetails::with_bad_request(fields);
    details.set_error_info("BAD_REQUEST", DOMAIN, HashMap::new());
    Status::with_error_details(Code::InvalidArgument, message.join("; "), details)
}

/// There is no such thing, or it is somebody else's.
pub(super) fn not_found(what: &str, name: &str) -> Status {
    let metadata = HashMap::from([(what.to_owned(), name.to_owned())]);
    with_reason(
        Code::NotFound,
        format!("there is no {what} {name:?}; list what there is"),
        "NOT_FOUND",
        metadata,
    )
}

/// The caller did not say who it is, or lied.
pub(super) fn unauthenticated(reason: &'static str) -> Status {
    let message = match reason {
        "TOKEN_MISSING" => {
            "send a token as `authorization: Bearer …`; an admin makes one with `apono-connector tokens create`"
        }
        "LOCAL_USER_DENIED" => {
            "the local socket serves root and the daemon's own user; use a token"
        }
        _ => "the token is unknown, revoked or expired; ask an admin for a new one",
    };
    with_reason(Code::Unauthenticated, message, reason, HashMap::new())
}

/// The caller's role is too small.
pub(super) fn role_denied(has: Role, needs: Role) -> Status {
    let metadata =
        HashMap::from([("has".into(), has.to_string()), ("needs".into(), needs.to_string())]);
    with_reason(
        Code::PermissionDenied,
        format!("a token with the role {has} may not do this; it needs {needs} or admin"),
        "ROLE_DENIED",
        metadata,
    )
}

/// No such method.
pub(super) fn unknown_method(path: &str) -> Status {
    with_reason(
        Code::NotFound,
        format!("there is no method {path}; reflection lists those that there are"),
        "NO_SUCH_METHOD",
        HashMap::new(),
    )
}

/// What was asked for is in the way of something else.
pub(super) fn already_exists(reason: &'static str, message: impl Into<String>) -> Status {
    with_reason(Code::AlreadyExists, message, reason, HashMap::new())
}

/// What a follower has missed is no longer known.
pub(super) fn cursor_too_old() -> Status {
    with_reason(
        Code::OutOfRange,
        "what has changed since this cursor is no longer known: it is too old, or the database was restored; drop the picture and watch again without a cursor",
        "CURSOR_TOO_OLD",
        HashMap::new(),
    )
}

/// No more can be followed at once.
pub(super) fn too_many_followers(most: usize) -> Status {
    with_reason(
        Code::ResourceExhausted,
        format!("this daemon serves {most} followers already; end one, or ask another replica"),
        "TOO_MANY_FOLLOWERS",
        HashMap::new(),
    )
}

/// Somebody else was faster.
pub(super) fn etag_is_old() -> Status {
    with_reason(
        Code::Aborted,
        "the integration has changed since its etag was read; read it again and repeat the change",
        "ETAG_MISMATCH",
        HashMap::new(),
    )
}

/// Something has to be done first.
pub(super) fn precondition(reason: &'static str, message: impl Into<String>) -> Status {
    with_reason(Code::FailedPrecondition, message, reason, HashMap::new())
}

/// Access is not granted: why, and what to do.
pub(super) fn refused(refusal: &Refusal, field: &str) -> Status {
    let mut metadata = HashMap::from([("remedy".to_owned(), refusal.code.remedy().to_owned())]);
    if !field.is_empty() {
        metadata.insert("field".to_owned(), field.to_owned());
    }
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let message = format!("{field}{refusal}");
    with_reason(Code::FailedPrecondition, message, refusal.code.as_str(), metadata)
}

/// Another request had the same id.
pub(super) fn grant_differs(id: &str, differences: &[Difference]) -> Status {
    let metadata = differences.iter().flat_map(|one| {
        [
            (format!("{}.there", one.field), one.there.clone()),
            (format!("{}.here", one.field), one.here.clone()),
        ]
    });
    let told: Vec<String> = differences
        .iter()
        .map(|one| format!("{} is {} there and {} here", one.field, one.there, one.here))
        .collect();
    let message = format!(
        "grant_id {id:?} is taken by another request: {}; use another id for other access, or Extend to move the end",
        told.join("; ")
    );
    with_reason(Code::AlreadyExists, message, "GRANT_DIFFERS", metadata.collect())
}

/// AWS does not allow it: each failed step with its remedy.
pub(super) fn validation_failed(steps: &[&Step]) -> Status {
    let mut details = ErrorDetails::new();
    for step in steps {
        details.add_precondition_failure_violation(&step.code, &step.finding, &step.remedy);
    }
    let code = steps.first().map_or("UNKNOWN", |step| &step.code);
    details.set_error_info(
        "VALIDATION_FAILED",
        DOMAIN,
        HashMap::from([("step".to_owned(), code.to_owned())]),
    );
    let message: Vec<String> =
        steps.iter().map(|s| format!("{}: {}. {}", s.code, s.finding, s.remedy)).collect();
    Status::with_error_details(Code::FailedPrecondition, message.join("; "), details)
}

/// The answer did not come in time.
pub(super) fn not_in_time(what: &str) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(5)));
    details.set_error_info("NOT_IN_TIME", DOMAIN, HashMap::new());
    Status::with_error_details(
        Code::DeadlineExceeded,
        format!("{what} did not end in time; nothing was stored, try again"),
        details,
    )
}

/// The database.
pub(super) fn store(failure: &store::Error) -> Status {
    error!(error = %Chain(failure), "a request failed in the database");
    let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    details.set_error_info("DATABASE_UNAVAILABLE", DOMAIN, HashMap::new());
    Status::with_error_details(
        Code::Unavailable,
        "the connector's database did not answer as it should; try again, and see the daemon's log",
        details,
    )
}

fn with_reason(
    code: Code,
    message: impl Into<String>,
    reason: &str,
    metadata: HashMap<String, String>,
) -> Status {
    Status::with_error_details(
        code,
        message,
        ErrorDetails::with_error_info(reason, DOMAIN, metadata),
    )
}
