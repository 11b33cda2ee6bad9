//! IAM policies, as far as the simulator judges them: trust by principal, action and
//! external id, where a condition that it does not understand never holds; permissions by
//! action, and by resource where the caller tells which.

use serde_json::Value;

/// A caller of `AssumeRole`, as a trust policy sees it.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// ARN of the role (not of the session) or user that calls.
    pub principal: &'a str,
    /// External id; none: none was given.
    pub external_id: Option<&'a str>,
}

/// Whether a trust policy allows an action to a caller.
#[must_use]
pub fn trusts(document: &Value, action: &str, request: &Request<'_>) -> bool {
    judge(statements(document), |statement| {
        matches_any(statement.get("Action"), action)
            && matches_principal(statement.get("Principal"), request.principal)
            && holds(statement.get("Condition"), request)
    })
}

/// Whether policies of an identity allow an action on a resource, an ARN; none: they are
/// judged by action alone.
#[must_use]
pub fn allows(documents: &[Value], action: &str, resource: Option<&str>) -> bool {
    let statements = documents.iter().flat_map(statements);
    judge(statements, |statement| {
        matches_any(statement.get("Action"), action)
            && resource.is_none_or(|resource| concerns(statement, resource))
    })
}

/// Whether policies of an identity allow an action on every one of some resources; none: they
/// are judged by action alone.
#[must_use]
pub fn allows_on_all(documents: &[Value], action: &str, resources: &[String]) -> bool {
    if resources.is_empty() {
        return allows(documents, action, None);
    }
    resources.iter().all(|resource| allows(documents, action, Some(resource.as_str())))
}

/// Whether a statement is about a resource. One that names none is about all.
fn concerns(statement: &Value, resource: &str) -> bool {
    let names = |patterns: &Value| {
        texts(Some(patterns)).into_iter().any(|pattern| matches_exactly(pattern, resource))
    };
    statement.get("Resource").is_none_or(names)
        && statement.get("NotResource").is_none_or(|others| !names(others))
}

/// An allow, and no deny.
fn judge<'a>(
    statements: impl Iterator<Item = &'a Value>,
    applies: impl Fn(&Value) -> bool,
) -> bool {
    let mut allowed = false;
    for statement in statements.filter(|statement| applies(statement)) {
        match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => allowed = true,
            _ => return false,
        }
    }
    allowed
}

fn statements(document: &Value) -> impl Iterator<Item = &Value> {
    let statements = document.get("Statement");
    let (list, one) = match statements {
        Some(Value::Array(list)) => (list.as_slice(), None),
        one => (&[][..], one),
    };
    list.iter().chain(one)
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn matches_any(patterns: Option<&Value>, text: &str) -> bool {
    texts(patterns).into_iter().any(|pattern| matches(pattern, text))
}

/// `*` matches any run of characters; letter case does not count, as in actions.
fn matches(pattern: &str, text: &str) -> bool {
    matches_exactly(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

/// `*` matches any run of characters; letter case counts, as in ARNs.
fn matches_exactly(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    let mut parts = pattern.split('*').peekable();
    let Some(first) = parts.next() else {
        return false;
    };
    let Some(stripped) = rest.strip_prefix(first) else {
        return false;
    };
    if parts.peek().is_none() {
        return stripped.is_empty();
    }
    rest = stripped;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

fn matches_principal(principal: Option<&Value>, caller: &str) -> bool {
    let account_root = caller.split(':').nth(4).map(|account| format!(":iam::{account}:root"));
    texts(principal.and_then(|principal| principal.get("AWS").or(Some(principal)))).iter().any(
        |named| {
            *named == "*"
                || *named == caller
                || account_root.as_ref().is_some_and(|root| named.ends_with(root.as_str()))
        },
    )
}

/// Only string operators on `sts:ExternalId` are understood.
fn holds(condition: Option<&Value>, request: &Request<'_>) -> bool {
    let Some(Value::Object(operators)) = condition else {
        return condition.is_none();
    };
    operators.iter().all(|(operator, keys)| {
        let Value::Object(keys) = keys else {
            return false;
        };
        keys.iter().all(|(key, wanted)| {
            let wanted = texts(Some(wanted));
            key == "sts:ExternalId"
                && match (operator.as_str(), request.external_id) {
                    ("StringEquals" | "StringEqualsIfExists", Some(given)) => {
                        wanted.contains(&given)
                    }
                    ("StringLike", Some(given)) => {
                        wanted.iter().any(|pattern| matches(pattern, given))
                    }
                    ("StringEqualsIfExists", None) => true,
                    _ => false,
                }
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trust_policy_asks_for_principal_action_and_external_id() {
        let document = json!({ "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::999999999999:role/hub" },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": { "StringEquals": { "sts:ExternalId": "secret" } },
        }] });
        let caller = |principal, external_id| Request { principal, external_id };
        let hub = "arn:aws:iam::999999999999:role/hub";
        assert!(trusts(&document, "sts:AssumeRole", &caller(hub, Some("secret"))));
        assert!(!trusts(&document, "sts:AssumeRole", &caller(hub, None)));
        assert!(!trusts(&document, "sts:AssumeRole", &caller(hub, Some("other"))));
        assert!(!trusts(&document, "sts:SetSourceIdentity", &caller(hub, Some("secret"))));
        let other = "arn:aws:iam::999999999999:role/other";
        assert!(!trusts(&document, "sts:AssumeRole", &caller(other, Some("secret"))));
    }

    #[test]
    fn a_deny_wins_and_stars_match() {
        let allow = json!({ "Statement": { "Effect": "Allow", "Action": "ec2:Describe*" } });
        let deny = json!({ "Statement": { "Effect": "Deny", "Action": "*:DescribeRegions" } });
        assert!(allows(std::slice::from_ref(&allow), "ec2:DescribeInstances", None));
        assert!(!allows(std::slice::from_ref(&allow), "ec2:RunInstances", None));
        assert!(!allows(&[allow, deny], "ec2:DescribeRegions", None));
    }

    #[test]
    fn a_statement_is_judged_by_its_resources_where_one_is_told() {
        let action = "sso:CreateAccountAssignment";
        let statement = |effect: &str, field: &str, patterns: Value| {
            let statement = json!({ "Effect": effect, "Action": action, field: patterns });
            json!({ "Statement": [statement] })
        };
        let may = |documents: &[Value], account: &str| {
            let resource = format!("arn:aws:sso:::account/{account}");
            allows(documents, action, Some(resource.as_str()))
        };
        let (ours, protected) = ("222222222222", "111111111111");
        let guard = json!(["arn:aws:sso:::account/111111111111"]);
        let all = statement("Allow", "Resource", json!("*"));
        let one = statement("Allow", "Resource", json!("arn:aws:sso:::account/222222222222"));
        let wrong_case = statement("Allow", "Resource", json!("arn:aws:sso:::Account/*"));
        let but_one = statement("Allow", "NotResource", guard.clone());
        let deny_one = statement("Deny", "Resource", guard.clone());
        let deny_others = statement("Deny", "NotResource", guard);
        for (documents, may_ours, may_protected) in [
            (vec![all.clone()], true, true),
            (vec![one], true, false),
            (vec![wrong_case], false, false),
            (vec![but_one.clone()], true, false),
            (vec![all.clone(), deny_one], true, false),
            (vec![all.clone(), deny_others], false, true),
            (vec![all, but_one.clone()], true, true),
        ] {
            assert_eq!(may(&documents, ours), may_ours, "{documents:?}");
            assert_eq!(may(&documents, protected), may_protected, "{documents:?}");
        }
        assert!(allows(&[but_one], action, None), "by action alone");
    }

    #[test]
    fn a_call_about_several_things_is_allowed_only_where_each_of_them_is() {
        let action = "identitystore:CreateGroupMembership";
        let (group, user) = ("arn:aws:identitystore:::group/g", "arn:aws:identitystore:::user/u");
        let about = [group, user].map(str::to_owned);
        let allow = |resource: &str| {
            let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
            json!({ "Statement": [statement] })
        };
        assert!(!allows_on_all(&[allow(group)], action, &about));
        assert!(!allows_on_all(&[allow(user)], action, &about));
        assert!(allows_on_all(&[allow(group), allow(user)], action, &about));
        assert!(allows_on_all(&[allow("*")], action, &about));
        assert!(allows_on_all(&[allow(group)], action, &[]), "by action alone");
        assert!(!allows_on_all(&[allow("*")], "identitystore:DeleteGroupMembership", &[]));
    }
}
