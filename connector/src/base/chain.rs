//! Prints an error with all of its causes, on one line, once.

use std::{error::Error, fmt};

/// Shows `outer: inner: innermost`.
///
/// Errors of this crate never repeat their source in their own message; this
/// adapter prints the chain where the error is handled.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
