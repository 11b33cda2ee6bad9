//! Who may assume a role, as its trust policy says: enough to recognise it, not to judge
//! it. Conditions are named, never evaluated.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A trust policy in few words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Whom it lets in: ARNs, account ids, services, identity providers, `*`.
    pub principals: BTreeSet<String>,
    /// Condition keys that statements which let somebody in ask for.
    pub conditions: BTreeSet<String>,
}

impl Trust {
    /// Reads a document as IAM gives it: JSON, percent-encoded. None: it is no policy.
    #[must_use]
    pub fn read(document: &str) -> Option<Self> {
        let text = percent_decode_str(document).decode_utf8().ok()?;
        let policy: Value = serde_json::from_str(&text).ok()?;
        let mut trust = Self::default();
        for statement in one_or_many(policy.get("Statement")?) {
            if statement.get("Effect").and_then(Value::as_str) != Some("Allow") {
                continue;
            }
            if statement.get("NotPrincipal").is_some() {
                // All but those.
                trust.principals.insert("*".to_owned());
            }
            match statement.get("Principal") {
                Some(Value::Object(kinds)) => {
                    for named in kinds.values().flat_map(one_or_many) {
                        trust.principals.extend(named.as_str().map(str::to_owned));
                    }
                }
                Some(Value::String(anyone)) => {
                    trust.principals.insert(anyone.clone());
                }
                _ => {}
            }
            let operators = statement.get("Condition").and_then(Value::as_object);
            for keys in operators.into_iter().flat_map(|o| o.values()).filter_map(Value::as_object)
            {
                trust.conditions.extend(keys.keys().cloned());
            }
        }
        Some(trust)
    }
}

/// IAM lets a list of one be written without brackets.
fn one_or_many(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_and_condition_keys_are_named() {
        let table = [
            (
                r#"{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"}}}"#,
                "ec2.amazonaws.com",
                "",
            ),
            (
                r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111111111111:root","222222222222"]},
                    "Condition":{"StringEquals":{"sts:ExternalId":"x"},"Bool":{"aws:MultiFactorAuthPresent":"true"}}}]}"#,
                "222222222222 arn:aws:iam::111111111111:root",
                "aws:MultiFactorAuthPresent sts:ExternalId",
            ),
            (r#"{"Statement":[{"Effect":"Allow","Principal":"*"}]}"#, "*", ""),
            (r#"{"Statement":[{"Effect":"Allow","NotPrincipal":{"AWS":"1"}}]}"#, "*", ""),
            (r#"{"Statement":[{"Effect":"Deny","Principal":"*"}]}"#, "", ""),
        ];
        for (document, principals, conditions) in table {
            let encoded = document.replace('"', "%22").replace('{', "%7B");
            let trust = Trust::read(&encoded).expect(document);
            let joined = |set: &BTreeSet<String>| {
                set.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(joined(&trust.principals), principals, "{document}");
            assert_eq!(joined(&trust.conditions), conditions, "{document}");
        }
        assert_eq!(Trust::read("no policy"), None);
    }
}
