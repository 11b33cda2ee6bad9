//! What was done with a grant, for other tools: events of OCSF 1.3 (class API Activity) as JSON lines, or CSV.
//!
//! Source: the Open Cybersecurity Schema Framework, `api_activity`, and its mapping of CloudTrail.

use std::io;

use apono_connector_proto::v1::{AuditEvent, ListAuditEventsRequest};
use serde_json::{Value, json};

use super::{Api, certain};
use crate::cli::{
    connect::Client,
    output::{print, shown, time},
};

/// The class of what was done by an API, and its category.
const API_ACTIVITY: u32 = 6003;
const APPLICATION_ACTIVITY: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// JSON lines of the Open Cybersecurity Schema Framework.
    Ocsf,
    /// Comma-separated values, with a line of headings.
    Csv,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Export {
    /// Id of the grant.
    grant: String,
    /// How it is written.
    #[arg(long, value_enum, default_value = "ocsf")]
    form: Form,
}

impl Export {
    /// Writes page by page, the newest event first.
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut request = ListAuditEventsRequest {
            connector_id: client.connector_id.clone(),
            grant_id: self.grant,
            page_size: 500,
            ..Default::default()
        };
        let mut api = Api::new(client.way.clone());
        let mut csv = csv::Writer::from_writer(io::stdout());
        if self.form == Form::Csv {
            csv.write_record(HEADINGS)?;
        }
        loop {
            let page = api.list_audit_events(request.clone()).await?.into_inner();
            for event in &page.events {
                match self.form {
                    Form::Ocsf => print(&ocsf(event).to_string()),
                    Form::Csv => {
                        csv.write_record(row(event).each_ref().map(|value| harmless(value)))?;
                    }
                }
            }
            csv.flush()?;
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            request.page_token = page.next_page_token;
        }
    }
}

const HEADINGS: [&str; 16] = [
    "time",
    "id",
    "account",
    "region",
    "service",
    "call",
    "read_only",
    "error",
    "resources",
    "source_address",
    "user_agent",
    "session",
    "role_id",
    "access_key",
    "grants",
    "certain",
];

fn row(event: &AuditEvent) -> [String; 16] {
    [
        time(event.event_time.as_ref()),
        event.id.clone(),
        event.account_id.clone(),
        event.region.clone(),
        event.service.clone(),
        event.name.clone(),
        event.read_only.to_string(),
        event.error_code.clone(),
        event.resources.join(" "),
        event.source_address.clone(),
        event.user_agent.clone(),
        event.session_name.clone(),
        event.role_id.clone(),
        event.access_key_id.clone(),
        event.grant_ids.join(" "),
        certain(event),
    ]
}

/// A spreadsheet takes what begins so for a formula, and callers choose what their programs are called.
fn harmless(value: &str) -> String {
    let value = shown(value);
    if value.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{value}") } else { value }
}

/// What a call did, in the words of OCSF, by its name as far as that tells.
fn activity(event: &AuditEvent) -> (u32, &'static str) {
    let begins = |verbs: &[&str]| verbs.iter().any(|verb| event.name.starts_with(verb));
    if event.read_only {
        (2, "Read")
    } else if begins(&["Create", "Run"]) {
        (1, "Create")
    } else if begins(&["Delete", "Terminate"]) {
        (4, "Delete")
    } else if begins(&["Modify", "Put", "Update"]) {
        (3, "Update")
    } else {
        (99, "Other")
    }
}

fn ocsf(event: &AuditEvent) -> Value {
    let (activity_id, activity_name) = activity(event);
    let failed = !event.error_code.is_empty();
    let millis = |time: Option<&prost_types::Timestamp>| {
        time.map_or(0, |time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
    };
    let resources: Vec<Value> = event.resources.iter().map(|arn| json!({ "uid": arn })).collect();
    let mut written = json!({
        "category_uid": APPLICATION_ACTIVITY,
        "class_uid": API_ACTIVITY,
        "class_name": "API Activity",
        "activity_id": activity_id,
        "activity_name": activity_name,
        "type_uid": API_ACTIVITY * 100 + activity_id,
        "severity_id": 1,
        "severity": "Informational",
        "time": millis(event.event_time.as_ref()),
        "status_id": if failed { 2 } else { 1 },
        "status": if failed { "Failure" } else { "Success" },
        "metadata": {
            "version": "1.3.0",
            "uid": event.id,
            "profiles": ["cloud"],
            "log_provider": event.source,
            "product": { "name": "CloudTrail", "vendor_name": "AWS" },
        },
        "api": { "operation": event.name, "service": { "name": event.service } },
        "actor": {
            "user": {
                "type": "AssumedRole",
                "name": event.session_name,
                "uid": format!("{}:{}", event.role_id, event.session_name),
                "credential_uid": event.access_key_id,
                "account": { "uid": event.account_id },
            },
            "session": { "created_time": millis(event.session_create_time.as_ref()) },
        },
        "cloud": {
            "provider": "AWS",
            "region": event.region,
            "account": { "uid": event.account_id },
        },
        "resources": resources,
        "http_request": { "user_agent": event.user_agent },
        "unmapped": { "grants": event.grant_ids, "certain": certain(event) },
        "raw_data": event.record,
    });
    // A service that has called for somebody stands where the address does.
    let is_address = event.source_address.parse::<std::net::IpAddr>().is_ok();
    let field = if is_address { "ip" } else { "domain" };
    if !event.source_address.is_empty() {
        written["src_endpoint"] = json!({ field: event.source_address });
    }
    if failed {
        written["status_code"] = json!(event.error_code);
        written["api"]["response"] = json!({ "error": event.error_code });
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AuditEvent {
        AuditEvent {
            id: "e".to_owned(),
            event_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            service: "s3.amazonaws.com".to_owned(),
            name: "PutBucketPolicy".to_owned(),
            error_code: "AccessDenied".to_owned(),
            source_address: "198.51.100.7".to_owned(),
            user_agent: "a,\"b\"".to_owned(),
            session_name: "ann".to_owned(),
            role_id: "AROA1".to_owned(),
            grant_ids: vec!["g1".to_owned(), "g2".to_owned()],
            ambiguity: 1,
            ..AuditEvent::default()
        }
    }

    #[test]
    fn an_event_is_told_in_the_words_of_ocsf() {
        let told = ocsf(&event());
        assert_eq!(
            (told["type_uid"].as_u64(), told["status_id"].as_u64()),
            (Some(600_303), Some(2))
        );
        assert_eq!(told["time"], 1_800_000_000_000_i64);
        assert_eq!(told["actor"]["user"]["uid"], "AROA1:ann");
        assert_eq!(told["src_endpoint"], json!({ "ip": "198.51.100.7" }));
        assert_eq!(told["unmapped"]["certain"], "several grants");
        let by_service = AuditEvent {
            source_address: "cloudformation.amazonaws.com".to_owned(),
            error_code: String::new(),
            read_only: true,
            ..event()
        };
        let told = ocsf(&by_service);
        assert_eq!(told["src_endpoint"], json!({ "domain": "cloudformation.amazonaws.com" }));
        assert_eq!(
            (told["type_uid"].as_u64(), told["status"].as_str()),
            (Some(600_302), Some("Success"))
        );
        assert_eq!(told.get("status_code"), None);
    }

    #[test]
    fn calls_are_sorted_by_their_verb() {
        for (name, id) in
            [("RunInstances", 1), ("DeleteBucket", 4), ("UpdateItem", 3), ("StartInstances", 99)]
        {
            assert_eq!(activity(&AuditEvent { name: name.to_owned(), ..event() }).0, id, "{name}");
        }
    }

    #[test]
    fn no_value_is_a_formula() {
        assert_eq!(harmless("=cmd()"), "'=cmd()");
        assert_eq!(harmless("aws-cli"), "aws-cli");
    }

    #[test]
    fn a_row_has_a_value_for_each_heading() {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(row(&event()).each_ref().map(|value| harmless(value))).expect("a row");
        let text = String::from_utf8(csv.into_inner().expect("bytes")).expect("text");
        assert!(text.contains(r#""a,""b""""#), "{text}");
        assert!(text.trim_end().ends_with("g1 g2,several grants"), "{text}");
    }
}
