//! Floor 3: guardrails, the rules of what may be granted.
//!
//! They stand beside the connector, in a file that the control plane cannot reach, and hold
//! whatever it asks. They are written in Cedar, so that whoever answers for the accounts can
//! read them; `config/guardrails.cedar` is what is shipped and in force by default. A verdict
//! names the rule that refuses, by its `@id`.
//!
//! Nothing here knows AWS, the database or the time: a question holds all that a rule may
//! look at, and the same question has the same answer.
//!
//! Invariant: what is not clearly allowed is refused. No `permit` matches: refused. A rule
//! cannot be evaluated: refused, though Cedar itself would pass over it. A file that does not
//! check is an error when it is read, so it never takes the place of one that does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cedar_policy::{
    AuthorizationError, Authorizer, Decision, Entities, PolicyId, PolicySet, Schema,
};

mod question;
mod read;

pub use question::{Kind, On, Question};
pub use read::Error;

/// The name under which is refused what no rule permits.
const NO_PERMIT: &str = "no permit";
/// The name under which is refused what the rules cannot be asked.
const NO_QUESTION: &str = "no question";

/// What the rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be granted.
    Allowed,
    /// It may not.
    Refused {
        /// Name of the rule that refuses; the first one by name, if there are several.
        rule: String,
        /// A sentence for whoever asked.
        words: String,
    },
}

/// Rules that were read and checked.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Each under its own name.
    policies: PolicySet,
    schema: Schema,
}

impl Rules {
    /// Asks all rules.
    #[must_use]
    pub fn judge(&self, question: &Question<'_>) -> Verdict {
        let request = match question.request(&self.schema) {
            Ok(request) => request,
            Err(problem) => {
                return refused(
                    NO_QUESTION,
                    format!("the guardrails could not be asked: {problem}"),
                );
            }
        };
        let answer = Authorizer::new().is_authorized(&request, &self.policies, &Entities::empty());
        let (decision, found) = (answer.decision(), answer.diagnostics());
        // The reasons of an approval are the rules that permit it.
        let forbids = found.reason().filter(|_| decision == Decision::Deny).min();
        let broken = found
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(error)| {
                (name(error.policy_id()), error.inner().to_string())
            })
            .min();
        match (forbids, broken, decision) {
            (Some(rule), _, _) => self.forbidden(rule),
            (None, Some((rule, problem)), _) => refused(
                rule,
                format!("the guardrail {rule:?} could not be evaluated, so it refuses: {problem}"),
            ),
            (None, None, Decision::Deny) => {
                refused(NO_PERMIT, "no guardrail permits it".to_owned())
            }
            (None, None, Decision::Allow) => Verdict::Allowed,
        }
    }

    fn forbidden(&self, rule: &PolicyId) -> Verdict {
        let says = self.policies.annotation(rule, "says").filter(|says| !says.is_empty());
        let rule = name(rule);
        let words =
            says.map_or_else(|| format!("the guardrail {rule:?} forbids it"), str::to_owned);
        refused(rule, words)
    }
}

fn refused(rule: &str, words: String) -> Verdict {
    Verdict::Refused { rule: rule.to_owned(), words }
}

/// The name of a rule; its `Display` would escape it.
fn name(rule: &PolicyId) -> &str {
    rule.as_ref()
}

/// The rules in force; clones share them.
#[derive(Clone, Debug)]
pub struct Guard(Arc<ArcSwap<Rules>>);

impl Guard {
    /// Puts rules in force.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(rules)))
    }

    /// Asks the rules that are in force now.
    #[must_use]
    pub fn judge(&self, question: &Question<'_>) -> Verdict {
        self.0.load().judge(question)
    }

    /// Puts other rules in force, for all clones.
    pub fn replace(&self, rules: Rules) {
        self.0.store(Arc::new(rules));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const PERMIT: &str = "@id(\"all\")\npermit (principal, action, resource);\n";
    const HOUR_S: i64 = 3600;

    fn a_question() -> Question<'static> {
        Question {
            integration: "main",
            recipient: Kind::User,
            recipient_name: "ann@example.com",
            account: "123456789012",
            account_name: "payments",
            ous: &[],
            on: On::PermissionSet { name: "PowerUserAccess" },
            duration_s: HOUR_S,
            reason: "incident 42",
            requester: "ann@example.com",
            approver: "ben@example.com",
        }
    }

    fn a_group(name: &str) -> On<'_> {
        let (arn, kind) = ("arn:aws:identitystore:::group/g-1", "aws-identity-center-group");
        On::Resource { arn, kind, name, permission: "MEMBER" }
    }

    fn rules(text: &str) -> Rules {
        Rules::parse(text, "rules.cedar").expect("rules")
    }

    fn error(text: &str) -> Error {
        Rules::parse(text, "rules.cedar").expect_err("no rules")
    }

    fn shipped() -> Rules {
        Rules::read(None).expect("the shipped rules")
    }

    /// The rule that refuses, and its words.
    fn refusal(verdict: Verdict) -> (String, String) {
        match verdict {
            Verdict::Allowed => ("-".to_owned(), String::new()),
            Verdict::Refused { rule, words } => (rule, words),
        }
    }

    fn rule(verdict: Verdict) -> String {
        refusal(verdict).0
    }

    #[test]
    fn the_shipped_rules_allow_what_is_ordinary() {
        let administrator =
            Question { on: On::PermissionSet { name: "AdministratorAccess" }, ..a_question() };
        let ous = ["r-a1b2".to_owned(), "ou-a1b2-c3d4e5f6".to_owned()];
        for question in [
            a_question(),
            Question { duration_s: 12 * HOUR_S, approver: "", ..a_question() },
            Question { duration_s: 4 * HOUR_S, ..administrator },
            Question { ous: &ous, ..a_question() },
            Question { recipient_name: "a \"quoted\"\n\u{0} ä", ..a_question() },
        ] {
            assert_eq!(shipped().judge(&question), Verdict::Allowed, "{question:?}");
        }
    }

    #[test]
    fn the_shipped_rules_refuse_groups_silence_and_what_is_too_long() {
        let administrator =
            Question { on: On::PermissionSet { name: "AdministratorAccess" }, ..a_question() };
        for (refusing, question) in [
            ("groups", Question { recipient: Kind::Group, ..a_question() }),
            ("reason", Question { reason: "", ..a_question() }),
            ("reason", Question { reason: " \t\n", ..a_question() }),
            ("longest", Question { duration_s: 12 * HOUR_S + 1, ..a_question() }),
            ("longest", Question { duration_s: i64::MAX, ..a_question() }),
            ("longest-administrator", Question { duration_s: 4 * HOUR_S + 1, ..administrator }),
            // The first by name.
            ("longest", Question { duration_s: 12 * HOUR_S + 1, ..administrator }),
        ] {
            assert_eq!(rule(shipped().judge(&question)), refusing, "{question:?}");
        }
    }

    #[test]
    fn the_examples_in_the_shipped_file_are_rules() {
        let uncommented: Vec<&str> = read::SHIPPED
            .lines()
            .map(|line| line.strip_prefix("//     ").unwrap_or(line))
            .collect();
        let rules = rules(&uncommented.join("\n"));
        let ous = ["r-a1b2".to_owned(), "ou-a1b2-c3d4e5f6".to_owned()];
        let administrator =
            Question { on: On::PermissionSet { name: "AdministratorAccess" }, ..a_question() };
        for (refusing, question) in [
            ("-", a_question()),
            ("-", administrator),
            ("sets", Question { on: On::PermissionSet { name: "BreakGlass" }, ..a_question() }),
            ("accounts", Question { account: "111111111111", ..a_question() }),
            ("protected-unit", Question { ous: &ous, ..a_question() }),
            (
                "-",
                Question {
                    ous: &ous,
                    on: On::PermissionSet { name: "ReadOnlyAccess" },
                    ..a_question()
                },
            ),
            ("group-memberships", Question { on: a_group("administrators"), ..a_question() }),
            ("-", Question { on: a_group("auditors"), ..a_question() }),
            ("people", Question { recipient_name: "root@example.com", ..a_question() }),
            ("four-eyes", Question { approver: "", ..administrator }),
            ("four-eyes", Question { approver: "ann@example.com", ..administrator }),
        ] {
            assert_eq!(rule(rules.judge(&question)), refusing, "{question:?}");
        }
    }

    #[test]
    fn a_refusal_speaks_in_the_words_of_its_rule() {
        let said = rules(&format!(
            "{PERMIT}@id(\"no\") @says(\"not today\") forbid (principal, action, resource);"
        ));
        assert_eq!(refusal(said.judge(&a_question())), ("no".into(), "not today".into()));
        let silent = rules("@id(\"no\") forbid (principal, action, resource);");
        let words = "the guardrail \"no\" forbids it".to_owned();
        assert_eq!(refusal(silent.judge(&a_question())), ("no".into(), words));
    }

    #[test]
    fn what_no_rule_permits_is_refused() {
        assert_eq!(rule(rules("").judge(&a_question())), NO_PERMIT);
        let one = rules("@id(\"ann\") permit (principal == User::\"ann\", action, resource);");
        assert_eq!(rule(one.judge(&a_question())), NO_PERMIT);
        let ann = Question { recipient_name: "ann", ..a_question() };
        assert_eq!(one.judge(&ann), Verdict::Allowed);
        // A group of the same name is somebody else.
        let group = Question { recipient: Kind::Group, ..ann };
        assert_eq!(rule(one.judge(&group)), NO_PERMIT);
    }

    #[test]
    fn a_rule_that_cannot_be_evaluated_refuses() {
        for effect in ["forbid", "permit"] {
            let broken = rules(&format!(
                "{PERMIT}@id(\"broken\") {effect} (principal, action, resource)
                 when {{ context.duration_s * 9223372036854775807 > 0 }};"
            ));
            let (rule, words) = refusal(broken.judge(&a_question()));
            assert_eq!(rule, "broken");
            assert!(words.contains("could not be evaluated"), "{words}");
            let short = Question { duration_s: 1, ..a_question() };
            let is_refused = broken.judge(&short) != Verdict::Allowed;
            assert_eq!(is_refused, effect == "forbid", "it can be evaluated for one second");
        }
    }

    #[test]
    fn a_rule_without_a_name_of_its_own_is_an_error() {
        let unnamed = "forbid (principal, action, resource);";
        for nameless in
            [unnamed.to_owned(), format!("@id {unnamed}"), format!("@id(\"\") {unnamed}")]
        {
            assert_eq!(
                error(&format!("{PERMIT}\n{nameless}")).to_string(),
                "rules.cedar, line 4: the rule has no name; write @id(\"its-name\") above it"
            );
        }
        assert_eq!(
            error(&format!("{PERMIT}\n{PERMIT}")).to_string(),
            "rules.cedar, line 4: the rule \"all\" is there twice; give one another @id"
        );
    }

    #[test]
    fn a_rule_that_speaks_of_what_is_not_there_is_an_error() {
        for (condition, word) in [
            ("context.region == \"eu-west-1\"", "region"),
            ("principal.email == \"ann@example.com\"", "email"),
            ("context.duration_s > \"12h\"", "Long"),
            ("resource == Role::\"admin\"", "Role"),
        ] {
            let text = format!(
                "{PERMIT}@id(\"odd\") forbid (principal, action, resource)\nwhen {{ {condition} }};"
            );
            let error = error(&text);
            let Error::Invalid { line, rule, problem, .. } = &error else { panic!("{error}") };
            assert_eq!((*line, rule.as_str()), (4, "odd"), "{error}");
            assert!(problem.contains(word), "{error}");
        }
    }

    #[test]
    fn a_rule_that_can_never_match_is_an_error() {
        let never = "@id(\"never\") forbid (principal, action, resource) when { false };";
        let error_of_never = error(never);
        assert!(matches!(error_of_never, Error::Invalid { .. }), "{error_of_never}");
        let slot = error(&format!(
            "{PERMIT}@id(\"slot\") forbid (principal == ?principal, action, resource);"
        ));
        assert!(matches!(slot, Error::Template { line: 3, .. }), "{slot}");
    }

    #[test]
    fn what_is_not_cedar_is_an_error_with_its_line() {
        let error = error(&format!("{PERMIT}// More.\nforbid principal;"));
        let Error::Syntax { file, line, problem } = &error else { panic!("{error}") };
        assert_eq!((file.as_str(), *line), ("rules.cedar", 4), "{problem}");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let error = Rules::read(Some(Path::new("/nowhere/rules.cedar"))).expect_err("no file");
        assert_eq!(error.to_string(), "failed to read the guardrails /nowhere/rules.cedar");
    }

    #[test]
    fn clones_of_a_guard_share_the_rules_in_force() {
        let guard = Guard::new(rules(""));
        let clone = guard.clone();
        assert_eq!(rule(clone.judge(&a_question())), NO_PERMIT);
        guard.replace(shipped());
        assert_eq!(clone.judge(&a_question()), Verdict::Allowed);
    }
}
