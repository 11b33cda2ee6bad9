//! Amazon resource names, with their partition: `aws`, `aws-us-gov`, `aws-cn`.
//!
//! No ARN is ever put together from a literal partition; it comes from the role
//! ARN of the integration.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::ids::{AccountId, Malformed};

/// What the connector's own roles, users, policies and permission sets begin with.
pub const OUR_PREFIX: &str = "apono-";

/// Name of the role that the StackSet plants in every member account.
pub const MEMBER_ROLE_NAME: &str = "apono-connector-member";

/// A set of regions with one IAM and one `arn:` prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// Commercial regions.
    Aws,
    /// AWS GovCloud (US).
    AwsUsGov,
    /// China.
    AwsCn,
}

impl Partition {
    /// As it stands in an ARN.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsUsGov => "aws-us-gov",
            Self::AwsCn => "aws-cn",
        }
    }

    /// Whether a region belongs to it, told by the region's name.
    #[must_use]
    pub fn has_region(self, region: &str) -> bool {
        let gov = region.starts_with("us-gov-");
        let china = region.starts_with("cn-");
        match self {
            Self::Aws => !gov && !china,
            Self::AwsUsGov => gov,
            Self::AwsCn => china,
        }
    }

    /// The ARN of something in it.
    #[must_use]
    pub fn arn(self, service: &str, region: &str, account: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{region}:{account}:{resource}", self.as_str())
    }

    /// The role of this name in an account.
    #[must_use]
    pub fn role(self, account: &AccountId, name: &str) -> RoleArn {
        RoleArn { partition: self, account: account.clone(), path_and_name: name.to_owned() }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const ROLE_EXPECTED: &str =
    "the ARN of an IAM role, such as arn:<partition>:iam::123456789012:role/apono-connector";

/// The ARN of an IAM role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleArn {
    partition: Partition,
    account: AccountId,
    path_and_name: String,
}

impl RoleArn {
    /// The partition of the role, and so of everything that is reached by it.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The account that the role lives in.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The role's name without its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path_and_name.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:iam::{}:role/{}", self.partition, self.account, self.path_and_name)
    }
}

impl From<RoleArn> for String {
    fn from(arn: RoleArn) -> String {
        arn.to_string()
    }
}

impl TryFrom<String> for RoleArn {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        parse_role(&text).ok_or(Malformed { found: text, expected: ROLE_EXPECTED })
    }
}

impl FromStr for RoleArn {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        text.to_owned().try_into()
    }
}

const USER_EXPECTED: &str =
    "the ARN of an IAM user, such as arn:<partition>:iam::123456789012:user/ann";

/// The ARN of an IAM user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserArn {
    account: AccountId,
    arn: String,
}

impl UserArn {
    /// The account that the user lives in.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The user's name without its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// The ARN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.arn
    }
}

impl From<UserArn> for String {
    fn from(user: UserArn) -> String {
        user.arn
    }
}

impl TryFrom<String> for UserArn {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        match parse(&text, "user/") {
            Some((_, account, _)) => Ok(Self { account, arn: text }),
            None => Err(Malformed { found: text, expected: USER_EXPECTED }),
        }
    }
}

fn parse_role(text: &str) -> Option<RoleArn> {
    let (partition, account, path_and_name) = parse(text, "role/")?;
    Some(RoleArn { partition, account, path_and_name: path_and_name.to_owned() })
}

/// The partition, the account, and the path and name of something of IAM.
fn parse<'a>(text: &'a str, kind: &str) -> Option<(Partition, AccountId, &'a str)> {
    let mut parts = text.splitn(6, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let partition = match partition {
        "aws" => Partition::Aws,
        "aws-us-gov" => Partition::AwsUsGov,
        "aws-cn" => Partition::AwsCn,
        _ => return None,
    };
    let path_and_name = resource.strip_prefix(kind)?;
    let name = path_and_name.rsplit('/').next()?;
    let valid = arn == "arn"
        && service == "iam"
        && region.is_empty()
        && (1..=64).contains(&name.len())
        && path_and_name.len() <= 512
        && !path_and_name.starts_with('/')
        && path_and_name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&b));
    let account = account.parse().ok()?;
    valid.then_some((partition, account, path_and_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_arns_of_all_partitions_are_read_and_written_back() {
        for text in [
            "arn:aws:iam::123456789012:role/apono-connector-management",
            "arn:aws-us-gov:iam::123456789012:role/apono-connector-management",
            "arn:aws-cn:iam::123456789012:role/security/apono-x",
        ] {
            let role: RoleArn = text.parse().expect("a role ARN");
            assert_eq!(role.to_string(), text);
            assert!(role.name().starts_with("apono-"));
        }
    }

    #[test]
    fn what_is_no_role_arn_is_refused() {
        for text in [
            "",
            "apono-connector",
            "arn:aws:iam::123456789012:user/ann",
            "arn:aws:iam::12345678901:role/x",
            "arn:aws:sts::123456789012:assumed-role/x/y",
            "arn:aws-moon:iam::123456789012:role/x",
            "arn:aws:iam:eu-west-1:123456789012:role/x",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
        ] {
            assert!(text.parse::<RoleArn>().is_err(), "{text}");
        }
    }

    #[test]
    fn users_are_told_by_their_arns() {
        let text = "arn:aws-cn:iam::123456789012:user/payments/ann@example.com";
        let user = UserArn::try_from(text.to_owned()).expect("a user's ARN");
        assert_eq!((user.as_str(), user.name()), (text, "ann@example.com"));
        assert_eq!(user.account().as_str(), "123456789012");
        let role = "arn:aws:iam::123456789012:role/ann".to_owned();
        assert!(UserArn::try_from(role).is_err());
    }
}
