//! How somebody gets to a resource on which they are allowed something.

use crate::store::units::What;

/// A page of the console and a command. In both stand `{account}`, `{arn}`, `{id}` (the end of the
/// ARN), `{document}` (with which a session is opened), `{name}`, `{named}` (what stands behind the permission's id), `{region}` and `{user}` (the
/// id of who goes).
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The path of the page; empty: there is none.
    pub console: &'static str,
    /// A command of the AWS CLI; empty: there is none.
    pub command: &'static str,
}

impl Way {
    /// None in particular.
    pub(super) const NONE: Self = Self { console: "", command: "" };

    /// The URL of the page to what a unit is about.
    #[must_use]
    pub fn page(&self, what: &What, user: &str) -> Option<String> {
        let part = |at: usize| what.resource.split(':').nth(at).unwrap_or_default();
        let domain = match part(1) {
            "aws-us-gov" => "console.amazonaws-us-gov.com",
            "aws-cn" => "console.amazonaws.cn",
            _ => "console.aws.amazon.com",
        };
        let region = part(3);
        let dot = if region.is_empty() { "" } else { "." };
        let path = filled(self.console, what, user);
        (!path.is_empty()).then(|| format!("https://{region}{dot}{domain}/{path}"))
    }

    /// The command for what a unit is about.
    #[must_use]
    pub fn command(&self, what: &What, user: &str) -> String {
        filled(self.command, what, user)
    }
}

fn filled(template: &str, what: &What, user: &str) -> String {
    let named = what.permission.split_once('/').map(|(_, named)| named);
    let marks = [
        ("{account}", what.account.as_str()),
        ("{arn}", &what.resource),
        ("{document}", what.plan["sessions"]["document"].as_str().unwrap_or_default()),
        ("{id}", what.resource.rsplit([':', '/']).next().unwrap_or_default()),
        ("{name}", &what.resource_name),
        ("{named}", named.unwrap_or_default()),
        ("{region}", what.resource.split(':').nth(3).unwrap_or_default()),
        ("{user}", user),
    ];
    marks.iter().fold(template.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{self, COLLECTORS};

    fn what(kind: &str, arn: &str, name: &str, permission: &str) -> What {
        What {
            account: "111122223333".parse().expect("an account"),
            resource: arn.to_owned(),
            resource_type: kind.to_owned(),
            resource_name: name.to_owned(),
            permission: permission.to_owned(),
            mechanism: String::new(),
            plan: serde_json::Value::Null,
            session_seconds: 1,
        }
    }

    #[test]
    fn a_shell_is_opened_by_the_document_that_is_allowed() {
        let arn = "arn:aws-cn:ec2:cn-north-1:111122223333:instance/i-1";
        let plan = serde_json::json!({ "sessions": { "document": "apono-session-15" } });
        let what = What { plan, ..what("aws-ec2-instance", arn, "web", "CONNECT") };
        let way = catalog::way_in(&what);
        assert_eq!(
            way.command(&what, "u-1"),
            "aws ssm start-session --region cn-north-1 --target i-1 --document-name apono-session-15"
        );
        let page = "https://cn-north-1.console.amazonaws.cn/systems-manager/session-manager/i-1?region=cn-north-1";
        assert_eq!(way.page(&what, "u-1").as_deref(), Some(page));
    }

    #[test]
    fn every_mark_is_known() {
        let arn = "arn:aws:x:eu-west-1:111122223333:a/b";
        for kind in COLLECTORS.iter().flat_map(|collector| collector.types()) {
            for permission in kind.permissions {
                let what = what(kind.id, arn, "b", permission.id);
                let way = catalog::way_in(&what);
                let said = format!(
                    "{} {}",
                    way.page(&what, "u-1").unwrap_or_default(),
                    way.command(&what, "u-1")
                );
                assert!(!said.contains(['{', '}']), "{}: {said}", kind.id);
            }
        }
    }
}
