//! An account assignment of IAM Identity Center: a permission set for somebody in an account.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{arn::UserArn, ids::AccountId};

/// Somebody in the identity store, or a user of IAM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// The id of a user.
    User(String),
    /// The id of a group.
    Group(String),
    /// A user of IAM.
    IamUser(IamUser),
}

/// A user of IAM. Whoever is made anew under the name of another has another id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IamUser {
    /// The ARN, by which they were named.
    pub arn: UserArn,
    /// The id: `AIDA…`.
    pub id: String,
}

impl Principal {
    /// Its id, or ARN.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Group(id) => id,
            Self::IamUser(user) => user.arn.as_str(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::IamUser(_) => "iam-user",
        };
        write!(f, "{word}/{}", self.id())
    }
}

/// A permission set in an account, for whomever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InAccount {
    /// Account.
    pub account: AccountId,
    /// ARN of the permission set.
    pub permission_set: String,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Assignment {
    /// Account.
    pub account: AccountId,
    /// ARN of the permission set.
    pub permission_set: String,
    /// Who.
    pub principal: Principal,
}

impl fmt::Display for Assignment {
    /// What tells it from all others of its organization.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.permission_set.rsplit('/').next().unwrap_or_default();
        write!(f, "{}/{set}/{}", self.account, self.principal)
    }
}
