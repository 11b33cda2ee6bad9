//! The simulator before another emulator: it judges trust, permissions and faults,
//! keeps the journal, and hands everything that the other one can do to it.
//!
//! `AssumeRole` is judged here and then carried out there, because the other emulator
//! finds a caller's account by the key that it made itself.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use chrono::TimeDelta;
use http::{Request, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use crate::{
    Shared,
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    services,
    text::Text,
};

/// The way to the other emulator.
#[derive(Clone, Debug)]
pub struct Gate {
    emulator: SocketAddr,
    /// Boundaries of permission sets, by the sets' ARNs.
    boundaries: Arc<Mutex<HashMap<String, Value>>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What the other emulator lacks and is answered here.
const OURS: [&str; 3] =
    ["ssm:DescribeInstanceInformation", "iam:SimulatePrincipalPolicy", "sts:GetCallerIdentity"];

/// Whether the other emulator answers a call.
pub(crate) fn forwards(call: &Call) -> bool {
    !OURS.contains(&call.action().as_str())
}

impl Gate {
    /// A gate before an emulator.
    #[must_use]
    pub fn new(emulator: SocketAddr) -> Self {
        let boundaries = Arc::default();
        Self { emulator, boundaries, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Answers a call by the other emulator.
    pub(crate) async fn forward(
        &self,
        shared: &Shared,
        session: &Session,
        call: &Call,
        parts: &Parts,
        body: Bytes,
    ) -> Answer {
        if call.action() == "sts:AssumeRole"
            && let Err(refusal) = services::sts::judge(&shared.world(), session, call)
        {
            return refusal.answer("sts");
        }
        if let Some(answer) = self.kept(shared, call) {
            return answer;
        }
        if let Some(list) = lists_of_requests(&call.action()) {
            return Answer::json(&json!({ list: [] }));
        }
        let answer = match self.send(parts, body).await {
            Ok(answer) => answer,
            Err(error) => {
                return Refusal::new(502, "BadGateway", error.to_string()).answer(&call.service);
            }
        };
        if answer.status == 200 {
            match call.action().as_str() {
                "sts:AssumeRole" => remember(shared, session, call, &answer),
                "iam:CreatePolicy" | "sso:CreatePermissionSet" => tag(shared, call, &answer),
                _ => {}
            }
        }
        answer
    }

    /// What the other emulator does not keep of permission sets: tags and boundaries.
    fn kept(&self, shared: &Shared, call: &Call) -> Option<Answer> {
        let set = call.text("PermissionSetArn");
        let mut boundaries = self.boundaries.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match call.action().as_str() {
            "sso:ListTagsForResource" => {
                let world = shared.world();
                let tags = world.tags_elsewhere.get(call.text("ResourceArn"));
                let tags = tags
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| json!({ "Key": key.lossy(), "Value": value.lossy() }));
                json!({ "Tags": tags.collect::<Vec<_>>() })
            }
            "sso:PutPermissionsBoundaryToPermissionSet" => {
                boundaries.insert(set.to_owned(), call.json["PermissionsBoundary"].clone());
                json!({})
            }
            "sso:GetPermissionsBoundaryForPermissionSet" => {
                let Some(boundary) = boundaries.get(set) else {
                    let none = Refusal::new(400, "ResourceNotFoundException", "no boundary");
                    return Some(none.answer("sso"));
                };
                json!({ "PermissionsBoundary": boundary })
            }
            _ => return None,
        };
        Some(Answer::json(&answer))
    }

    async fn send(&self, parts: &Parts, body: Bytes) -> anyhow::Result<Answer> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(parts.method.clone())
            .uri(format!("http://{}{path}", self.emulator))
            .body(Full::new(body))?;
        *request.headers_mut() = parts.headers.clone();
        let (parts, body) = self.client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        let content_type = parts.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let code = if parts.status.is_success() { "" } else { parts.status.as_str() };
        Ok(Answer {
            status: parts.status.as_u16(),
            content_type: content_type.to_owned(),
            body,
            code: code.to_owned(),
            headers: Vec::new(),
        })
    }
}

/// The lists of requests under way, which the other emulator lacks: there, all is done at once.
fn lists_of_requests(action: &str) -> Option<&'static str> {
    match action {
        "sso:ListAccountAssignmentCreationStatus" => Some("AccountAssignmentsCreationStatus"),
        "sso:ListAccountAssignmentDeletionStatus" => Some("AccountAssignmentsDeletionStatus"),
        _ => None,
    }
}

/// The tags that something was made with, by which the connector's rights are judged.
fn tag(shared: &Shared, call: &Call, answer: &Answer) {
    let text = String::from_utf8_lossy(&answer.body);
    let behind = |mark: &str, end| text.split(mark).nth(1)?.split(end).next().map(str::to_owned);
    let in_json = || {
        text.parse::<Value>().ok()?["PermissionSet"]["PermissionSetArn"].as_str().map(str::to_owned)
    };
    if let Some(arn) = behind("<Arn>", "</Arn>").or_else(in_json) {
        let tags = services::tags::given(call).into_iter();
        let tags = tags.map(|(key, value)| (Text::from(&key), Text::from(&value))).collect();
        shared.world().tags_elsewhere.insert(arn, tags);
    }
}

/// The key that the other emulator made stands for the role that was judged here.
fn remember(shared: &Shared, caller: &Session, call: &Call, answer: &Answer) {
    let text = String::from_utf8_lossy(&answer.body);
    let between = |open: &str, close: &str| {
        text.split(open).nth(1).and_then(|rest| rest.split(close).next()).map(str::to_owned)
    };
    let Some(key) = between("<AccessKeyId>", "</AccessKeyId>") else {
        return;
    };
    let mut world = shared.world();
    let expires = world.clock.now() + TimeDelta::hours(1);
    let session = services::sts::session(caller, call, expires);
    world.sessions.insert(key, session);
}
