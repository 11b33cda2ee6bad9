//! What is asked for with a grant, in one form for each meaning.
//!
//! A caller that heard no answer asks again. Its request is compared with the stored one field by
//! field, as it was asked: names are not looked up for it, so that a request is the same however
//! the directory has changed since.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{arn::UserArn, ids::AccountId};

/// Length of a grant's id.
pub const ID_CHARACTERS_MAX: usize = 128;
/// Units of a grant.
pub const UNITS_MAX: usize = 100;
/// Length of a reason.
pub const REASON_CHARACTERS_MAX: usize = 1000;
/// Length of any other text.
pub const TEXT_CHARACTERS_MAX: usize = 256;
/// Length of an ARN.
pub const ARN_CHARACTERS_MAX: usize = 2048;
/// Labels of a grant.
pub const LABELS_MAX: usize = 50;
/// Length of a label's key.
pub const LABEL_KEY_CHARACTERS_MAX: usize = 128;
/// The longest that a grant may last, whatever the guardrails say.
pub const LENGTH_MAX: TimeDelta = TimeDelta::days(366);

/// Who receives access, as the caller names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// A user by the primary e-mail address.
    UserEmail(String),
    /// A user by name.
    UserName(String),
    /// A user by id.
    UserId(String),
    /// A group by display name.
    GroupName(String),
    /// A group by id.
    GroupId(String),
    /// A user of IAM by ARN.
    IamUser(UserArn),
}

impl Recipient {
    /// The name that was used.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::UserEmail(name)
            | Self::UserName(name)
            | Self::UserId(name)
            | Self::GroupName(name)
            | Self::GroupId(name) => name,
            Self::IamUser(arn) => arn.as_str(),
        }
    }

    /// Whether it is a group.
    #[must_use]
    pub fn is_group(&self) -> bool {
        match self {
            Self::GroupName(_) | Self::GroupId(_) => true,
            Self::UserEmail(_) | Self::UserName(_) | Self::UserId(_) | Self::IamUser(_) => false,
        }
    }

    /// The user of IAM that it is; none: it is somebody of Identity Center.
    #[must_use]
    pub fn iam_user(&self) -> Option<&UserArn> {
        match self {
            Self::IamUser(arn) => Some(arn),
            Self::UserEmail(_)
            | Self::UserName(_)
            | Self::UserId(_)
            | Self::GroupName(_)
            | Self::GroupId(_) => None,
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::UserEmail(_) | Self::UserName(_) | Self::UserId(_) => "user",
            Self::GroupName(_) | Self::GroupId(_) => "group",
            Self::IamUser(_) => "iam-user",
        };
        write!(f, "{word} {}", self.name())
    }
}

/// One permission on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wanted {
    /// A permission set in an account.
    InAccount {
        /// Account.
        account: AccountId,
        /// Name or ARN of a permission set.
        permission_set: String,
    },
    /// A permission on anything else.
    On {
        /// ARN of a resource.
        resource: String,
        /// A permission of its type.
        permission: String,
    },
}

/// Until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A time.
    At(DateTime<Utc>),
    /// So many milliseconds from the grant's start.
    After(i64),
}

impl End {
    /// The time that is meant by it, for a grant that starts at `start`; none: beyond what a
    /// grant may last, or not in the future.
    #[must_use]
    pub fn of(self, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let end = match self {
            Self::At(end) => end,
            Self::After(milliseconds) => {
                start.checked_add_signed(TimeDelta::try_milliseconds(milliseconds)?)?
            }
        };
        (start < end && end - start <= LENGTH_MAX).then_some(end)
    }
}

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Integration.
    pub integration: Uuid,
    /// Who.
    pub recipient: Recipient,
    /// What; never empty.
    pub units: BTreeSet<Wanted>,
    /// Until when.
    pub end: End,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub requester: String,
    /// Who approved.
    pub approver: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Request {
    /// In what it differs from another: the fields, each with what stands there and what stands here.
    #[must_use]
    pub fn difference(&self, there: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |field, there: String, here: String| {
            if there != here {
                found.push(Difference { field, there, here });
            }
        };
        compare("integration", there.integration.to_string(), self.integration.to_string());
        compare("recipient", shown(&there.recipient), shown(&self.recipient));
        compare("units", shown(&there.units), shown(&self.units));
        compare("end", shown(&there.end), shown(&self.end));
        compare("reason", there.reason.clone(), self.reason.clone());
        compare("requester", there.requester.clone(), self.requester.clone());
        compare("approver", there.approver.clone(), self.approver.clone());
        compare("labels", shown(&there.labels), shown(&self.labels));
        found
    }
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Field.
    pub field: &'static str,
    /// What was asked first.
    pub there: String,
    /// What is asked now.
    pub here: String,
}

fn shown(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let account = "222222222222".parse().expect("an account");
        Request {
            integration: Uuid::from_u128(1),
            recipient: Recipient::UserEmail("ann@example.com".to_owned()),
            units: [
                Wanted::InAccount { account, permission_set: "ReadOnly".to_owned() },
                Wanted::On { resource: "arn".to_owned(), permission: "MEMBER".to_owned() },
            ]
            .into(),
            end: End::After(3_600_000),
            reason: "ticket 7".to_owned(),
            requester: "ann".to_owned(),
            approver: "bob".to_owned(),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn a_request_is_the_same_as_what_is_stored_of_it() {
        let stored = serde_json::to_value(request()).expect("JSON");
        let read: Request = serde_json::from_value(stored).expect("a request");
        assert_eq!(request().difference(&read), []);
    }

    #[test]
    fn every_field_that_differs_is_named() {
        let account = "333333333333".parse().expect("an account");
        let other = Request {
            integration: Uuid::from_u128(2),
            recipient: Recipient::GroupId("g".to_owned()),
            units: [Wanted::InAccount { account, permission_set: "Admin".to_owned() }].into(),
            end: End::At(DateTime::from_timestamp(0, 0).expect("a time")),
            reason: "another".to_owned(),
            requester: "eve".to_owned(),
            approver: String::new(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
        };
        let fields: Vec<_> = other.difference(&request()).into_iter().map(|d| d.field).collect();
        let all = [
            "integration",
            "recipient",
            "units",
            "end",
            "reason",
            "requester",
            "approver",
            "labels",
        ];
        assert_eq!(fields, all);
    }

    #[test]
    fn an_end_lies_ahead_and_not_too_far() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        assert_eq!(End::After(1000).of(start), Some(start + TimeDelta::seconds(1)));
        for end in [End::After(0), End::After(-5), End::After(i64::MAX), End::At(start)] {
            assert_eq!(end.of(start), None, "{end:?}");
        }
        assert_eq!(End::At(start + TimeDelta::days(400)).of(start), None);
    }
}
