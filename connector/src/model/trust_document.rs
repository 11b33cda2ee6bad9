//! The trust policy of a role, into which statements are put beside those that stand there, each with
//! an end of its own. Every other statement stays as it was.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{policy_document::name_of, statement::Operator};

/// Characters of a trust policy, white space not counted, unless AWS has raised the quota.
/// Source: "IAM and AWS STS quotas" in the IAM user guide.
pub const CHARACTERS_MAX: usize = 2048;

/// What a trust policy allows.
pub const ASSUME: &str = "sts:AssumeRole";

/// A statement that lets one person in.
///
/// The principal is the account, narrowed by the ARN of the role that Identity Center makes for the
/// person's permission set: a role that is named itself is stored as its id, and is not let in any more when
/// it is made anew under another one. Source: "Referencing permission sets in resource policies" in the user
/// guide of IAM Identity Center.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name: letters and digits.
    pub sid: String,
    /// What ARNs of IAM begin with in the account: `arn:…:iam::111122223333`.
    pub account: String,
    /// The person's permission set.
    pub set: String,
    /// The name of their sessions.
    pub session: String,
}

impl Entry {
    /// The name of the statement of a unit that these words name together.
    #[must_use]
    pub fn sid_of(unit: &[&str]) -> String {
        format!("ap{}", name_of(unit))
    }

    /// As it stands in a policy.
    #[must_use]
    pub fn statement(&self, until: DateTime<Utc>) -> Value {
        let Self { sid, account, set, session } = self;
        let roles = "role/aws-reserved/sso.amazonaws.com";
        let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
        json!({
            "Sid": sid,
            "Effect": "Allow",
            "Principal": { "AWS": format!("{account}:root") },
            "Action": ASSUME,
            "Condition": {
                "ArnLike": {
                    "aws:PrincipalArn": format!("{account}:{roles}/*AWSReservedSSO_{set}_*"),
                },
                Operator::StringEquals.as_str(): { "sts:RoleSessionName": session },
                Operator::DateLessThan.as_str(): { "aws:CurrentTime": until },
            },
        })
    }
}

/// Whether two statements say the same: IAM may give a list of one without brackets, or with them.
#[must_use]
pub fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
        }
        (one, other) => one_or_many(one) == one_or_many(other),
    }
}

/// The statement of a name; none: it is not there.
#[must_use]
pub fn find<'a>(document: &'a Value, sid: &str) -> Option<&'a Value> {
    statements(document).into_iter().find(|statement| statement["Sid"] == sid)
}

/// When a statement ends.
#[must_use]
pub fn end(statement: &Value) -> Option<DateTime<Utc>> {
    let end =
        statement["Condition"][Operator::DateLessThan.as_str()]["aws:CurrentTime"].as_str()?;
    DateTime::parse_from_rfc3339(end).ok().map(|end| end.to_utc())
}

/// Whether the policy leaves it to the account who assumes the role: whoever the account's own
/// policies allow that may do so. The account is told by what ARNs of IAM begin with there.
#[must_use]
pub fn admits_account(document: &Value, account: &str) -> bool {
    let (root, id) = (format!("{account}:root"), account.rsplit(':').next().unwrap_or_default());
    let denies = |statement: &&Value| statement["Effect"] != "Allow";
    let admits = |statement: &&Value| {
        statement["Effect"] == "Allow"
            && statement.get("Condition").is_none()
            && names(&statement["Action"], ACTIONS)
            && names(&statement["Principal"]["AWS"], &[&root, id])
    };
    let all = statements(document);
    all.iter().copied().any(|one| admits(&one)) && !all.iter().copied().any(|one| denies(&one))
}

/// Whether the policy lets nobody in, whatever else it says.
#[must_use]
pub fn denies_all(document: &Value) -> bool {
    let denies = |statement: &Value| {
        statement["Effect"] == "Deny"
            && statement.get("Condition").is_none()
            && names(&statement["Action"], ACTIONS)
            && (names(&statement["Principal"], &["*"])
                || names(&statement["Principal"]["AWS"], &["*"]))
    };
    statements(document).into_iter().any(denies)
}

/// What stands for assuming a role.
const ACTIONS: &[&str] = &[ASSUME, "sts:*", "*"];

/// Whether one of these is named.
fn names(value: &Value, wanted: &[&str]) -> bool {
    one_or_many(value).into_iter().filter_map(Value::as_str).any(|one| wanted.contains(&one))
}

/// The same policy with a statement, in the place of the one of its name if that is there.
#[must_use]
pub fn with(document: &Value, statement: &Value) -> Value {
    changed(document, statement["Sid"].as_str().unwrap_or_default(), Some(statement.clone()))
}

/// The same policy without the statement of a name.
#[must_use]
pub fn without(document: &Value, sid: &str) -> Value {
    changed(document, sid, None)
}

fn changed(document: &Value, sid: &str, statement: Option<Value>) -> Value {
    let others = statements(document).into_iter().filter(|one| one["Sid"] != sid).cloned();
    let mut changed = document.clone();
    changed["Statement"] = others.chain(statement).collect();
    changed
}

/// Principals that are not there any more: AWS shows their ids, and takes no policy that names them.
#[must_use]
pub fn dead_principals(document: &Value) -> Vec<String> {
    let named =
        statements(document).into_iter().flat_map(|one| one_or_many(&one["Principal"]["AWS"]));
    let is_id = |text: &str| {
        ["AROA", "AIDA"].iter().any(|prefix| text.starts_with(prefix))
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    named.filter_map(Value::as_str).filter(|text| is_id(text)).map(str::to_owned).collect()
}

fn statements(document: &Value) -> Vec<&Value> {
    one_or_many(&document["Statement"])
}

/// IAM lets a list of one be written without brackets; what is absent is none.
fn one_or_many(value: &Value) -> Vec<&Value> {
    if let Value::Array(items) = value {
        return items.iter().collect();
    }
    Some(value).filter(|one| !one.is_null()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "arn:aws:iam::111122223333";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    fn entry(sid: &str) -> Entry {
        Entry {
            sid: sid.to_owned(),
            account: ACCOUNT.to_owned(),
            set: "apono-ann".to_owned(),
            session: "9067642ac7-1".to_owned(),
        }
    }

    /// A policy as somebody has written it, with one statement and no brackets.
    fn theirs() -> Value {
        json!({
            "Version": "2012-10-17",
            "Id": "theirs",
            "Statement": {
                "Effect": "Allow",
                "Principal": { "Service": "ec2.amazonaws.com" },
                "Action": ASSUME,
            },
        })
    }

    #[test]
    fn a_statement_lets_one_set_in_under_one_name_until_its_end() {
        let statement = entry("ap1").statement(at(0));
        assert_eq!(
            statement,
            json!({
                "Sid": "ap1",
                "Effect": "Allow",
                "Principal": { "AWS": "arn:aws:iam::111122223333:root" },
                "Action": "sts:AssumeRole",
                "Condition": {
                    "ArnLike": {
                        "aws:PrincipalArn": "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/*AWSReservedSSO_apono-ann_*",
                    },
                    "StringEquals": { "sts:RoleSessionName": "9067642ac7-1" },
                    "DateLessThan": { "aws:CurrentTime": "2027-01-15T08:00:00Z" },
                },
            })
        );
        assert_eq!(end(&statement), Some(at(0)));
    }

    #[test]
    fn a_statement_is_the_same_with_brackets_or_without() {
        let statement = entry("ap1").statement(at(0));
        let mut bracketed = statement.clone();
        bracketed["Action"] = json!([ASSUME]);
        bracketed["Principal"]["AWS"] = json!([format!("{ACCOUNT}:root")]);
        assert!(is_same(&statement, &bracketed) && is_same(&bracketed, &statement));
        assert!(!is_same(&statement, &entry("ap1").statement(at(1))));
        bracketed["Action"] = json!([ASSUME, "sts:TagSession"]);
        assert!(!is_same(&statement, &bracketed));
        bracketed.as_object_mut().expect("a statement").remove("Condition");
        assert!(!is_same(&statement, &bracketed));
    }

    #[test]
    fn every_other_statement_stays() {
        let both =
            with(&with(&theirs(), &entry("ap1").statement(at(0))), &entry("ap2").statement(at(0)));
        assert_eq!(both["Statement"][0], theirs()["Statement"]);
        let longer = with(&both, &entry("ap1").statement(at(10)));
        assert_eq!(find(&longer, "ap1").and_then(end), Some(at(10)));
        assert_eq!(longer["Statement"].as_array().map(Vec::len), Some(3));
        let left = without(&without(&longer, "ap1"), "ap2");
        assert_eq!(left["Statement"], json!([theirs()["Statement"]]));
        assert_eq!(left["Id"], "theirs");
        assert_eq!(without(&left, "ap1"), left);
    }

    #[test]
    fn an_account_is_let_in_without_conditions_or_not() {
        let admits = |statements: Value| {
            let document = json!({ "Statement": statements });
            admits_account(&document, ACCOUNT)
        };
        let root = json!({
            "Effect": "Allow",
            "Principal": { "AWS": ["arn:aws:iam::111122223333:root"] },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        });
        assert!(admits(root.clone()));
        assert!(admits(json!([theirs()["Statement"], root])));
        let deny = json!({ "Effect": "Deny", "Principal": "*", "Action": ASSUME });
        assert!(!admits(json!([root, deny])), "whom it denies is not looked at");
        let denies = |statement: &Value| denies_all(&json!({ "Statement": [root, statement] }));
        let mut at_times = deny.clone();
        at_times["Condition"] = json!({ "Bool": { "aws:MultiFactorAuthPresent": "false" } });
        assert!(denies(&deny) && !denies(&at_times) && !denies(&root));
        for (field, value) in [
            ("Condition", json!({ "Bool": { "aws:MultiFactorAuthPresent": "true" } })),
            ("Principal", json!({ "AWS": "arn:aws:iam::444455556666:root" })),
            ("Principal", json!({ "Service": "111122223333" })),
            ("Action", json!("sts:TagSession")),
        ] {
            let mut other = root.clone();
            other[field] = value.clone();
            assert!(!admits(other), "{field} {value}");
        }
    }

    #[test]
    fn principals_that_are_gone_are_told_by_their_ids() {
        let document = json!({ "Statement": [
            { "Principal": { "AWS": ["AROAEXAMPLE1", "arn:aws:iam::111122223333:role/AROAx"] } },
            { "Principal": { "AWS": "AIDAEXAMPLE2" } },
            { "Principal": "*" },
        ] });
        assert_eq!(dead_principals(&document), ["AROAEXAMPLE1", "AIDAEXAMPLE2"]);
        assert!(dead_principals(&theirs()).is_empty());
    }
}
