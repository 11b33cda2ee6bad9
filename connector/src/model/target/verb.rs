//! What calls do.

use std::str::FromStr;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It makes the object.
    Create,
    /// It removes it.
    Delete,
}

impl Verb {
    /// The stable word, in rows and acts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "create" => Ok(Self::Create),
            "delete" => Ok(Self::Delete),
            other => Err(format!("unknown verb {other:?}")),
        }
    }
}
