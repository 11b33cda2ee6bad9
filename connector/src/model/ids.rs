//! The names of things, each a type of its own, checked when it is made.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the id that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {expected}")]
pub struct Malformed {
    /// What was given.
    pub found: String,
    /// What it should be, with an example.
    pub expected: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Malformed;

            fn try_from(text: String) -> Result<Self, Malformed> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(Malformed { found: text, expected: $expected })
                }
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// The tenant: one customer's connector. It is the external id of every role
    /// that is assumed for it, so it must not be guessable: a random UUID when we
    /// make it.
    ConnectorId,
    "a connector id: 2 to 128 letters, digits, `-`, `_` or `.`, such as 5b7c0f4e-8a3c-4e0e-9f52-5a1d3d3f1b7a",
    |text| (2..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
);

impl From<Uuid> for ConnectorId {
    fn from(random: Uuid) -> Self {
        Self(random.to_string())
    }
}

text_id!(
    /// An AWS account.
    AccountId,
    "an account id: twelve digits, such as 123456789012",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

text_id!(
    /// An AWS region.
    Region,
    "a region name, such as eu-west-1",
    |text| {
        let parts: Vec<&str> = text.split('-').collect();
        text.len() <= 32
            && parts.len() >= 3
            && parts.iter().all(|part| !part.is_empty())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && parts[0].bytes().all(|b| b.is_ascii_lowercase())
            && parts[parts.len() - 1].bytes().all(|b| b.is_ascii_digit())
    }
);

text_id!(
    /// An organization.
    OrganizationId,
    "an organization id, such as o-a1b2c3d4e5",
    |text| text.strip_prefix("o-").is_some_and(|rest| (10..=32).contains(&rest.len())
        && rest.bytes().all(is_lower_alphanumeric))
);

text_id!(
    /// The root of an organization, or an organizational unit.
    OuId,
    "a root or organizational unit id, such as r-a1b2 or ou-a1b2-c3d4e5f6",
    |text| is_root(text) || is_ou(text)
);

impl OuId {
    /// Whether it is the root (`r-…`).
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.starts_with("r-")
    }
}

fn is_root(text: &str) -> bool {
    text.strip_prefix("r-").is_some_and(is_short_part)
}

fn is_ou(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 3
        && parts[0] == "ou"
        && is_short_part(parts[1])
        && (4..=32).contains(&parts[2].len())
        && parts[2].bytes().all(is_lower_alphanumeric)
}

fn is_short_part(text: &str) -> bool {
    (4..=32).contains(&text.len()) && text.bytes().all(is_lower_alphanumeric)
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// One connected organization of a connector.
    IntegrationId
);
uuid_id!(
    /// One crawl of one integration.
    SyncId
);
uuid_id!(
    /// One trial of settings in AWS.
    ValidationId
);
uuid_id!(
    /// One object in AWS that grants hold.
    TargetId
);
uuid_id!(
    /// One API token.
    TokenId
);
uuid_id!(
    /// One running process.
    ReplicaId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_and_refused() {
        assert!("123456789012".parse::<AccountId>().is_ok());
        assert!("12345678901".parse::<AccountId>().is_err());
        assert!("12345678901٢".parse::<AccountId>().is_err());
        for region in ["eu-west-1", "us-gov-west-1", "cn-north-1", "ap-southeast-7"] {
            assert!(region.parse::<Region>().is_ok(), "{region}");
        }
        for region in ["", "eu-west", "EU-WEST-1", "eu--1", "eu-west-1a", "../eu-west-1"] {
            assert!(region.parse::<Region>().is_err(), "{region}");
        }
        for id in ["r-a1b2", "ou-a1b2-c3d4e5f6", "ou-aaa1-1111"] {
            assert!(id.parse::<OuId>().is_ok(), "{id}");
        }
        for id in ["o-a1b2c3d4e5", "r-", "ou-a1b2", "ou-a1b2-c3d4e5f6-x", "OU-a1b2-c3d4e5f6"] {
            assert!(id.parse::<OuId>().is_err(), "{id}");
        }
    }
}
