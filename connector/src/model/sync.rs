//! The life of a sync.
//!
//! ```text
//! planned ──start──▶ running ──finish──▶ succeeded | succeeded_with_problems | failed
//!    └──────cancel──────┴──▶ cancelled
//! ```

use std::{fmt, str::FromStr};

/// State of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// Waits for a replica.
    Planned,
    /// Reads.
    Running,
    /// Every scope was read whole.
    Succeeded,
    /// Some scopes were not.
    SucceededWithProblems,
    /// The organization itself could not be read.
    Failed,
    /// Its integration was disabled or deleted.
    Cancelled,
}

/// Why a sync was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Its time had come.
    Schedule,
    /// A caller asked for it.
    Request,
    /// The integration is new.
    Created,
}

macro_rules! texts {
    ($type:ty, $what:literal, $($variant:ident = $text:literal),+) => {
        impl $type {
            /// As stored.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(format!(concat!("unknown ", $what, " {:?}"), text)),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

texts!(
    SyncState,
    "sync state",
    Planned = "planned",
    Running = "running",
    Succeeded = "succeeded",
    SucceededWithProblems = "succeeded_with_problems",
    Failed = "failed",
    Cancelled = "cancelled"
);
texts!(Trigger, "trigger", Schedule = "schedule", Request = "request", Created = "created");

impl SyncState {
    /// Whether it has ended.
    #[must_use]
    pub fn is_ended(self) -> bool {
        match self {
            Self::Planned | Self::Running => false,
            Self::Succeeded | Self::SucceededWithProblems | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The end of a sync whose groups are all done.
    #[must_use]
    pub fn at_end(walk_complete: bool, scopes_incomplete: i64) -> Self {
        match (walk_complete, scopes_incomplete) {
            (false, _) => Self::Failed,
            (true, 0) => Self::Succeeded,
            (true, _) => Self::SucceededWithProblems,
        }
    }
}
