//! A record of CloudTrail, as far as it tells what somebody did with a role of IAM Identity Center.
//!
//! Records are written by AWS and hold what its callers chose: every text is cut to a length, and what
//! is not there is empty. Sources: the user guide of CloudTrail, "CloudTrail record contents" and
//! "CloudTrail userIdentity element".

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::text::storable_json;

/// The longest text that is kept of a field.
const TEXT_MAX: usize = 1024;
/// Resources that are kept of a record.
const RESOURCES_MAX: usize = 50;
/// Texts among the parameters of a call that are looked at.
const MENTIONS_MAX: usize = 500;
/// What the roles of Identity Center are called.
const RESERVED: &str = "AWSReservedSSO_";
/// Behind the name of the permission set: an underscore and hexadecimal digits.
const SUFFIX: usize = 16;

/// What was done, and with which session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Id of the event.
    pub id: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Account that received the call.
    pub account: String,
    /// Region.
    pub region: String,
    /// Service: `s3.amazonaws.com`.
    pub service: String,
    /// Name of the event: most times that of the operation.
    pub name: String,
    /// Whether it changed nothing.
    pub is_read_only: bool,
    /// Why it failed; empty: it did not.
    pub error_code: String,
    /// Address that it came from, or the service that made it.
    pub address: String,
    /// Program that made it.
    pub agent: String,
    /// ARNs of what it was done to, as far as they are told.
    pub resources: Vec<String>,
    /// Whatever its parameters name.
    pub mentions: BTreeSet<String>,
    /// The session.
    pub session: Session,
}

/// A session of a role: what tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Account of the role.
    pub account: String,
    /// Name of the role.
    pub role_name: String,
    /// Id of the role, which no role had before.
    pub role_id: String,
    /// Name of the session: that of the user.
    pub name: String,
    /// When it was made, to the second.
    pub created_at: DateTime<Utc>,
    /// Access key.
    pub access_key: String,
}

impl Session {
    /// Whether the role is that of a permission set.
    #[must_use]
    pub fn is_of(&self, set: &str) -> bool {
        is_role_of(&self.role_name, set)
    }
}

/// Whether a role is one that Identity Center has made for a permission set of a name.
#[must_use]
pub fn is_role_of(role: &str, set: &str) -> bool {
    let suffix = role
        .strip_prefix(RESERVED)
        .and_then(|rest| rest.strip_prefix(set))
        .and_then(|rest| rest.strip_prefix('_'));
    suffix.is_some_and(|hex| hex.len() == SUFFIX && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether the text of a record may tell of a session of a role of Identity Center: only what is written in
/// escapes is not seen at once.
#[must_use]
pub fn may_be_of_identity_center(text: &str) -> bool {
    text.contains(RESERVED) || text.contains("\\u")
}

/// A record cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("a record of CloudTrail cannot be understood: {0}")]
pub struct Malformed(String);

/// What is not needed to know whose it is may be written in any way: no call is lost for it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(rename = "eventID")]
    event_id: String,
    event_time: DateTime<Utc>,
    #[serde(default)]
    recipient_account_id: Value,
    #[serde(default)]
    aws_region: Value,
    event_source: String,
    event_name: String,
    #[serde(default)]
    read_only: Value,
    #[serde(default)]
    error_code: Value,
    #[serde(rename = "sourceIPAddress", default)]
    source_ip_address: Value,
    #[serde(default)]
    user_agent: Value,
    #[serde(default)]
    resources: Value,
    #[serde(default)]
    request_parameters: Value,
    #[serde(default)]
    user_identity: Option<Identity>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    principal_id: Option<String>,
    #[serde(default)]
    access_key_id: Option<String>,
    #[serde(default)]
    session_context: Option<Context>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    #[serde(default)]
    session_issuer: Option<Issuer>,
    #[serde(default)]
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issuer {
    #[serde(default)]
    principal_id: String,
    #[serde(default)]
    account_id: String,
    #[serde(default)]
    user_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[serde(default)]
    creation_date: Option<String>,
}

/// A time as records have it; the user guide also shows it without dashes and colons.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let short = || NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok();
    text.parse().ok().or_else(|| short().map(|time| time.and_utc()))
}

impl Record {
    /// Reads a record; none: it is not of a session of a role that Identity Center has made.
    ///
    /// # Errors
    ///
    /// When it is no record.
    pub fn parse(text: &str) -> Result<Option<Self>, Malformed> {
        let text = storable_json(text.as_bytes());
        let written: Written =
            serde_json::from_slice(&text).map_err(|error| Malformed(error.to_string()))?;
        let Some(session) = written.user_identity.map(session).transpose()?.flatten() else {
            return Ok(None);
        };
        let named = written.resources.as_array().into_iter().flatten();
        let arns = named.filter_map(|one| one["ARN"].as_str()).take(RESOURCES_MAX);
        let resources: Vec<String> = arns.map(|arn| cut(arn.to_owned())).collect();
        let mut mentions: BTreeSet<String> = resources.iter().cloned().collect();
        mention(&written.request_parameters, &mut mentions);
        Ok(Some(Self {
            id: cut(written.event_id),
            at: written.event_time,
            account: text_of(written.recipient_account_id),
            region: text_of(written.aws_region),
            service: cut(written.event_source),
            name: cut(written.event_name),
            is_read_only: written.read_only == Value::Bool(true),
            error_code: text_of(written.error_code),
            address: text_of(written.source_ip_address),
            agent: text_of(written.user_agent),
            resources,
            mentions,
            session,
        }))
    }

    /// The IAM action that the call took, where it is called like the event: most are.
    #[must_use]
    pub fn action(&self) -> String {
        let service = self.service.split('.').next().unwrap_or_default();
        format!("{service}:{}", self.name)
    }
}

fn session(identity: Identity) -> Result<Option<Session>, Malformed> {
    let Some((issuer, name, key, created)) = of_identity_center(identity) else { return Ok(None) };
    let created_at = time(&created)
        .ok_or_else(|| Malformed(format!("{:?} is no time", cut(created.clone()))))?;
    Ok(Some(Session {
        account: cut(issuer.account_id),
        role_name: cut(issuer.user_name),
        role_id: cut(issuer.principal_id),
        name: cut(name),
        created_at,
        access_key: cut(key),
    }))
}

/// The role, the name of the session, its access key, and when it was made; none: it is another one.
fn of_identity_center(identity: Identity) -> Option<(Issuer, String, String, String)> {
    if identity.kind != "AssumedRole" {
        return None;
    }
    let context = identity.session_context?;
    let issuer = context.session_issuer.filter(|issuer| issuer.user_name.starts_with(RESERVED))?;
    let principal = identity.principal_id?;
    // The id of the role, a colon, and the name of the session, in which there is none.
    let name = principal.strip_prefix(&issuer.principal_id)?.strip_prefix(':')?.to_owned();
    let is_whole = !issuer.principal_id.is_empty() && !name.is_empty();
    let created = context.attributes?.creation_date?;
    is_whole.then(|| (issuer, name, identity.access_key_id.unwrap_or_default(), created))
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => cut(text),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            cut(other.to_string())
        }
    }
}

/// Collects texts, wherever they stand.
fn mention(value: &Value, mentions: &mut BTreeSet<String>) {
    if mentions.len() >= MENTIONS_MAX {
        return;
    }
    match value {
        Value::String(text) if text.len() <= TEXT_MAX => {
            mentions.insert(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| mention(value, mentions)),
        Value::Object(fields) => fields.values().for_each(|value| mention(value, mentions)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written() -> Value {
        json!({
            "eventVersion": "1.11",
            "userIdentity": {
                "type": "AssumedRole",
                "principalId": "AROA1:ann@example.com",
                "arn": "arn:aws:sts::222222222222:assumed-role/AWSReservedSSO_A_0123456789abcdef/ann@example.com",
                "accountId": "222222222222",
                "accessKeyId": "ASIA1",
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role",
                        "principalId": "AROA1",
                        "arn": "arn:aws:iam::222222222222:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_A_0123456789abcdef",
                        "accountId": "222222222222",
                        "userName": "AWSReservedSSO_A_0123456789abcdef",
                    },
                    "attributes": { "creationDate": "2026-11-29T08:00:00Z", "mfaAuthenticated": "false" },
                },
            },
            "eventTime": "2026-11-29T08:01:02Z",
            "eventSource": "ec2.amazonaws.com",
            "eventName": "StartInstances",
            "awsRegion": "eu-west-1",
            "sourceIPAddress": "198.51.100.7",
            "userAgent": "aws-cli/2",
            "requestParameters": { "instancesSet": { "items": [{ "instanceId": "i-1" }] } },
            "responseElements": null,
            "requestID": "r",
            "eventID": "e",
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": "222222222222",
            "eventCategory": "Management",
        })
    }

    fn parsed(written: &Value) -> Option<Record> {
        Record::parse(&written.to_string()).expect("a record")
    }

    #[test]
    fn it_tells_what_was_done_and_with_which_session() {
        let record = parsed(&written()).expect("a session");
        assert_eq!(record.action(), "ec2:StartInstances");
        assert_eq!(
            (record.session.role_id.as_str(), record.session.name.as_str()),
            ("AROA1", "ann@example.com")
        );
        assert_eq!(record.session.created_at.to_rfc3339(), "2026-11-29T08:00:00+00:00");
        assert!(record.mentions.contains("i-1"));
        assert_eq!(record.error_code, "");
    }

    /// The examples of AWS's documentation: of the user guides of CloudTrail, IAM Identity Center and Systems
    /// Manager, with a role of Identity Center where ours would have one. Fuzzing begins with them, too.
    #[test]
    fn the_examples_of_the_documentation_are_understood() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/record");
        let (mut ours, mut others) = (0, 0);
        for file in std::fs::read_dir(folder).expect("a corpus") {
            let path = file.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a record");
            if name.starts_with("ours_") {
                let record = Record::parse(&text).expect("a record").expect(&name);
                assert_eq!(record.session.role_id, "AROAIDPPEZS35WEXAMPLE", "{name}");
                assert_eq!(record.session.name, "ann@example.com", "{name}");
                assert!(may_be_of_identity_center(&text), "{name}");
                ours += 1;
            } else if name.starts_with("other_") {
                assert_eq!(Record::parse(&text).expect("a record"), None, "{name}");
                others += 1;
            }
        }
        assert!(ours >= 6 && others >= 6, "{ours} {others}");
    }

    #[test]
    fn what_is_written_otherwise_costs_no_call() {
        let mut odd = written();
        for field in ["readOnly", "errorCode", "sourceIPAddress", "userAgent", "resources"] {
            odd[field] = json!({ "of": ["another", "kind"] });
        }
        let record = parsed(&odd).expect("a session");
        assert_eq!(record.error_code, r#"{"of":["another","kind"]}"#);
        assert!(!record.is_read_only && record.resources.is_empty());
        odd["userIdentity"]["sessionContext"]["attributes"]["creationDate"] =
            json!("20261129T080000Z");
        let record = parsed(&odd).expect("a session");
        assert_eq!(record.session.created_at.to_rfc3339(), "2026-11-29T08:00:00+00:00");
    }

    #[test]
    fn a_role_is_that_of_a_set_by_its_whole_name() {
        let role = "AWSReservedSSO_Admin_0123456789abcdef";
        assert!(is_role_of(role, "Admin"));
        for set in ["Adm", "Admin_", "dmin", "", "Admin_0123456789abcdef"] {
            assert!(!is_role_of(role, set), "{set}");
        }
        assert!(!is_role_of("AWSReservedSSO_Admin_0123456789abcdeg", "Admin"));
        assert!(!is_role_of("AWSReservedSSO_Admin_Ops_0123456789abcdef", "Admin"));
        assert!(is_role_of("AWSReservedSSO_Admin_Ops_0123456789abcdef", "Admin_Ops"));
    }

    #[test]
    fn whoever_else_did_something_is_passed_over() {
        for (path, value) in [
            ("/userIdentity/type", json!("IAMUser")),
            ("/userIdentity/sessionContext/sessionIssuer/userName", json!("deploy")),
            ("/userIdentity/principalId", json!("AROA12:ann")),
            ("/userIdentity/sessionContext", Value::Null),
            ("/userIdentity", Value::Null),
        ] {
            let mut other = written();
            *other.pointer_mut(path).expect("a field") = value;
            assert_eq!(parsed(&other), None, "{path}");
        }
    }

    #[test]
    fn hostile_texts_are_cut_and_can_be_stored() {
        let mut hostile = written();
        hostile["userAgent"] = json!("é".repeat(TEXT_MAX));
        hostile["errorCode"] = json!("a\u{0}b");
        hostile["requestParameters"] =
            json!((0..2 * MENTIONS_MAX).map(|n| n.to_string()).collect::<Vec<_>>());
        let record = parsed(&hostile).expect("a session");
        assert_eq!(record.agent.len(), TEXT_MAX);
        assert!(!record.error_code.contains('\0') && !record.error_code.is_empty());
        assert_eq!(record.mentions.len(), MENTIONS_MAX);
        for nonsense in ["", "{", "[]", "{\"eventID\":1}", "null"] {
            assert!(Record::parse(nonsense).is_err(), "{nonsense}");
        }
    }
}
