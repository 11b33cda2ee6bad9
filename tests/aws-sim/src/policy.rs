//! IAM policies, as far as the simulator judges them: trust by principal, action and
//! external id, where a condition that it does not understand never holds; permissions by
//! action and condition, and by resource where the caller tells which.

use serde_json::Value;

use crate::{
    condition::{self, Context},
    pattern::{Pattern, Scope},
};

/// The version of the policy language that has variables.
const VERSION: &str = "2012-10-17";

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
/// judged by action alone. Conditions are judged by the context ([`crate::condition`]).
#[must_use]
pub fn allows(
    documents: &[Value],
    action: &str,
    resource: Option<&str>,
    context: &Context,
) -> bool {
    let mut is_allowed = false;
    for document in documents {
        let has_variables = document.get("Version").and_then(Value::as_str) == Some(VERSION);
        let scope = Scope { context, has_variables };
        for statement in statements(document) {
            if !names_action(statement, action)
                || !resource.is_none_or(|resource| concerns(statement, resource, scope))
            {
                continue;
            }
            let is_allow = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
            match condition::holds(statement.get("Condition"), scope) {
                Some(false) => {}
                Some(true) if is_allow => is_allowed = true,
                // What is not understood allows nothing.
                None if is_allow => {}
                Some(true) | None => return false,
            }
        }
    }
    is_allowed
}

/// Whether a policy of a resource lets a role of an account do something. Conditions are judged by the
/// context.
#[must_use]
pub fn admits(document: &Value, action: &str, role_arn: &str, context: &Context) -> bool {
    let has_variables = document.get("Version").and_then(Value::as_str) == Some(VERSION);
    let scope = Scope { context, has_variables };
    let mut is_allowed = false;
    for statement in statements(document) {
        if !names_action(statement, action)
            || !matches_principal(statement.get("Principal"), role_arn)
        {
            continue;
        }
        let is_allow = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
        match condition::holds(statement.get("Condition"), scope) {
            Some(true) if is_allow => is_allowed = true,
            None if is_allow => {}
            Some(false) => {}
            Some(true) | None => return false,
        }
    }
    is_allowed
}

/// Whom the statements of a policy of a resource name as AWS principals; none: one of them names nobody, or
/// there is none.
#[must_use]
pub fn principals(document: &Value) -> Option<Vec<&str>> {
    let all: Vec<&Value> = statements(document).collect();
    if all.is_empty() || all.iter().any(|one| one.get("Principal").is_none()) {
        return None;
    }
    let named = all.iter().flat_map(|one| texts(one["Principal"].get("AWS")));
    Some(named.collect())
}

fn names_action(statement: &Value, action: &str) -> bool {
    match (statement.get("Action"), statement.get("NotAction")) {
        (None, Some(others)) => !matches_any(Some(others), action),
        (named, _) => matches_any(named, action),
    }
}

/// Whether a statement is about a resource. One that names none is about all; one with a variable
/// that stands for nothing is about none.
fn concerns(statement: &Value, resource: &str, scope: Scope<'_>) -> bool {
    let names = |pattern: &str| {
        let is_named = |read: Pattern| read.is_all() || read.matches_arn(resource);
        if pattern == "*" { Some(true) } else { Pattern::read(pattern, scope).map(is_named) }
    };
    let named = statement.get("Resource");
    let others = statement.get("NotResource");
    (named.is_none() || texts(named).into_iter().any(|pattern| names(pattern) == Some(true)))
        && texts(others).into_iter().all(|pattern| names(pattern) == Some(false))
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
    if !pattern.contains(['*', '?']) {
        return pattern.eq_ignore_ascii_case(text);
    }
    let scope = Scope { context: &Context::default(), has_variables: false };
    let pattern = Pattern::read(&pattern.to_ascii_lowercase(), scope);
    pattern.is_some_and(|pattern| pattern.matches(&text.to_ascii_lowercase()))
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

    fn allows(documents: &[Value], action: &str, resource: Option<&str>) -> bool {
        super::allows(documents, action, resource, &Context::default())
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
    fn a_condition_narrows_an_allow_and_a_deny() {
        let action = "iam:CreatePolicyVersion";
        let arn = "arn:aws:iam::222222222222:policy/ours/ann";
        let of = |effect: &str, operator: &str| {
            let condition = json!({ operator: { "aws:ResourceTag/by": "us" } });
            json!({ "Statement": {
                "Effect": effect, "Action": "iam:*", "Resource": "*", "Condition": condition,
            } })
        };
        let all = json!({ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } });
        let may = |documents: &[Value], tag: &str| {
            let context = Context::default().with("aws:ResourceTag/by", tag);
            super::allows(documents, action, Some(arn), &context)
        };
        for (documents, ours, theirs) in [
            (vec![of("Allow", "StringEquals")], true, false),
            (vec![all.clone(), of("Deny", "StringEquals")], false, true),
            (vec![all.clone(), of("Deny", "StringNotEquals")], true, false),
            (vec![of("Allow", "Unheard")], false, false),
            (vec![all, of("Deny", "Unheard")], false, false),
        ] {
            assert_eq!(may(&documents, "us"), ours, "{documents:?}");
            assert_eq!(may(&documents, "them"), theirs, "{documents:?}");
        }
        assert!(!allows(&[of("Allow", "StringEquals")], action, Some(arn)), "no tag");
    }

    #[test]
    fn resources_have_variables_and_actions_may_be_all_but_some() {
        let of = |version: &str| {
            json!({ "Version": version, "Statement": [{
                "Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::b/${aws:userid}",
            }] })
        };
        let context = Context::default().with("aws:userid", "ann");
        let may = |version: &str, action: &str, context: &Context| {
            super::allows(&[of(version)], action, Some("arn:aws:s3:::b/ann"), context)
        };
        assert!(may("2012-10-17", "s3:GetObject", &context));
        assert!(!may("2012-10-17", "iam:GetRole", &context));
        assert!(!may("2012-10-17", "s3:GetObject", &Context::default()));
        assert!(!may("2008-10-17", "s3:GetObject", &context), "that version has none");
    }
}
