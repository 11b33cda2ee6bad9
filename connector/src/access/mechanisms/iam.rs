//! What objects of IAM share: IAM shows a change a little later than it was made, and what it shows are
//! documents, percent-encoded.

use aws_sdk_iam::config::{Builder, retry::RetryConfig};
use chrono::TimeDelta;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::{aws::ApiError, model::failure::Failure};

/// How IAM says that something is not there.
pub(super) const GONE: &str = "NoSuchEntity";
/// Path of the policies that the connector makes.
pub(super) const PATH: &str = "/apono/";
/// What was changed shows by then.
pub(super) const SHOWS_WITHIN: TimeDelta = TimeDelta::seconds(15);

/// A second attempt in the SDK would meet what the first has made, or undo what came since.
pub(super) fn once() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

/// A document, as IAM gives it.
pub(super) fn document(encoded: Option<&str>) -> serde_json::Result<Value> {
    serde_json::from_str(&percent_decode_str(encoded.unwrap_or_default()).decode_utf8_lossy())
}

/// What IAM says to a change while it shows something late, or while another change is under way: it is
/// looked at again.
pub(super) fn passing(error: ApiError, codes: &[&str]) -> ApiError {
    let passes = error.code.as_deref().is_some_and(|code| codes.contains(&code));
    if passes { ApiError { failure: Failure::Retry { after: None }, ..error } } else { error }
}
