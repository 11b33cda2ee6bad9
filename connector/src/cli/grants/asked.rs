//! What people write: who, what, and until when.
//!
//! A slip of the hand is answered here, with the flag that it stands in. What only the daemon
//! knows, such as names and guardrails, the daemon refuses.

use std::collections::HashMap;

use anyhow::{Context as _, bail, ensure};
use apono_connector_proto::v1::{AccessUnit, Recipient, grant_request::End, recipient::Who};
use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use crate::cli::output::from_now;

const ACCOUNT_ID_DIGITS: usize = 12;

/// Who receives access: at most one of these. A command that needs one makes the group required.
#[derive(Debug, clap::Args)]
#[group(id = "recipient", multiple = false)]
pub(super) struct RecipientFlags {
    /// Primary e-mail address of an Identity Center user.
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// User name of an Identity Center user.
    #[arg(long, value_name = "NAME")]
    user_name: Option<String>,
    /// Id of a user in the identity store.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Display name of an Identity Center group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Id of a group in the identity store.
    #[arg(long, value_name = "ID")]
    group_id: Option<String>,
    /// ARN of an IAM user, in the account of what is granted.
    #[arg(long, value_name = "ARN")]
    iam_user: Option<String>,
}

/// The arguments of [`RecipientFlags`].
pub(super) const RECIPIENT_ARGS: [&str; 6] =
    ["user", "user_name", "user_id", "group", "group_id", "iam_user"];

impl RecipientFlags {
    /// As the API has it; none: no flag was given.
    pub(super) fn recipient(self) -> Option<Recipient> {
        let who = self
            .user
            .map(Who::UserEmail)
            .or(self.user_name.map(Who::UserName))
            .or(self.user_id.map(Who::UserId))
            .or(self.group.map(Who::GroupName))
            .or(self.group_id.map(Who::GroupId))
            .or(self.iam_user.map(Who::IamUserArn));
        who.map(|who| Recipient { who: Some(who) })
    }
}

/// Until when: one of these.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "end", required = true, multiple = false)]
pub(in crate::cli) struct EndFlags {
    /// How long, from now: 1h, 30m.
    #[arg(long = "for", value_name = "DURATION")]
    length: Option<humantime::Duration>,
    /// Until when: 2026-07-01T18:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<DateTime<Utc>>,
}

impl EndFlags {
    /// As a grant is asked for: a length stays one, so that the daemon's clock counts, and the
    /// same command means the same grant.
    pub(super) fn end(self) -> anyhow::Result<End> {
        match (self.length, self.until) {
            (Some(length), _) => {
                let length = prost_types::Duration::try_from(*length)
                    .context("--for: the duration is too long")?;
                Ok(End::Duration(length))
            }
            (None, Some(until)) => Ok(End::ExpireTime(timestamp(until))),
            (None, None) => bail!("an end is needed: --for or --until"),
        }
    }

    /// As an extension is asked for: a time.
    pub(super) fn expire_time(self) -> anyhow::Result<Timestamp> {
        match (self.length, self.until) {
            (Some(length), _) => from_now(*length).context("--for"),
            (None, Some(until)) => Ok(timestamp(until)),
            (None, None) => bail!("an end is needed: --for or --until"),
        }
    }
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: 0 }
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
        format!("{error}; write it as 2026-07-01T18:00:00Z, or 2026-07-01T20:00:00+02:00")
    })?;
    Ok(time.to_utc())
}

/// A unit: `222222222222/ReadOnly`, or `MEMBER@arn:…`; an ARN behind the first `/` holds more of them.
pub(super) fn unit(text: &str) -> Result<AccessUnit, String> {
    let wrong = || {
        "write it as ACCOUNT/PERMISSION_SET, such as 222222222222/ReadOnly, or as PERMISSION@ARN"
            .to_owned()
    };
    if let Some((permission, resource)) = text.split_once("@arn:") {
        if permission.is_empty() || resource.is_empty() {
            return Err(wrong());
        }
        let (permission, resource) = (permission.to_owned(), format!("arn:{resource}"));
        return Ok(AccessUnit { resource, permission, ..Default::default() });
    }
    let (account_id, permission_set) = text.split_once('/').ok_or_else(wrong)?;
    if permission_set.is_empty() {
        return Err(wrong());
    }
    let (account_id, permission_set) = (account(account_id)?, permission_set.to_owned());
    Ok(AccessUnit { account_id, permission_set, ..Default::default() })
}

/// The id of an account.
pub(super) fn account(text: &str) -> Result<String, String> {
    let is_id = text.len() == ACCOUNT_ID_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    if is_id {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no account id, which has {ACCOUNT_ID_DIGITS} digits"))
    }
}

/// A label: `env=prod`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// Labels, each key once.
pub(super) fn labels(pairs: Vec<(String, String)>) -> anyhow::Result<HashMap<String, String>> {
    let mut labels = HashMap::with_capacity(pairs.len());
    for (key, value) in pairs {
        let before = labels.insert(key.clone(), value);
        ensure!(before.is_none(), "--label: {key} is given twice");
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_split_at_its_first_slash() {
        let arn = "arn:aws:sso:::permissionSet/ssoins-1/ps-1";
        for permission_set in ["ReadOnly", arn] {
            let wanted = AccessUnit {
                account_id: "222222222222".to_owned(),
                permission_set: permission_set.to_owned(),
                ..Default::default()
            };
            assert_eq!(unit(&format!("222222222222/{permission_set}")), Ok(wanted));
        }
        let group = "arn:aws:identitystore:::group/g-1";
        let wanted = AccessUnit {
            resource: group.to_owned(),
            permission: "MEMBER".to_owned(),
            ..Default::default()
        };
        assert_eq!(unit(&format!("MEMBER@{group}")), Ok(wanted));
        for wrong in [
            "@arn:aws:x",
            "MEMBER@arn:",
            "ReadOnly",
            "222222222222",
            "222222222222/",
            "22222222222/ReadOnly",
            arn,
        ] {
            assert!(unit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_an_offset_and_labels_a_key() {
        let time = instant("2026-07-01T20:00:00+02:00").expect("a time");
        assert_eq!(time.to_rfc3339(), "2026-07-01T18:00:00+00:00");
        assert!(instant("2026-07-01T20:00:00").is_err());
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(label("a="), Ok(("a".to_owned(), String::new())));
        assert!(label("=b").is_err());
    }

    #[test]
    fn a_label_that_is_given_twice_is_refused() {
        let pair = |value: &str| ("env".to_owned(), value.to_owned());
        assert!(labels(vec![pair("prod"), pair("test")]).is_err());
        assert_eq!(labels(vec![pair("prod")]).expect("labels")["env"], "prod");
    }
}
