//! How a person gets in: the access portal's link, and a profile for the AWS CLI.
//!
//! The link is the documented shortcut form of the portal, which works once the assignment is
//! there. A portal has one host name in each partition, and some organizations have one of their
//! own; its URL is a setting.

use chrono::TimeDelta;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::ids::{AccountId, Region};

/// What a query value may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How to sign in with a permission set in an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Link of the access portal, or of the account where users of IAM sign in.
    pub sign_in_url: String,
    /// A profile for `~/.aws/config`.
    pub aws_config: String,
    /// A command that signs in with the profile, and one that uses the access.
    pub cli_command: String,
}

/// The access portal of an organization.
#[derive(Clone, Copy, Debug)]
pub struct Portal<'a> {
    /// Its URL.
    pub url: &'a Url,
    /// The region of the Identity Center instance.
    pub sso_region: &'a Region,
}

/// Where the access portal begins.
#[must_use]
pub fn start(portal: &Url) -> String {
    let mut start = portal.clone();
    start.set_fragment(None);
    start.set_query(None);
    start.as_str().trim_end_matches('/').to_owned()
}

/// The details of a permission set in an account.
#[must_use]
pub fn of_role(
    Portal { url, sso_region }: Portal<'_>,
    account: &AccountId,
    permission_set: &str,
) -> Details {
    let start = start(url);
    let role = utf8_percent_encode(permission_set, PLAIN);
    let profile = format!("{account}-{permission_set}");
    Details {
        sign_in_url: format!("{start}/#/console?account_id={account}&role_name={role}"),
        aws_config: format!(
            "[profile {profile}]\nsso_start_url = {start}\nsso_region = {sso_region}\nsso_account_id = {account}\nsso_role_name = {permission_set}\n"
        ),
        cli_command: format!("aws sso login --profile {profile}"),
    }
}

impl Details {
    /// Those of a user of IAM, perhaps with a command, in an account of a partition.
    #[must_use]
    pub fn of_iam_user(partition: &str, account: &AccountId, command: &str) -> Self {
        let domain = match partition {
            "aws-us-gov" => "signin.amazonaws-us-gov.com",
            "aws-cn" => "signin.amazonaws.cn",
            _ => "signin.aws.amazon.com",
        };
        let sign_in_url = format!("https://{account}.{domain}/console");
        Self { sign_in_url, cli_command: command.to_owned(), ..Self::default() }
    }

    /// The same with a page of the console behind the link, and a command with the profile behind
    /// that which signs in.
    #[must_use]
    pub fn leading_to(mut self, page: Option<&str>, command: &str) -> Self {
        if let Some(page) = page {
            let page = utf8_percent_encode(page, PLAIN);
            self.sign_in_url = format!("{}&destination={page}", self.sign_in_url);
        }
        let profile = self.cli_command.rsplit(' ').next().unwrap_or_default().to_owned();
        if !command.is_empty() {
            self.cli_command = format!("{}\n{command} --profile {profile}", self.cli_command);
        }
        self
    }
}

/// The longest session that a permission set can give.
pub const SESSION_MAX: TimeDelta = TimeDelta::hours(12);

/// How long sessions of a permission set last, by its duration (ISO 8601, hours and minutes);
/// as long as can be when that is not known.
#[must_use]
pub fn session_length(duration: &str) -> TimeDelta {
    let parsed = duration.strip_prefix("PT").and_then(|rest| {
        let (hours, rest) = rest.split_once('H').unwrap_or(("0", rest));
        let minutes = rest.strip_suffix('M').unwrap_or(if rest.is_empty() { "0" } else { rest });
        let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
        Some(TimeDelta::hours(hours.into()) + TimeDelta::minutes(minutes.into()))
    });
    parsed.filter(|length| *length > TimeDelta::zero()).unwrap_or(SESSION_MAX).min(SESSION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_as_long_as_is_said_and_else_as_long_as_can_be() {
        for (text, minutes) in [
            ("PT1H", 60),
            ("PT8H30M", 510),
            ("PT45M", 45),
            ("PT12H", 720),
            ("", 720),
            ("P1D", 720),
            ("PT0H", 720),
            ("PT99H", 720),
        ] {
            assert_eq!(session_length(text), TimeDelta::minutes(minutes), "{text}");
        }
    }

    #[test]
    fn links_follow_the_portal_of_every_partition() {
        for (portal, region, start) in [
            (
                "https://d-1234567890.awsapps.com/start",
                "eu-west-1",
                "https://d-1234567890.awsapps.com/start",
            ),
            (
                "https://start.us-gov-home.awsapps.com/directory/d-1/",
                "us-gov-west-1",
                "https://start.us-gov-home.awsapps.com/directory/d-1",
            ),
            (
                "https://start.home.awsapps.cn/directory/d-2#/",
                "cn-north-1",
                "https://start.home.awsapps.cn/directory/d-2",
            ),
        ] {
            let portal = Url::parse(portal).expect("a URL");
            let region = region.parse().expect("a region");
            let account = "222222222222".parse().expect("an account");
            let portal = Portal { url: &portal, sso_region: &region };
            let found = of_role(portal, &account, "Read+Only@eu");
            assert_eq!(
                found.sign_in_url,
                format!("{start}/#/console?account_id=222222222222&role_name=Read%2BOnly%40eu")
            );
            assert!(found.aws_config.contains(&format!("sso_start_url = {start}\n")));
            assert_eq!(found.cli_command, "aws sso login --profile 222222222222-Read+Only@eu");
        }
    }

    #[test]
    fn users_of_iam_sign_in_by_their_account() {
        let account = "222222222222".parse().expect("an account");
        let at = |partition| Details::of_iam_user(partition, &account, "").sign_in_url;
        assert_eq!(at("aws"), "https://222222222222.signin.aws.amazon.com/console");
        assert_eq!(at("aws-cn"), "https://222222222222.signin.amazonaws.cn/console");
    }
}
