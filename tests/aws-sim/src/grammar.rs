//! What IAM refuses as a policy, before it asks what the policy says.
//!
//! Source: "Grammar of the IAM JSON policy language" in the IAM user guide, for policies of
//! identities.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What is wrong with a document; none: nothing.
#[must_use]
pub(crate) fn flaw(document: &str) -> Option<&'static str> {
    let Ok(Value::Object(document)) = serde_json::from_str(document) else {
        return Some("Syntax errors in policy.");
    };
    let is_known = |key: &String| matches!(key.as_str(), "Version" | "Id" | "Statement");
    if !document.keys().all(is_known) {
        return Some("Syntax errors in policy.");
    }
    let version = document.get("Version").map(|version| version.as_str().unwrap_or_default());
    if !matches!(version, None | Some("2012-10-17" | "2008-10-17")) {
        return Some("The policy must contain a valid version string");
    }
    let statements: Vec<&Value> = match document.get("Statement") {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    if statements.is_empty() {
        return Some("Policy must contain at least one statement");
    }
    let mut sids = BTreeSet::new();
    statements.into_iter().find_map(|statement| {
        let Some(statement) = statement.as_object() else {
            return Some("Syntax errors in policy.");
        };
        if let Some(sid) = statement.get("Sid").and_then(Value::as_str)
            && !sids.insert(sid.to_owned())
        {
            return Some("Statement IDs (SID) in a single policy must be unique.");
        }
        flaw_of_statement(statement)
    })
}

fn flaw_of_statement(statement: &Map<String, Value>) -> Option<&'static str> {
    const KEYS: [&str; 7] =
        ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    if statement.contains_key("Principal") || statement.contains_key("NotPrincipal") {
        return Some("Policy document should not specify a principal.");
    }
    if !statement.keys().all(|key| KEYS.contains(&key.as_str())) {
        return Some("Syntax errors in policy.");
    }
    let sid = statement.get("Sid").map(|sid| sid.as_str().unwrap_or("-"));
    if !sid.unwrap_or_default().chars().all(|c| c.is_ascii_alphanumeric()) {
        return Some("Statement IDs (SID) must be alpha-numeric.");
    }
    if !matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")) {
        return Some("Syntax errors in policy.");
    }
    let has_one = |one: &str, other: &str| match (statement.get(one), statement.get(other)) {
        (Some(named), None) | (None, Some(named)) => is_named(named),
        _ => false,
    };
    if !has_one("Action", "NotAction") {
        return Some("Policy statement must contain actions.");
    }
    if !has_one("Resource", "NotResource") {
        return Some("Policy statement must contain resources.");
    }
    None
}

/// A text, or some.
fn is_named(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_string),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// How many characters count against a quota: white space does not.
#[must_use]
pub(crate) fn characters(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_grammar_knows_is_a_policy() {
        let of =
            |statement: &str| format!("{{\"Version\":\"2012-10-17\",\"Statement\":{statement}}}");
        let whole = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Sid":"A1"}"#;
        for document in [of(whole), of(&format!("[{whole}]"))] {
            assert_eq!(flaw(&document), None, "{document}");
        }
        for document in [
            "no JSON".to_owned(),
            "{}".to_owned(),
            of("[]"),
            of("[1]"),
            of(&format!("[{whole},{whole}]")),
            of(&whole.replace("A1", "A-1")),
            of(&whole.replace("Allow", "allow")),
            of(&whole.replace("Action", "Actions")),
            of(&whole.replace("\"s3:*\"", "[]")),
            of(&whole.replace(",\"Resource\":\"*\"", "")),
            of(&whole.replace("Sid", "Principal")),
            of(whole).replace("2012-10-17", "2026-10-17"),
            of(whole).replace("Version", "Versions"),
        ] {
            assert!(flaw(&document).is_some(), "{document}");
        }
    }

    #[test]
    fn white_space_is_not_counted() {
        assert_eq!(characters("{ \"a\":\n\t1 }"), 7);
    }
}
