//! What AWS answers to calls that change something.

use std::error::Error as StdError;

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use serde_json::{Value, json};

use crate::aws::ApiError;

/// What AWS has answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The id of the request.
    pub request: String,
    /// What it has told of the object that others need, if it has.
    pub facts: Option<Value>,
}

impl Answer {
    /// Of a call that was accepted.
    pub(super) fn of<T, E>(
        action: &'static str,
        answer: Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<Self, ApiError>
    where
        T: RequestId,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let done = answer.map_err(|error| ApiError::of(action, &error))?;
        Ok(Self::under(done.request_id()))
    }

    /// Of a removal that was accepted, or that did not find what is gone, which AWS tells by this code.
    pub(super) fn of_removal<T, E>(
        action: &'static str,
        gone: &str,
        answer: Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<Self, ApiError>
    where
        T: RequestId,
        E: ProvideErrorMetadata + StdError + 'static,
        SdkError<E, HttpResponse>: RequestId,
    {
        let request = answer.as_ref().err().and_then(RequestId::request_id).map(str::to_owned);
        match Self::of(action, answer) {
            Err(error) if error.code.as_deref() == Some(gone) => {
                Ok(Self::under(request.as_deref()))
            }
            done => done,
        }
    }

    /// Of a removal that AWS refuses for good, of what has ended by itself. It is remembered as left.
    pub(super) fn left(error: &ApiError) -> Self {
        let request = format!("left, since it has ended: {error}");
        Self { request, facts: Some(json!({ "is_left": true })) }
    }

    /// The same with facts.
    pub(super) fn telling(self, facts: Value) -> Self {
        Self { facts: Some(facts), ..self }
    }

    fn under(request: Option<&str>) -> Self {
        request.unwrap_or("without an id").to_owned().into()
    }
}

impl From<String> for Answer {
    fn from(request: String) -> Self {
        Self { request, facts: None }
    }
}
