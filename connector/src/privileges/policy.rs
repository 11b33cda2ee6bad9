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
    /// What they are allowed on.
    pub on: On,
    /// What must hold of a call.
    pub when: Vec<Condition>,
}

/// A condition of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// How it is tested: `StringEquals`.
    pub test: &'static str,
    /// The condition key.
    pub key: &'static str,
    /// What it is tested against.
    pub value: String,
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// Everything.
    Everything,
    /// Everything but these.
    AllBut(Vec<String>),
    /// These alone.
    Only(Vec<String>),
}

impl On {
    /// Whether resources are named as those that are not meant, and which are named.
    fn named(&self) -> (bool, Vec<&str>) {
        match self {
            Self::Everything => (false, vec!["*"]),
            Self::AllBut(arns) => (true, arns.iter().map(String::as_str).collect()),
            Self::Only(arns) => (false, arns.iter().map(String::as_str).collect()),
        }
    }
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
            for Statement { sid, actions, on, when } in statements {
                let _ = writeln!(policy, "    - Sid: {sid}\n      Effect: Allow\n      Action:");
                for action in actions {
                    let _ = writeln!(policy, "        - {action}");
                }
                let (is_not, arns) = on.named();
                policy.push_str(if is_not { "      NotResource:\n" } else { "      Resource:\n" });
                for arn in arns {
                    let _ = writeln!(policy, "        - \"{arn}\"");
                }
                if !when.is_empty() {
                    policy.push_str("      Condition:\n");
                }
                let mut tested = "";
                for Condition { test, key, value } in when {
                    if tested != *test {
                        tested = test;
                        let _ = writeln!(policy, "        {test}:");
                    }
                    let _ = writeln!(policy, "          {key}: \"{value}\"");
                }
            }
            policy
        }
        Format::Terraform => {
            let mut policy = "data \"aws_iam_policy_document\" \"apono_connector\" {\n".to_owned();
            for Statement { sid, actions, on, when } in statements {
                let _ = writeln!(policy, "  statement {{\n    sid = \"{sid}\"");
                let (is_not, arns) = on.named();
                let field = if is_not { "not_resources" } else { "resources" };
                let arns: Vec<String> = arns.iter().map(|arn| format!("\"{arn}\"")).collect();
                let _ = writeln!(policy, "    {field} = [{}]", arns.join(", "));
                policy.push_str("    actions = [\n");
                for action in actions {
                    let _ = writeln!(policy, "      \"{action}\",");
                }
                policy.push_str("    ]\n");
                for Condition { test, key, value } in when {
                    let _ = writeln!(
                        policy,
                        "    condition {{\n      test = \"{test}\"\n      variable = \"{key}\"\n      values = [\"{value}\"]\n    }}"
                    );
                }
                policy.push_str("  }\n");
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
    let (is_not, arns) = statement.on.named();
    let field = if is_not { "NotResource" } else { "Resource" };
    written.insert(field.to_owned(), json!(arns));
    if !statement.when.is_empty() {
        let mut conditions = json!({});
        for Condition { test, key, value } in &statement.when {
            conditions[test][key] = json!(value);
        }
        written.insert("Condition".to_owned(), conditions);
    }
    Value::Object(written)
}
