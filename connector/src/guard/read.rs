//! From the text of a file to rules that can be asked.
//!
//! A rule that is not what its author meant is found here and not at the first grant: its
//! words are checked against the schema, it must have a name, and it must be able to match
//! something.

use std::{fs, io, path::Path};

use cedar_policy::{
    ParseErrors, PolicyId, PolicySet, Schema, ValidationMode, ValidationResult, ValidationWarning,
    Validator, ffi::DetailedError,
};

use super::{Rules, name};

/// In force when no other file is named.
pub(super) const SHIPPED: &str = include_str!("../../../config/guardrails.cedar");
const SHIPPED_NAME: &str = "the shipped guardrails";
const SCHEMA: &str = include_str!("guardrails.cedarschema");

/// Rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No text.
    #[error("failed to read the guardrails {file}")]
    Read {
        /// File.
        file: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The text is not Cedar.
    #[error("{file}, line {line}: {problem}")]
    Syntax {
        /// File.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A refusal could not tell which rule it was.
    #[error("{file}, line {line}: the rule has no name; write @id(\"its-name\") above it")]
    Unnamed {
        /// File.
        file: String,
        /// Line on which the rule begins, from 1.
        line: usize,
    },
    /// A refusal could not tell which of two rules it was.
    #[error("{file}, line {line}: the rule {rule:?} is there twice; give one another @id")]
    Twice {
        /// File.
        file: String,
        /// Line on which the second one begins, from 1.
        line: usize,
        /// Its name.
        rule: String,
    },
    /// It would never match: nothing fills its slots.
    #[error("{file}, line {line}: the rule has a slot, which nothing fills; name what is meant")]
    Template {
        /// File.
        file: String,
        /// Line on which the rule begins, from 1.
        line: usize,
    },
    /// It speaks of what is not there, or cannot match anything.
    #[error("{file}, line {line}: the rule {rule:?} cannot be used: {problem}")]
    Invalid {
        /// File.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Its name.
        rule: String,
        /// What is wrong.
        problem: String,
    },
}

impl Rules {
    /// Reads a file; none: the rules that are shipped.
    ///
    /// # Errors
    ///
    /// Names the file, the line and the rule that cannot be used.
    pub fn read(file: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = file else { return Self::parse(SHIPPED, SHIPPED_NAME) };
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &name),
            Err(source) => Err(Error::Read { file: name, source }),
        }
    }

    /// Takes the text of a file; `name` is the file's, for errors.
    ///
    /// # Errors
    ///
    /// Names the file, the line and the rule that cannot be used.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        let source = Source { file: name, text };
        let parsed = text.parse::<PolicySet>().map_err(|errors| source.syntax(&errors))?;
        let policies = named(&parsed, &source)?;
        let schema = schema();
        let found = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        match source.first_problem(&found) {
            Some(error) => Err(error),
            None => Ok(Self { policies, schema }),
        }
    }
}

fn schema() -> Schema {
    SCHEMA.parse().expect("the schema is our own")
}

/// Gives every policy its own name in place of its number.
fn named(parsed: &PolicySet, source: &Source<'_>) -> Result<PolicySet, Error> {
    if let Some(template) = parsed.templates().next() {
        let (line, _) = source.find(&template.to_string(), 0);
        return Err(Error::Template { file: source.file(), line });
    }
    let mut policies = PolicySet::new();
    let mut at = 0;
    for policy in parsed.policies() {
        let (line, end) = source.find(&policy.to_string(), at);
        at = end;
        let Some(rule) = policy.annotation("id").filter(|rule| !rule.is_empty()) else {
            return Err(Error::Unnamed { file: source.file(), line });
        };
        let rule = rule.to_owned();
        if policies.add(policy.new_id(PolicyId::new(&rule))).is_err() {
            return Err(Error::Twice { file: source.file(), line, rule });
        }
    }
    Ok(policies)
}

/// What is being read.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn file(&self) -> String {
        self.file.to_owned()
    }

    /// The line of a place, from 1.
    fn line(&self, at: usize) -> usize {
        1 + self.text.get(..at).map_or(0, |before| before.matches('\n').count())
    }

    /// The line on which a part of the text begins, and the place where it ends.
    fn find(&self, part: &str, from: usize) -> (usize, usize) {
        let rest = self.text.get(from..).unwrap_or_default();
        let at = from + rest.find(part).unwrap_or_default();
        (self.line(at), at + part.len())
    }

    fn line_of(&self, detail: &DetailedError) -> usize {
        self.line(detail.source_locations.first().map_or(0, |place| place.loc.start))
    }

    fn syntax(&self, errors: &ParseErrors) -> Error {
        let detail = DetailedError::from(errors);
        Error::Syntax {
            file: self.file(),
            line: self.line_of(&detail),
            problem: problem(&detail, &detail.message),
        }
    }

    /// The first error of all; without errors, the first warning that is as bad.
    fn first_problem(&self, found: &ValidationResult) -> Option<Error> {
        let errors = found
            .validation_errors()
            .map(|error| self.place(error.policy_id(), &DetailedError::from(error)));
        let warnings = found
            .validation_warnings()
            .filter(|warning| is_fatal(warning))
            .map(|warning| self.place(warning.policy_id(), &DetailedError::from(warning)));
        let (line, rule, problem) = errors.min().or_else(|| warnings.min())?;
        Some(Error::Invalid { file: self.file(), line, rule, problem })
    }

    /// Line, name of the rule, and what is wrong with it.
    fn place(&self, id: &PolicyId, detail: &DetailedError) -> (usize, String, String) {
        // The rule is named already.
        let prefix = format!("for policy `{id}`, ");
        let message = detail.message.strip_prefix(&prefix).unwrap_or(&detail.message);
        (self.line_of(detail), name(id).to_owned(), problem(detail, message))
    }
}

/// Whether the rule can never match, or is not what it looks like.
fn is_fatal(warning: &ValidationWarning) -> bool {
    matches!(
        warning,
        ValidationWarning::ImpossiblePolicy(_)
            | ValidationWarning::InvalidActionApplication(_)
            | ValidationWarning::BidiCharsInString(_)
            | ValidationWarning::BidiCharsInIdentifier(_)
    )
}

/// What is wrong, what would be right there, and what helps.
fn problem(detail: &DetailedError, message: &str) -> String {
    let label = detail.source_locations.first().and_then(|place| place.label.as_deref());
    let parts = [Some(message), label, detail.help.as_deref()];
    parts.into_iter().flatten().collect::<Vec<&str>>().join("; ")
}
