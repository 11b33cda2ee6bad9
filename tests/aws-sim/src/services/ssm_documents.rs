//! Systems Manager: session documents of accounts are made, read and removed.
//!
//! Sources: the API reference of Systems Manager (`CreateDocument`, `DescribeDocument`, `GetDocument`,
//! `UpdateDocumentDefaultVersion`, `DeleteDocument`), and the quotas of Systems Manager.

use serde_json::{Value, json};

use super::{tags, unknown};
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    shell::SessionDocument,
    world::World,
};

/// Documents of an account in a region.
const DOCUMENTS_MAX: usize = 500;
/// What names may not begin with.
const RESERVED: [&str; 4] = ["aws", "amazon", "amzn", "ssm-"];

/// Whether a call is about documents.
pub(super) fn is_about(call: &Call) -> bool {
    matches!(
        call.operation.as_str(),
        "CreateDocument"
            | "DeleteDocument"
            | "DescribeDocument"
            | "GetDocument"
            | "UpdateDocumentDefaultVersion"
    )
}

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = call.text("Name");
    let key = (call.region.clone(), name.to_owned());
    if call.operation == "CreateDocument" {
        return create(world, session, call);
    }
    let account = world.accounts.get_mut(&session.account);
    let mut documents = account.map(|account| &mut account.session_documents);
    let Some(document) = documents.as_mut().and_then(|documents| documents.get_mut(&key)) else {
        return Err(Refusal::new(
            400,
            "InvalidDocument",
            format!("Document with name {name} does not exist."),
        ));
    };
    match call.operation.as_str() {
        "DescribeDocument" => {
            let tags: Vec<Value> = document
                .tags
                .iter()
                .map(|(key, value)| json!({ "Key": key.lossy(), "Value": value.lossy() }))
                .collect();
            let mut told = description(name, document);
            told["Tags"] = json!(tags);
            Ok(Answer::json(&json!({ "Document": told })))
        }
        "GetDocument" => Ok(Answer::json(&json!({
            "Name": name,
            "DocumentVersion": document.default_version.to_string(),
            "Status": "Active",
            "Content": document.content(),
            "DocumentType": "Session",
            "DocumentFormat": "JSON",
        }))),
        "UpdateDocumentDefaultVersion" => {
            let version = call.text("DocumentVersion").parse().ok();
            let version = version.filter(|one| (1..=document.versions.len()).contains(one));
            document.default_version = version.ok_or_else(|| {
                Refusal::new(400, "InvalidDocumentVersion", "The document version is not valid.")
            })?;
            let told = json!({ "Name": name, "DefaultVersion": call.text("DocumentVersion") });
            Ok(Answer::json(&json!({ "Description": told })))
        }
        "DeleteDocument" => {
            if let Some(documents) = documents {
                documents.remove(&key);
            }
            Ok(Answer::json(&json!({})))
        }
        _ => Err(unknown(call)),
    }
}

fn description(name: &str, document: &SessionDocument) -> Value {
    json!({
        "Name": name,
        "DocumentVersion": document.versions.len().to_string(),
        "LatestVersion": document.versions.len().to_string(),
        "DefaultVersion": document.default_version.to_string(),
        "Status": "Active",
        "DocumentType": "Session",
        "DocumentFormat": "JSON",
    })
}

fn create(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = call.text("Name");
    let is_named = |one: char| one.is_ascii_alphanumeric() || "_-.".contains(one);
    let lower = name.to_lowercase();
    if !(3..=128).contains(&name.len())
        || !name.chars().all(is_named)
        || RESERVED.iter().any(|reserved| lower.starts_with(reserved))
    {
        return Err(Refusal::new(400, "ValidationException", "Name: not a name of a document"));
    }
    let Ok(content) = serde_json::from_str::<Value>(call.text("Content")) else {
        return Err(Refusal::new(400, "InvalidDocumentContent", "The content is not JSON."));
    };
    let longest = &content["inputs"]["maxSessionDuration"];
    let minutes = longest.as_str().and_then(|minutes| minutes.parse::<u16>().ok());
    if call.text("DocumentType") != "Session"
        || content["schemaVersion"] != "1.0"
        || content["sessionType"] != "Standard_Stream"
        || !(longest.is_null() || minutes.is_some_and(|minutes| (1..=1440).contains(&minutes)))
    {
        return Err(Refusal::new(400, "InvalidDocumentContent", "It is no session document."));
    }
    let Some(account) = world.accounts.get_mut(&session.account) else {
        return Err(Refusal::new(400, "InternalServerError", "no such account"));
    };
    let documents = &mut account.session_documents;
    let key = (call.region.clone(), name.to_owned());
    if documents.contains_key(&key) {
        let words = format!("Document with same name {name} already exists");
        return Err(Refusal::new(400, "DocumentAlreadyExists", words));
    }
    if documents.keys().filter(|(region, _)| *region == call.region).count() >= DOCUMENTS_MAX {
        return Err(Refusal::new(
            400,
            "DocumentLimitExceeded",
            "You can have at most 500 documents",
        ));
    }
    let mut document = SessionDocument::saying(&content);
    tags::put(&mut document.tags, call);
    let told = description(name, &document);
    documents.insert(key, document);
    Ok(Answer::json(&json!({ "DocumentDescription": told })))
}
