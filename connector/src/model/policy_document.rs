//! A policy that units share: each puts statements in, and each statement ends with its own unit, at
//! its second, whoever else is there, and whether or not anybody takes it out.

use chrono::{DateTime, SecondsFormat, Utc};
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::statement::{Operator, Statement};

/// Characters of a managed policy, white space not counted.
/// Source: "IAM and AWS STS quotas" in the IAM user guide.
pub const CHARACTERS_MAX: usize = 6144;

/// The condition key of the time of a request.
const NOW: &str = "aws:CurrentTime";

/// What a unit puts in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// What the names of its statements begin with: letters and digits.
    pub sid: String,
    /// What it allows.
    pub statements: Vec<Statement>,
}

impl Share {
    /// The share of the unit that these words name together.
    #[must_use]
    pub fn new(unit: &[&str], statements: Vec<Statement>) -> Self {
        Self { sid: format!("ap{}", name_of(unit)), statements }
    }

    fn written(&self, until: DateTime<Utc>) -> impl Iterator<Item = Value> + '_ {
        let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
        self.statements.iter().enumerate().map(move |(number, statement)| {
            let mut conditions = Map::new();
            let mut must = |operator: Operator, key: &str, values: Value| {
                let keys = conditions.entry(operator.as_str()).or_insert_with(|| json!({}));
                assert!(keys[key].is_null(), "a second {} of {key} is lost", operator.as_str());
                keys[key] = values;
            };
            for condition in &statement.conditions {
                must(condition.operator, &condition.key, json!(condition.values));
            }
            must(Operator::DateLessThan, NOW, json!(until));
            json!({
                "Sid": format!("{}{number}", self.sid),
                "Effect": "Allow",
                "Action": statement.actions,
                "Resource": statement.resources,
                "Condition": conditions,
            })
        })
    }
}

/// A name of twenty-six letters and digits, by 130 bits of a hash, of what these words name together.
#[must_use]
pub fn name_of(words: &[&str]) -> String {
    let hash = Sha256::digest(words.join("\0"));
    let mut name = BASE32_NOPAD.encode(&hash).to_ascii_lowercase();
    name.truncate(26);
    name
}

/// The policy of these shares, each until its end. One that nobody shares allows what needs no
/// permission.
#[must_use]
pub fn document<'a>(shares: impl IntoIterator<Item = (&'a Share, DateTime<Utc>)>) -> Value {
    let mut shares: Vec<_> = shares.into_iter().collect();
    shares.sort_by(|(one, _), (other, _)| one.sid.cmp(&other.sid));
    let mut statements: Vec<Value> =
        shares.iter().flat_map(|(share, until)| share.written(*until)).collect();
    if statements.is_empty() {
        statements.push(json!({
            "Sid": "apNothing",
            "Effect": "Allow",
            "Action": "sts:GetCallerIdentity",
            "Resource": "*",
        }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Whether a policy holds a share until its end.
#[must_use]
pub fn holds(document: &Value, share: &Share, until: DateTime<Utc>) -> bool {
    share.written(until).all(|one| statements(document).any(|found| *found == one))
}

/// Whether a policy allows nothing any more but what these shares do: everything else in it has ended.
#[must_use]
pub fn holds_only<'a>(
    document: &Value,
    shares: impl IntoIterator<Item = (&'a Share, DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> bool {
    let wanted = self::document(shares);
    let has_ended = |found: &Value| {
        let end = found["Condition"][Operator::DateLessThan.as_str()][NOW].as_str();
        let end = end.and_then(|end| DateTime::parse_from_rfc3339(end).ok());
        found["Effect"] == "Allow" && end.is_some_and(|end| end <= now)
    };
    document["Version"] == wanted["Version"]
        && document["Statement"].is_array()
        && statements(document)
            .all(|found| has_ended(found) || statements(&wanted).any(|one| one == found))
}

fn statements(document: &Value) -> impl Iterator<Item = &Value> {
    document["Statement"].as_array().into_iter().flatten()
}

/// How many characters of a policy count.
#[must_use]
pub fn characters(document: &Value) -> usize {
    document.to_string().chars().filter(|one| !one.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::statement::allow;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    fn share(unit: &str) -> Share {
        let statement = allow(&["s3:GetObject"]).on([format!("arn:aws:s3:::{unit}/*")]).when(
            Operator::StringEquals,
            "aws:ResourceAccount",
            ["111122223333"],
        );
        Share::new(&["connector", unit, "0"], vec![statement])
    }

    #[test]
    fn each_statement_has_its_own_name_and_end() {
        let share = share("logs");
        let written = document([(&share, at(10) + chrono::TimeDelta::milliseconds(900))]);
        let statement = &written["Statement"][0];
        let sid = statement["Sid"].as_str().expect("a Sid");
        assert!(sid.starts_with("ap") && sid.chars().all(|one| one.is_ascii_alphanumeric()));
        assert_eq!(
            statement["Condition"],
            json!({
                "StringEquals": { "aws:ResourceAccount": ["111122223333"] },
                "DateLessThan": { "aws:CurrentTime": "2027-01-15T08:00:10Z" },
            })
        );
        assert_ne!(share.sid, self::share("other").sid);
    }

    #[test]
    fn a_policy_is_current_when_all_shares_are_in_and_all_else_has_ended() {
        let (one, other) = (share("one"), share("other"));
        let both = document([(&one, at(10)), (&other, at(20))]);
        assert_eq!(both, document([(&other, at(20)), (&one, at(10))]), "in whichever order");
        assert!(holds(&both, &one, at(10)) && !holds(&both, &one, at(11)));
        assert!(!holds_only(&both, [(&other, at(20))], at(9)), "the other is not over");
        assert!(holds_only(&both, [(&other, at(20))], at(10)));
        assert!(holds_only(&both, [], at(20)));
        assert!(holds_only(&document([]), [], at(0)));
        assert!(!holds_only(&json!("nonsense"), [], at(0)));
        let mut denies = both.clone();
        denies["Statement"][0]["Effect"] = json!("Deny");
        assert!(!holds_only(&denies, [(&other, at(20))], at(30)), "a denial is not ours");
    }

    #[test]
    fn white_space_does_not_count() {
        let document = json!({ "Statement": "a b" });
        assert_eq!(characters(&document), r#"{"Statement":"ab"}"#.len());
    }
}
