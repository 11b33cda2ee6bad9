//! The steps by which settings are tried in AWS, and how each ended.

use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Works, but a human should look.
    Warning,
    /// Does not work.
    Failed,
    /// Not tried.
    Skipped,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Stable code.
    pub code: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub finding: String,
    /// What to do; empty when it passed.
    pub remedy: String,
}

impl Step {
    /// A step that is as it should be.
    pub fn passed(code: &str, finding: impl Into<String>) -> Self {
        Self::new(code, Outcome::Passed, finding, "")
    }

    /// A step that works, with something to look at.
    pub fn warning(code: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(code, Outcome::Warning, finding, remedy)
    }

    /// A step that does not work.
    pub fn failed(code: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(code, Outcome::Failed, finding, remedy)
    }

    /// A step that was not tried.
    pub fn skipped(code: &str, finding: impl Into<String>) -> Self {
        Self::new(code, Outcome::Skipped, finding, "")
    }

    fn new(
        code: &str,
        outcome: Outcome,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { code: code.to_owned(), outcome, finding: finding.into(), remedy: remedy.into() }
    }
}
