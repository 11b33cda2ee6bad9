//! What an error means: may it be tried again, and what was the reason.
//!
//! Both are computed in `aws/error.rs` alone, from what AWS answered. Nobody else
//! looks at error codes or messages.

use std::{fmt, str::FromStr, time::Duration};

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may pass; not before `after`, where AWS said so.
    Retry {
        /// The shortest wait that AWS asked for.
        after: Option<Duration>,
    },
    /// The same request will fail again.
    Permanent,
    /// Somebody has to change something first.
    NeedsHuman,
}

/// Who goes first where calls share a budget; earlier variants go before later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Access is taken away.
    Revoke,
    /// Access is given.
    Grant,
    /// Somebody waits for the answer: validation, checks.
    Interactive,
    /// Looking after what AWS has begun.
    Poll,
    /// Looking whether access is as it should be.
    Reconcile,
    /// The scheduled crawl.
    Crawl,
    /// What was done with access.
    Audit,
}

impl Lane {
    /// For metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Grant => "grant",
            Self::Interactive => "interactive",
            Self::Poll => "poll",
            Self::Reconcile => "reconcile",
            Self::Crawl => "crawl",
            Self::Audit => "audit",
        }
    }
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// Why something could not be read. The texts are stable: they are stored,
        /// sent, and used as headings in the troubleshooting guide.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode {
            $($(#[$doc])* $variant,)+
        }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

reason_codes! {
    /// The daemon has no AWS identity, or AWS does not take it.
    OwnIdentityUnavailable = "OWN_IDENTITY_UNAVAILABLE",
    /// The management role cannot be assumed.
    ManagementRoleDenied = "MANAGEMENT_ROLE_DENIED",
    /// The member role of an account cannot be assumed.
    MemberRoleDenied = "MEMBER_ROLE_DENIED",
    /// The member role of an account that is new; its stack may still be under way.
    MemberRolePending = "MEMBER_ROLE_PENDING",
    /// A role leads to another account than the one that it was made for.
    AccountMismatch = "ACCOUNT_MISMATCH",
    /// The management role leads to another organization than the pinned one.
    OrganizationMismatch = "ORGANIZATION_MISMATCH",
    /// Credentials ended and could not be renewed.
    CredentialsExpired = "CREDENTIALS_EXPIRED",
    /// The role lacks an action.
    ActionDenied = "ACTION_DENIED",
    /// A service control policy forbids it.
    DeniedByScp = "DENIED_BY_SCP",
    /// The region is not enabled in the account.
    RegionNotEnabled = "REGION_NOT_ENABLED",
    /// It is no longer among what is read: excluded, deselected, or gone.
    NotCovered = "NOT_COVERED",
    /// AWS asked to slow down, longer than we were willing to wait.
    Throttled = "THROTTLED",
    /// No answer: time-out, reset, no route.
    Unreachable = "UNREACHABLE",
    /// AWS answered with an error of its own.
    ServiceError = "SERVICE_ERROR",
    /// The answer could not be understood.
    UnreadableAnswer = "UNREADABLE_ANSWER",
    /// More than half of a scope, or more than a tenth of the integration, is about to go.
    RemovalHeld = "REMOVAL_HELD",
    /// There is no Identity Center instance where the settings say.
    IdentityCenterMissing = "IDENTITY_CENTER_MISSING",
    /// An excluded organizational unit is no longer there.
    ExcludedOuGone = "EXCLUDED_OU_GONE",
    /// The state of an account is not known to this daemon.
    AccountStateUnknown = "ACCOUNT_STATE_UNKNOWN",
    /// It moved out of an excluded unit.
    AccountNoLongerExcluded = "ACCOUNT_NO_LONGER_EXCLUDED",
    /// Access is not given, or not taken away.
    AccessStuck = "ACCESS_STUCK",
    /// The database may have forgotten what was granted.
    AccessRecovering = "ACCESS_RECOVERING",
    /// What was done with access is not read.
    AuditUnread = "AUDIT_UNREAD",
    /// A log file of a trail is not one, or ends early.
    LogFileUnreadable = "LOG_FILE_UNREADABLE",
    /// The queue of a trail tells of another bucket.
    TrailQueueForeign = "TRAIL_QUEUE_FOREIGN",
    /// Reading it failed in the daemon itself.
    Internal = "INTERNAL",
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReasonCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| format!("unknown reason code {text:?}"))
    }
}

/// Why something could not be read, with what tells it from others of its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The code.
    pub code: ReasonCode,
    /// The role, action or service that it is about; problems fold by it.
    pub subject: String,
    /// What was said, without secrets.
    pub detail: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: ReasonCode, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, subject: subject.into(), detail: detail.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for part in [&self.subject, &self.detail] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        Ok(())
    }
}
