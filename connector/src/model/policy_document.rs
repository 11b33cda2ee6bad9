//! A policy that units share: each puts statements in, and each statement ends with its own unit, at
//! its second, whoever else is there, and whether or not anybody takes it out.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::statement::{Condition, Operator, Statement};

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
}

/// What statements have in common that are written as one: all but the resources.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Alike<'a> {
    until: String,
    actions: &'a [String],
    conditions: &'a [Condition],
}

impl<'a> Alike<'a> {
    fn of(statement: &'a Statement, until: DateTime<Utc>) -> Self {
        let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self { until, actions: &statement.actions, conditions: &statement.conditions }
    }

    /// Their conditions, with the end.
    fn conditions(&self) -> Value {
        let mut conditions = Map::new();
        let mut must = |operator: Operator, key: &str, values: Value| {
            let keys = conditions.entry(operator.as_str()).or_insert_with(|| json!({}));
            assert!(keys[key].is_null(), "a second {} of {key} is lost", operator.as_str());
            keys[key] = values;
        };
        for condition in self.conditions {
            must(condition.operator, &condition.key, bare(&condition.values));
        }
        must(Operator::DateLessThan, NOW, json!(self.until));
        Value::Object(conditions)
    }

    /// Them as one, on these resources, with a name of its own where they are several.
    fn written(&self, names: &BTreeSet<String>, resources: BTreeSet<String>) -> Value {
        let mut several = names.iter().map(String::as_str);
        let sid = match (several.next(), several.len()) {
            (Some(only), 0) => only.to_owned(),
            _ => format!("ap{}", name_of(&names.iter().map(String::as_str).collect::<Vec<_>>())),
        };
        json!({
            "Sid": sid,
            "Effect": "Allow",
            "Action": bare(self.actions),
            "Resource": bare(&resources.into_iter().collect::<Vec<_>>()),
            "Condition": self.conditions(),
        })
    }
}

/// A list; one alone without brackets, since characters count.
fn bare(values: &[String]) -> Value {
    if let [only] = values { json!(only) } else { json!(values) }
}

/// A name of twenty-six letters and digits, by 130 bits of a hash, of what these words name together.
#[must_use]
pub fn name_of(words: &[&str]) -> String {
    let hash = Sha256::digest(words.join("\0"));
    let mut name = BASE32_NOPAD.encode(&hash).to_ascii_lowercase();
    name.truncate(26);
    name
}

/// The policy of these shares, each until its end; what differs in resources alone is one statement, since
/// characters count. One that nobody shares allows what needs no permission.
#[must_use]
pub fn document<'a>(shares: impl IntoIterator<Item = (&'a Share, DateTime<Utc>)>) -> Value {
    let mut merged: BTreeMap<Alike<'_>, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for (share, until) in shares {
        for (number, statement) in share.statements.iter().enumerate() {
            let (names, resources) = merged.entry(Alike::of(statement, until)).or_default();
            names.insert(format!("{}{number}", share.sid));
            resources.extend(statement.resources.iter().cloned());
        }
    }
    let merged = merged.into_iter();
    let mut statements: Vec<Value> =
        merged.map(|(alike, (names, resources))| alike.written(&names, resources)).collect();
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

/// Whether a policy allows now what a share does, until whichever end.
#[must_use]
pub fn allows(document: &Value, share: &Share, now: DateTime<Utc>) -> bool {
    let ends: BTreeSet<DateTime<Utc>> =
        statements(document).filter_map(end).filter(|end| *end > now).collect();
    ends.into_iter().any(|end| holds(document, share, end))
}

/// Whether a policy allows what these shares do until their ends, and nothing else: all else in it
/// has ended.
#[must_use]
pub fn is_current<'a>(
    document: &Value,
    shares: impl IntoIterator<Item = (&'a Share, DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> bool {
    let shares: Vec<_> = shares.into_iter().collect();
    let wanted = self::document(shares.iter().copied());
    let is_inert =
        |found: &Value| found["Effect"] == "Allow" && end(found).is_some_and(|end| end <= now);
    let is_meant = |found: &Value| statements(&wanted).any(|one| one == found) || is_inert(found);
    document["Version"] == wanted["Version"]
        && document["Statement"].is_array()
        && statements(document).all(is_meant)
        && shares.iter().all(|(share, until)| holds(document, share, *until))
}

fn holds(document: &Value, share: &Share, until: DateTime<Utc>) -> bool {
    share.statements.iter().all(|statement| {
        let alike = Alike::of(statement, until);
        let (actions, conditions) = (bare(alike.actions), alike.conditions());
        let is_it = |found: &Value| {
            let on = |resource: &String| {
                let several = found["Resource"].as_array().map(Vec::as_slice);
                let several = several.unwrap_or(std::slice::from_ref(&found["Resource"]));
                several.iter().any(|one| one == resource)
            };
            found["Effect"] == "Allow"
                && found["Action"] == actions
                && found["Condition"] == conditions
                && statement.resources.iter().all(on)
        };
        statements(document).any(is_it)
    })
}

/// The end of a statement.
fn end(statement: &Value) -> Option<DateTime<Utc>> {
    let end = statement["Condition"][Operator::DateLessThan.as_str()][NOW].as_str()?;
    DateTime::parse_from_rfc3339(end).ok().map(|end| end.to_utc())
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
                "StringEquals": { "aws:ResourceAccount": "111122223333" },
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
        assert!(is_current(&both, [(&one, at(10)), (&other, at(20))], at(9)));
        assert!(!is_current(&both, [(&other, at(20))], at(9)), "the other is not over");
        assert!(is_current(&both, [(&other, at(20))], at(10)));
        assert!(is_current(&both, [], at(20)));
        assert!(is_current(&document([]), [], at(0)));
        assert!(!is_current(&document([]), [(&one, at(10))], at(0)));
        assert!(!is_current(&json!("nonsense"), [], at(0)));
        let mut denies = both.clone();
        denies["Statement"][0]["Effect"] = json!("Deny");
        assert!(!is_current(&denies, [(&other, at(20))], at(30)), "a denial is not ours");
    }

    #[test]
    fn what_differs_in_resources_alone_is_one_statement() {
        let (one, other, later) = (share("one"), share("other"), share("later"));
        let merged = document([(&one, at(10)), (&other, at(10)), (&later, at(20))]);
        let statements = merged["Statement"].as_array().expect("statements");
        assert_eq!(statements.len(), 2);
        assert_eq!(
            statements[0]["Resource"],
            json!(["arn:aws:s3:::one/*", "arn:aws:s3:::other/*"])
        );
        assert_ne!(statements[0]["Sid"], statements[1]["Sid"]);
        let all = [(&one, at(10)), (&other, at(10)), (&later, at(20))];
        assert!(is_current(&merged, all, at(9)));
        assert!(allows(&merged, &one, at(9)) && !allows(&merged, &one, at(10)));
        assert!(!is_current(&merged, [(&one, at(10)), (&later, at(20))], at(9)), "one is over");
        let left = document([(&one, at(10))]);
        assert!(allows(&left, &one, at(9)) && !allows(&left, &other, at(9)));
        let buckets: Vec<Share> =
            (0..50).map(|number| share(&format!("bucket-{number}"))).collect();
        let many = document(buckets.iter().map(|share| (share, at(10))));
        assert!(characters(&many) < CHARACTERS_MAX);
    }

    #[test]
    fn what_is_extended_is_allowed_until_its_old_end() {
        let share = share("one");
        let written = document([(&share, at(10))]);
        assert!(!is_current(&written, [(&share, at(20))], at(5)));
        assert!(allows(&written, &share, at(5)));
        assert!(!allows(&written, &share, at(10)));
        assert!(!allows(&written, &self::share("other"), at(5)));
    }

    #[test]
    fn white_space_does_not_count() {
        let document = json!({ "Statement": "a b" });
        assert_eq!(characters(&document), r#"{"Statement":"ab"}"#.len());
    }
}
