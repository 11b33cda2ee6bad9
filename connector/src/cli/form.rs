//! An integration as a file: what `export` writes and `apply` reads.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::Context as _;
use apono_connector_proto::v1::{
    IntegrationOwner, IntegrationSettings, OrganizationTrail, OwnerAttribute, ResourceOwner,
};
use serde::{Deserialize, Serialize};
use toml::Value;

/// The settings of an integration, in TOML; the fields are those of the API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    /// Unique name: letters, digits, `-` and `_`.
    #[arg(long, default_value = "")]
    pub(super) name: String,
    /// Home region, for STS and signing.
    #[arg(long, default_value = "")]
    pub(super) region: String,
    /// Region of IAM Identity Center.
    #[arg(long, default_value = "")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) sso_region: String,
    /// Access portal URL, for sign-in links.
    #[arg(long, default_value = "")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) sso_portal_url: String,
    /// The stack's output `ManagementAccountRoleArnOutput`.
    #[arg(long, default_value = "")]
    pub(super) management_role_arn: String,
    /// The root (r-…) or organizational unit (ou-…) to connect.
    #[arg(long, default_value = "")]
    pub(super) root_or_ou_id: String,
    /// Unit to leave out, with everything below it; may be given several times.
    #[arg(long = "exclude-ou", value_name = "OU")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) excluded_ou_ids: Vec<String>,
    /// Only these regions; none: all that are enabled.
    #[arg(long = "only-region", value_name = "REGION")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) regions: Vec<String>,
    /// Resource type to discover (`apono-connector types` lists them); at least one.
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) resource_types: Vec<String>,
    /// Reads session audit.
    #[arg(long)]
    #[serde(default)]
    pub(super) audit_enabled: bool,
    /// Opens shells on instances with the account's own SSM-SessionManagerRunShell, not with documents of the
    /// connector that end them.
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) account_session_document: bool,
    /// Gives permissions on resources by inline policies of permission sets, without policies in member accounts.
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) inline_policies: bool,
    /// How long it is kept what was done with access: 90d, 400d.
    #[arg(long, default_value = "400days", value_name = "DURATION")]
    #[serde(default = "four_hundred_days")]
    pub(super) audit_retention: String,
    /// Instructions shown with access: at most 400 characters.
    #[arg(long, default_value = "")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) custom_access_details: String,
    /// From one sync to the next: 1h, 30min.
    #[arg(long, default_value = "1h")]
    #[serde(default = "an_hour")]
    pub(super) sync_interval: String,
    /// Fallback approver.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) integration_owner: Option<OwnerForm>,
    /// Tag that names a resource's owner.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resource_owner: Option<ResourceOwnerForm>,
    /// Organization trail.
    #[command(flatten)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trail: Option<TrailForm>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerForm {
    /// `user` or `group`.
    pub(super) attribute: String,
    pub(super) source: String,
    pub(super) values: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceOwnerForm {
    pub(super) tag_key: String,
    pub(super) attribute: String,
    pub(super) source: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub(super) struct TrailForm {
    /// Bucket of an organization trail, which is read beside CloudTrail's event history.
    #[arg(id = "trail_bucket", long = "trail-bucket", value_name = "NAME", default_value = "")]
    pub(super) bucket: String,
    /// What stands before `/AWSLogs` in the names of its files.
    #[arg(id = "trail_prefix", long = "trail-prefix", value_name = "PREFIX", default_value = "")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) prefix: String,
    /// Region of the bucket.
    #[arg(id = "trail_region", long = "trail-region", value_name = "REGION", default_value = "")]
    pub(super) region: String,
    /// KMS key by which the files are encrypted.
    #[arg(id = "trail_kms_key", long = "trail-kms-key", value_name = "ARN", default_value = "")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) kms_key_arn: String,
    /// SQS queue that is told of new files.
    #[arg(id = "trail_queue", long = "trail-queue", value_name = "URL", default_value = "")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) queue_url: String,
    /// Role that reads bucket and queue; none: that of the management account.
    #[arg(id = "trail_role", long = "trail-role", value_name = "ARN", default_value = "")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) role_arn: String,
}

fn an_hour() -> String {
    "1h".to_owned()
}

fn four_hundred_days() -> String {
    "400days".to_owned()
}

/// A length of a field as the API has it.
fn length(field: &str, text: &str, such_as: &str) -> anyhow::Result<prost_types::Duration> {
    let length = humantime::parse_duration(text);
    let length = length
        .with_context(|| format!("{field} {text:?} cannot be used; write it as {such_as}"))?;
    Ok(prost_types::Duration::try_from(length)?)
}

/// The same as people write it.
fn written(length: Option<prost_types::Duration>, default: fn() -> String) -> String {
    let length = length.and_then(|length| Duration::try_from(length).ok());
    let days = |length: Duration| {
        let days = length.as_secs() / 86_400;
        let is_whole = days > 0 && Duration::from_hours(days * 24) == length;
        is_whole.then(|| format!("{days}days"))
    };
    length.map_or_else(default, |length| {
        days(length).unwrap_or_else(|| humantime::format_duration(length).to_string())
    })
}

impl Form {
    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        let (sync_interval, audit_retention) = (an_hour(), four_hundred_days());
        *self == Self { audit_retention, sync_interval, ..Self::default() }
    }

    /// Reads a file.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let named = || format!("failed to read {}", file.display());
        let text = fs::read_to_string(file).with_context(named)?;
        toml::from_str(&text).with_context(|| format!("{} is no integration", file.display()))
    }

    /// As a file's text.
    pub(super) fn text(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// The fields that differ from those of another form: name, there, here.
    pub(super) fn changes(&self, from: &Self) -> anyhow::Result<Vec<(String, String, String)>> {
        let (before, after) = (from.fields()?, self.fields()?);
        let names = before.keys().chain(after.keys()).cloned();
        let names: std::collections::BTreeSet<String> = names.collect();
        let shown = |value: Option<&Value>| value.map_or("-".to_owned(), ToString::to_string);
        Ok(names
            .into_iter()
            .filter(|name| before.get(name) != after.get(name))
            .map(|name| {
                let (old, new) = (shown(before.get(&name)), shown(after.get(&name)));
                (name, old, new)
            })
            .collect())
    }

    fn fields(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        Ok(Value::try_from(self)?.try_into()?)
    }

    /// As the API has it.
    pub(super) fn settings(self) -> anyhow::Result<IntegrationSettings> {
        let interval = length("sync_interval", &self.sync_interval, "1h or 30min")?;
        let retention = length("audit_retention", &self.audit_retention, "90d or 400d")?;
        Ok(IntegrationSettings {
            name: self.name,
            region: self.region,
            sso_region: self.sso_region,
            sso_portal_url: self.sso_portal_url,
            management_role_arn: self.management_role_arn,
            root_or_ou_id: self.root_or_ou_id,
            excluded_ou_ids: self.excluded_ou_ids,
            regions: self.regions,
            resource_types: self.resource_types,
            audit_enabled: self.audit_enabled,
            custom_access_details: self.custom_access_details,
            integration_owner: self.integration_owner.map(|owner| IntegrationOwner {
                attribute: attribute(&owner.attribute).into(),
                source: owner.source,
                values: owner.values,
            }),
            resource_owner: self.resource_owner.map(|owner| ResourceOwner {
                tag_key: owner.tag_key,
                attribute: owner.attribute,
                source: owner.source,
            }),
            sync_interval: Some(interval),
            account_session_document: self.account_session_document,
            inline_policies: self.inline_policies,
            audit_retention: Some(retention),
            trail: self.trail.map(|trail| OrganizationTrail {
                bucket: trail.bucket,
                prefix: trail.prefix,
                region: trail.region,
                kms_key_arn: trail.kms_key_arn,
                queue_url: trail.queue_url,
                role_arn: trail.role_arn,
            }),
        })
    }
}

fn attribute(text: &str) -> OwnerAttribute {
    match text {
        "user" => OwnerAttribute::User,
        "group" => OwnerAttribute::Group,
        _ => OwnerAttribute::Unspecified,
    }
}

impl From<IntegrationSettings> for Form {
    fn from(settings: IntegrationSettings) -> Self {
        Self {
            integration_owner: settings.integration_owner.map(|owner| OwnerForm {
                attribute: match owner.attribute() {
                    OwnerAttribute::User => "user".to_owned(),
                    OwnerAttribute::Group => "group".to_owned(),
                    OwnerAttribute::Unspecified => String::new(),
                },
                source: owner.source,
                values: owner.values,
            }),
            name: settings.name,
            region: settings.region,
            sso_region: settings.sso_region,
            sso_portal_url: settings.sso_portal_url,
            management_role_arn: settings.management_role_arn,
            root_or_ou_id: settings.root_or_ou_id,
            excluded_ou_ids: settings.excluded_ou_ids,
            regions: settings.regions,
            resource_types: settings.resource_types,
            audit_enabled: settings.audit_enabled,
            account_session_document: settings.account_session_document,
            inline_policies: settings.inline_policies,
            custom_access_details: settings.custom_access_details,
            sync_interval: written(settings.sync_interval, an_hour),
            audit_retention: written(settings.audit_retention, four_hundred_days),
            resource_owner: settings.resource_owner.map(|owner| ResourceOwnerForm {
                tag_key: owner.tag_key,
                attribute: owner.attribute,
                source: owner.source,
            }),
            trail: settings.trail.map(|trail| TrailForm {
                bucket: trail.bucket,
                prefix: trail.prefix,
                region: trail.region,
                kms_key_arn: trail.kms_key_arn,
                queue_url: trail.queue_url,
                role_arn: trail.role_arn,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn said(flags: &[&str]) -> Form {
        let command = Form::augment_args(Command::new("create").no_binary_name(true));
        Form::from_arg_matches(&command.get_matches_from(flags)).expect("a form")
    }

    #[test]
    fn nothing_said_is_an_empty_form_and_a_trail_is_as_in_a_file() {
        assert!(said(&[]).is_empty());
        let flags = ["--name", "prod", "--trail-bucket", "logs", "--trail-region", "eu-west-1"];
        let form = said(&flags);
        let trail = form.trail.clone().expect("a trail");
        assert_eq!((trail.bucket.as_str(), trail.queue_url.as_str()), ("logs", ""));
        let read: Form = toml::from_str(&form.text().expect("a text")).expect("a form");
        assert_eq!(read, form);
        assert_eq!(said(&flags[..2]).trail, None);
    }
}
