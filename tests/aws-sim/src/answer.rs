//! Answers and refusals, in the protocol of each service.

use serde_json::{Value, json};

use crate::xml::Xml;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: String,
    /// Body.
    pub body: Vec<u8>,
    /// The error code, for the journal; empty: a success.
    pub code: String,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// A JSON answer.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::json_text(value.to_string())
    }

    /// A JSON answer that is written already.
    #[must_use]
    pub fn json_text(text: String) -> Self {
        Self {
            status: 200,
            content_type: "application/x-amz-json-1.1".to_owned(),
            body: text.into_bytes(),
            code: String::new(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn xml(xml: Xml) -> Self {
        Self {
            status: 200,
            content_type: "text/xml".to_owned(),
            body: xml.finish(),
            code: String::new(),
            headers: Vec::new(),
        }
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Code.
    pub code: String,
    /// Message.
    pub message: String,
    /// What a service that speaks JSON tells as the `Reason` beside it; empty: nothing.
    pub reason: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { status, code, message, reason: String::new() }
    }

    /// The same with a `Reason`.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Not allowed, in the words of the service.
    #[must_use]
    pub fn denied(service: &str, message: impl Into<String>) -> Self {
        match service {
            "ec2" => Self::new(403, "UnauthorizedOperation", message),
            "rds" | "s3" | "sts" | "iam" => Self::new(403, "AccessDenied", message),
            "sns" => Self::new(403, "AuthorizationError", message),
            "eks" | "lambda" => Self::new(403, "AccessDeniedException", message),
            _ => Self::new(400, "AccessDeniedException", message),
        }
    }

    /// Too fast, in the words of the service.
    #[must_use]
    pub fn throttled(service: &str) -> Self {
        match service {
            "ec2" => Self::new(503, "RequestLimitExceeded", "Request limit exceeded."),
            "s3" => Self::new(503, "SlowDown", "Please reduce your request rate."),
            "organizations" => Self::new(400, "TooManyRequestsException", "Too many requests"),
            "sts" | "iam" | "rds" | "sns" => Self::new(400, "Throttling", "Rate exceeded"),
            "eks" | "lambda" => Self::new(429, "TooManyRequestsException", "Rate Exceeded."),
            _ => Self::new(400, "ThrottlingException", "Rate exceeded"),
        }
    }

    /// The session has ended, in the words of the service.
    #[must_use]
    pub fn expired(service: &str) -> Self {
        const MESSAGE: &str = "The security token included in the request is expired";
        match service {
            "ec2" => Self::new(400, "RequestExpired", "Request has expired."),
            "s3" => Self::new(400, "ExpiredToken", "The provided token has expired."),
            "sts" | "iam" | "rds" | "sns" => Self::new(403, "ExpiredToken", MESSAGE),
            _ => Self::new(400, "ExpiredTokenException", MESSAGE),
        }
    }

    /// The key is not known, in the words of the service.
    #[must_use]
    pub fn unknown_key(service: &str) -> Self {
        const MESSAGE: &str = "The security token included in the request is invalid.";
        match service {
            "ec2" => Self::new(
                401,
                "AuthFailure",
                "AWS was not able to validate the provided access credentials",
            ),
            "s3" => Self::new(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
            ),
            "sts" | "iam" | "rds" | "sns" => Self::new(403, "InvalidClientTokenId", MESSAGE),
            _ => Self::new(400, "UnrecognizedClientException", MESSAGE),
        }
    }

    /// In the protocol of a service.
    #[must_use]
    pub fn answer(&self, service: &str) -> Answer {
        let mut xml = Xml::default();
        let body = match service {
            "ec2" => {
                xml.element("Response", |xml| {
                    xml.element("Errors", |xml| {
                        xml.element("Error", |xml| {
                            xml.text("Code", &self.code).text("Message", &self.message);
                        });
                    });
                    xml.text("RequestID", "req-sim");
                });
                xml.finish()
            }
            "s3" => {
                xml.element("Error", |xml| {
                    xml.text("Code", &self.code).text("Message", &self.message);
                });
                xml.finish()
            }
            "sts" | "iam" | "rds" | "sns" => {
                xml.element("ErrorResponse", |xml| {
                    xml.element("Error", |xml| {
                        xml.text("Type", "Sender")
                            .text("Code", &self.code)
                            .text("Message", &self.message);
                    });
                    xml.text("RequestId", "req-sim");
                });
                xml.finish()
            }
            _ => {
                let mut told = json!({ "__type": self.code, "message": self.message });
                if !self.reason.is_empty() {
                    told["Reason"] = json!(self.reason);
                }
                told.to_string().into_bytes()
            }
        };
        let content_type = match service {
            "ec2" | "s3" | "sts" | "iam" | "rds" | "sns" => "text/xml",
            _ => "application/x-amz-json-1.1",
        };
        Answer {
            status: self.status,
            content_type: content_type.to_owned(),
            body,
            code: self.code.clone(),
            headers: Vec::new(),
        }
    }
}
