//! A role's policy by itself, for those who make roles in their own way.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::json;

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

/// The policy that allows these actions.
///
/// # Panics
///
/// Never: texts can be written as JSON.
#[must_use]
pub fn write(actions: &BTreeSet<&str>, format: Format) -> String {
    let mut policy = String::new();
    match format {
        Format::Json => {
            let document = json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Sid": "Discovery",
                    "Effect": "Allow",
                    "Action": actions,
                    "Resource": "*",
                }],
            });
            policy = serde_json::to_string_pretty(&document).expect("texts are JSON");
            policy.push('\n');
        }
        Format::CloudFormation => {
            policy.push_str(
                "PolicyName: discovery\nPolicyDocument:\n  Version: \"2012-10-17\"\n  Statement:\n    - Sid: Discovery\n      Effect: Allow\n      Action:\n",
            );
            for action in actions {
                let _ = writeln!(policy, "        - {action}");
            }
            policy.push_str("      Resource: \"*\"\n");
        }
        Format::Terraform => {
            policy.push_str(
                "data \"aws_iam_policy_document\" \"apono_connector\" {\n  statement {\n    sid       = \"Discovery\"\n    effect    = \"Allow\"\n    resources = [\"*\"]\n    actions = [\n",
            );
            for action in actions {
                let _ = writeln!(policy, "      \"{action}\",");
            }
            policy.push_str("    ]\n  }\n}\n");
        }
    }
    policy
}
