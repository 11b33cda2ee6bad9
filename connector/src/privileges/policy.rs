//! A role's policy by itself, for those who make roles in their own way.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::{Map, Value, json};

/// How a policy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A policy document.
    Json,
    /// An entry of `Policies` of an `AWS::IAM::Role`.
    CloudFormation,
    /// A data source `aws_iam_policy_document`.
    Terraform,
}

/// What a policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its name.
    pub sid: String,
    /// The actions.
    pub actions: BTreeSet<&'static str>,
    /// On everything but this; none: on everything.
    pub all_but: Option<String>,
}

/// The policy that holds these statements.
///
/// # Panics
///
/// Never: texts can be written as JSON.
#[must_use]
pub fn write(statements: &[Statement], format: Format) -> String {
    match format {
        Format::Json => {
            let document = json!({
                "Version": "2012-10-17",
                "Statement": statements.iter().map(as_json).collect::<Vec<_>>(),
            });
            serde_json::to_string_pretty(&document).expect("texts are JSON") + "\n"
        }
        Format::CloudFormation => {
            let head = "PolicyName: apono-connector\nPolicyDocument:\n  Version: \"2012-10-17\"\n  Statement:\n";
            let mut policy = head.to_owned();
            for Statement { sid, actions, all_but } in statements {
                let _ = writeln!(policy, "    - Sid: {sid}\n      Effect: Allow\n      Action:");
                for action in actions {
                    let _ = writeln!(policy, "        - {action}");
                }
                match all_but {
                    None => policy.push_str("      Resource: \"*\"\n"),
                    Some(arn) => {
                        let _ = writeln!(policy, "      NotResource: \"{arn}\"");
                    }
                }
            }
            policy
        }
        Format::Terraform => {
            let mut policy = "data \"aws_iam_policy_document\" \"apono_connector\" {\n".to_owned();
            for Statement { sid, actions, all_but } in statements {
                let _ = writeln!(policy, "  statement {{\n    sid = \"{sid}\"");
                match all_but {
                    None => policy.push_str("    resources = [\"*\"]\n"),
                    Some(arn) => {
                        let _ = writeln!(policy, "    not_resources = [\"{arn}\"]");
                    }
                }
                policy.push_str("    actions = [\n");
                for action in actions {
                    let _ = writeln!(policy, "      \"{action}\",");
                }
                policy.push_str("    ]\n  }\n");
            }
            policy.push_str("}\n");
            policy
        }
    }
}

fn as_json(statement: &Statement) -> Value {
    let mut written = Map::new();
    written.insert("Sid".to_owned(), json!(statement.sid));
    written.insert("Effect".to_owned(), json!("Allow"));
    written.insert("Action".to_owned(), json!(statement.actions));
    match &statement.all_but {
        None => written.insert("Resource".to_owned(), json!("*")),
        Some(arn) => written.insert("NotResource".to_owned(), json!(arn)),
    };
    Value::Object(written)
}
