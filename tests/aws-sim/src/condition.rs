//! Conditions of identity policies, and what they are judged by.
//!
//! An operator or a form that is not known here has no outcome: it holds for a deny, and does not
//! for an allow. Sources: "IAM JSON policy elements: Condition operators" and "Set operators for
//! multi-valued context keys" in the IAM user guide.

use std::{cmp::Ordering, collections::BTreeMap};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::pattern::{Pattern, Scope, literal};

/// Values by condition key, whose letter case does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// The values of a key; none: it is not there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }

    /// The same, where a key has one value.
    #[must_use]
    pub fn with(self, key: &str, value: impl Into<String>) -> Self {
        self.with_all(key, [value])
    }

    /// The same, where a key has these values.
    #[must_use]
    pub fn with_all(
        mut self,
        key: &str,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.0.insert(key.to_ascii_lowercase(), values.into_iter().map(Into::into).collect());
        self
    }

    /// The same, and what another one tells: of keys that both have, the other's values.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().map(|(key, values)| (key.clone(), values.clone())));
        self
    }
}

/// Whether a condition holds, each of its operators for each of its keys; none: that cannot be
/// said.
pub(crate) fn holds(condition: Option<&Value>, scope: Scope<'_>) -> Option<bool> {
    let Some(condition) = condition else { return Some(true) };
    let mut so_far = Some(true);
    for (operator, keys) in condition.as_object()? {
        let Some(keys) = keys.as_object() else {
            so_far = None;
            continue;
        };
        for (key, wanted) in keys {
            match test(operator, key, wanted, scope) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => so_far = None,
            }
        }
    }
    so_far
}

/// How a key's values count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    One,
    All,
    Any,
}

/// One operator, one key.
fn test(operator: &str, key: &str, wanted: &Value, scope: Scope<'_>) -> Option<bool> {
    let wanted = texts(wanted)?;
    let given = scope.context.get(key);
    if operator == "Null" {
        let [wanted] = wanted.as_slice() else { return None };
        return Some(given.is_none() == wanted.parse::<bool>().ok()?);
    }
    let (quantifier, operator) = match operator.split_once(':') {
        Some(("ForAllValues", rest)) => (Quantifier::All, rest),
        Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
        Some(_) => return None,
        None => (Quantifier::One, operator),
    };
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let (kind, is_negated) = kind(operator)?;
    let Some(given) = given else {
        return Some(match quantifier {
            Quantifier::One => if_exists || is_negated,
            Quantifier::All => true,
            Quantifier::Any => if_exists,
        });
    };
    if quantifier == Quantifier::One && given.len() != 1 {
        return None;
    }
    let mut outcomes = given.iter().map(|value| any(kind, is_negated, &wanted, value, scope));
    match quantifier {
        Quantifier::One | Quantifier::All => {
            outcomes.try_fold(true, |so_far, one| Some(so_far && one?))
        }
        Quantifier::Any => outcomes.try_fold(false, |so_far, one| Some(so_far || one?)),
    }
}

/// Whether a value is one of those that are wanted, or none of them. A variable that stands for
/// nothing is no value, and with a negated operator nothing is other than it.
fn any(
    kind: Kind,
    is_negated: bool,
    wanted: &[String],
    given: &str,
    scope: Scope<'_>,
) -> Option<bool> {
    let mut found = false;
    for wanted in wanted {
        match kind.compare(wanted, given, scope)? {
            Compared::Unknown if is_negated => return Some(false),
            Compared::Unknown | Compared::Other => {}
            Compared::Same => found = true,
        }
    }
    Some(found != is_negated)
}

/// What an operator compares.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Like,
    Arn,
    Date(&'static [Ordering]),
    Number(&'static [Ordering]),
    Bool,
}

enum Compared {
    Same,
    Other,
    /// A variable stands for nothing.
    Unknown,
}

/// The kind of an operator, and whether it is negated; none: it is not known.
fn kind(operator: &str) -> Option<(Kind, bool)> {
    const LESS: &[Ordering] = &[Ordering::Less];
    const LESS_OR_EQUAL: &[Ordering] = &[Ordering::Less, Ordering::Equal];
    const GREATER: &[Ordering] = &[Ordering::Greater];
    const GREATER_OR_EQUAL: &[Ordering] = &[Ordering::Greater, Ordering::Equal];
    Some(match operator {
        "StringEquals" => (Kind::Text, false),
        "StringNotEquals" => (Kind::Text, true),
        "StringLike" => (Kind::Like, false),
        "StringNotLike" => (Kind::Like, true),
        "ArnEquals" | "ArnLike" => (Kind::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Kind::Arn, true),
        "DateLessThan" => (Kind::Date(LESS), false),
        "DateLessThanEquals" => (Kind::Date(LESS_OR_EQUAL), false),
        "DateGreaterThan" => (Kind::Date(GREATER), false),
        "DateGreaterThanEquals" => (Kind::Date(GREATER_OR_EQUAL), false),
        "NumericLessThanEquals" => (Kind::Number(LESS_OR_EQUAL), false),
        "Bool" => (Kind::Bool, false),
        _ => return None,
    })
}

impl Kind {
    /// Compares what is wanted with what is there; none: they are not of this kind.
    fn compare(self, wanted: &str, given: &str, scope: Scope<'_>) -> Option<Compared> {
        let is_same = match self {
            Self::Like => Pattern::read(wanted, scope).map(|wanted| wanted.matches(given)),
            Self::Arn => Pattern::read(wanted, scope).map(|wanted| wanted.matches_arn(given)),
            Self::Text | Self::Date(_) | Self::Number(_) | Self::Bool => {
                let Some(wanted) = literal(wanted, scope) else {
                    return Some(Compared::Unknown);
                };
                Some(match self {
                    Self::Date(orders) => orders.contains(&date(given)?.cmp(&date(&wanted)?)),
                    Self::Number(orders) => {
                        let given = given.parse::<f64>().ok()?;
                        orders.contains(&given.partial_cmp(&wanted.parse::<f64>().ok()?)?)
                    }
                    Self::Bool => given.eq_ignore_ascii_case(&wanted),
                    Self::Text | Self::Like | Self::Arn => given == wanted,
                })
            }
        };
        Some(match is_same {
            None => Compared::Unknown,
            Some(true) => Compared::Same,
            Some(false) => Compared::Other,
        })
    }
}

/// A date, or seconds since 1970.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).map(|date| date.with_timezone(&Utc)).ok();
    read.or_else(|| DateTime::from_timestamp(text.parse().ok()?, 0))
}

/// One value or a list of them, as texts; none: it holds something else.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(list) => list.iter().map(text).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Some(vec![text(value)?])
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:iam::111111111111:role/a/b";

    fn outcome(operator: &str, key: &str, wanted: &Value) -> Option<bool> {
        let context = Context::default()
            .with("aws:ResourceTag/Team", "red")
            .with("aws:userid", "red")
            .with("aws:PrincipalArn", ARN)
            .with("aws:CurrentTime", "2026-05-01T12:00:00Z")
            .with("aws:SecureTransport", "true")
            .with("s3:max-keys", "10")
            .with_all("aws:TagKeys", ["team", "end"]);
        let condition = json!({ operator: { key: wanted } });
        holds(Some(&condition), Scope { context: &context, has_variables: true })
    }

    /// Each operator, where it holds and where it does not.
    #[test]
    fn an_operator_holds_as_it_says() {
        let tag = "aws:resourcetag/TEAM";
        let (time, noon) = ("aws:CurrentTime", "2026-05-01T12:00:00Z");
        let (before, after) = ("2026-05-01T11:59:59Z", "2026-05-01T12:00:01Z");
        for (operator, key, held, not_held) in [
            ("StringEquals", tag, json!(["blue", "red"]), json!("r*")),
            ("StringNotEquals", tag, json!("r*"), json!(["blue", "red"])),
            ("StringLike", tag, json!("r*"), json!("R*")),
            ("StringNotLike", tag, json!("b*"), json!(["b*", "?ed"])),
            ("ArnLike", "aws:PrincipalArn", json!("arn:*:iam::*:role/*"), json!("arn:*/b")),
            ("ArnEquals", "aws:PrincipalArn", json!(ARN), json!("arn:aws:iam::*:role/a")),
            ("ArnNotLike", "aws:PrincipalArn", json!("arn:aws:iam::*:role/a"), json!(ARN)),
            ("DateLessThan", time, json!(after), json!(noon)),
            ("DateGreaterThan", time, json!(before), json!(noon)),
            ("DateGreaterThan", time, json!("0"), json!("9999999999")),
            ("Bool", "aws:SecureTransport", json!(true), json!("false")),
            ("NumericLessThanEquals", "s3:max-keys", json!("10"), json!(9)),
            ("Null", tag, json!("false"), json!(true)),
            ("Null", "aws:ResourceTag/Other", json!(true), json!("false")),
            ("ForAllValues:StringEquals", "aws:TagKeys", json!(["team", "end"]), json!("team")),
            ("ForAnyValue:StringEquals", "aws:TagKeys", json!("end"), json!("none")),
            ("ForAllValues:StringNotLike", "aws:TagKeys", json!("x*"), json!("t*")),
            ("ForAnyValue:StringNotEquals", "aws:TagKeys", json!("end"), json!(["end", "team"])),
            ("StringEquals", tag, json!("${aws:userid}"), json!("${aws:username}")),
        ] {
            assert_eq!(outcome(operator, key, &held), Some(true), "{operator} {key}");
            assert_eq!(outcome(operator, key, &not_held), Some(false), "{operator} {key}");
        }
    }

    #[test]
    fn of_a_key_that_is_not_there_only_negations_and_if_exists_hold() {
        for (operator, expected) in [
            ("StringEquals", false),
            ("StringEqualsIfExists", true),
            ("StringNotEquals", true),
            ("ArnLike", false),
            ("DateLessThan", false),
            ("DateLessThanIfExists", true),
            ("BoolIfExists", true),
            ("ForAllValues:StringEquals", true),
            ("ForAnyValue:StringEquals", false),
            ("ForAnyValue:StringNotEquals", false),
            ("ForAnyValue:StringEqualsIfExists", true),
        ] {
            let outcome = outcome(operator, "aws:SourceVpc", &json!("2026-05-01T12:00:00Z"));
            assert_eq!(outcome, Some(expected), "{operator}");
        }
    }

    #[test]
    fn what_is_not_understood_has_no_outcome() {
        let tag = "aws:ResourceTag/Team";
        for (operator, key, wanted) in [
            ("StringEqualsIgnoreCase", tag, json!("red")),
            ("ForSomeValues:StringEquals", tag, json!("red")),
            ("StringEquals", tag, json!({ "a": "red" })),
            ("StringEquals", "aws:TagKeys", json!("team")),
            ("DateLessThan", "aws:CurrentTime", json!("soon")),
            ("NumericLessThanEquals", "s3:max-keys", json!("few")),
            ("Null", tag, json!("perhaps")),
        ] {
            assert_eq!(outcome(operator, key, &wanted), None, "{operator} {key}");
        }
    }

    #[test]
    fn nothing_is_other_than_a_variable_that_stands_for_nothing() {
        let tag = "aws:ResourceTag/Team";
        assert_eq!(outcome("StringNotEquals", tag, &json!("${aws:username}")), Some(false));
        assert_eq!(outcome("StringNotLike", tag, &json!("${aws:username}")), Some(false));
        assert_eq!(outcome("StringEquals", tag, &json!(["${aws:username}", "red"])), Some(true));
    }

    #[test]
    fn every_operator_must_hold() {
        let context = Context::default().with("a", "1");
        let scope = Scope { context: &context, has_variables: true };
        for (condition, expected) in [
            (json!({ "StringEquals": { "a": "1" }, "Null": { "b": true } }), Some(true)),
            (json!({ "StringEquals": { "a": "1" }, "Null": { "b": false } }), Some(false)),
            (json!({ "Unheard": { "a": "1" }, "Null": { "b": true } }), None),
            (json!({ "Unheard": { "a": "1" }, "Null": { "b": false } }), Some(false)),
            (json!({ "StringEquals": "1" }), None),
            (json!("a"), None),
        ] {
            assert_eq!(holds(Some(&condition), scope), expected, "{condition}");
        }
        assert_eq!(holds(None, scope), Some(true));
    }
}
