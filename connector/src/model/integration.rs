//! The settings of an integration, checked: nothing in [`Settings`] can be wrong.
//!
//! They are made by [`super::form`] from what a person or a control plane sends.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    arn::RoleArn,
    ids::{OuId, Region},
};

/// Length of custom access details, in Unicode characters (scalar values).
pub const CUSTOM_ACCESS_DETAILS_CHARACTERS_MAX: usize = 400;
/// Length of an integration's name.
pub const NAME_CHARACTERS_MAX: usize = 64;
/// Values of an integration owner.
pub const OWNER_VALUES_MAX: usize = 50;
/// Entries of any other list.
pub const LIST_ITEMS_MAX: usize = 200;
/// From the start of one sync to the next, when nothing is said.
pub const SYNC_INTERVAL_DEFAULT: Duration = Duration::from_hours(1);
/// The shortest interval.
pub const SYNC_INTERVAL_MIN: Duration = Duration::from_mins(5);
/// The longest interval.
pub const SYNC_INTERVAL_MAX: Duration = Duration::from_hours(168);
/// How long it is kept what was done with access, when nothing is said.
pub const AUDIT_RETENTION_DEFAULT: Duration = Duration::from_hours(400 * 24);
/// The shortest retention.
pub const AUDIT_RETENTION_MIN: Duration = Duration::from_hours(24);
/// The longest retention.
pub const AUDIT_RETENTION_MAX: Duration = Duration::from_hours(3650 * 24);
/// Length of the prefix of a trail: what CloudTrail takes.
pub const TRAIL_PREFIX_CHARACTERS_MAX: usize = 200;
/// What the ids of all resource types of IAM Identity Center begin with.
pub const IDENTITY_CENTER_TYPES: &str = "aws-identity-center-";
/// What the names of all roles that we assume begin with.
pub const ROLE_NAME_PREFIX: &str = "apono-";

/// Whether owner values are users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerAttribute {
    /// Users.
    User,
    /// Groups.
    Group,
}

/// The fallback approver of all resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegrationOwner {
    /// Users or groups.
    pub attribute: OwnerAttribute,
    /// The identity provider that knows them.
    pub source: String,
    /// Who; never empty.
    pub values: Vec<String>,
}

/// The tag whose value names a resource's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceOwner {
    /// Tag key.
    pub tag_key: String,
    /// What the tag's value is.
    pub attribute: String,
    /// The identity provider that knows the value.
    pub source: String,
}

/// An organization trail, which delivers its log files to a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The bucket.
    pub bucket: String,
    /// What stands before `AWSLogs` in the names of its files; empty: nothing.
    pub prefix: String,
    /// Region of the bucket.
    pub region: Region,
    /// The KMS key by which they are encrypted; empty: by none.
    pub kms_key_arn: String,
    /// The SQS queue that is told of new files; none: they are looked for.
    pub queue_url: Option<Url>,
    /// The role that reads them; none: that of the management account.
    pub role_arn: Option<RoleArn>,
}

/// Checked settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Unique for the connector.
    pub name: String,
    /// Home region.
    pub region: Region,
    /// Region of IAM Identity Center.
    pub sso_region: Option<Region>,
    /// Access portal.
    pub sso_portal_url: Option<Url>,
    /// Role in the management account.
    pub management_role_arn: RoleArn,
    /// What is connected.
    pub root_or_ou_id: OuId,
    /// What is left out, with everything below.
    pub excluded_ou_ids: BTreeSet<OuId>,
    /// Only these; empty: all that are enabled.
    pub regions: BTreeSet<Region>,
    /// Type ids of the catalogue; never empty.
    pub resource_types: BTreeSet<String>,
    /// Whether session audit is read.
    pub audit_enabled: bool,
    /// Instructions shown with access.
    pub custom_access_details: String,
    /// Fallback approver.
    pub integration_owner: Option<IntegrationOwner>,
    /// Tag that names an owner.
    pub resource_owner: Option<ResourceOwner>,
    /// From the start of one sync to the next.
    pub sync_interval: Duration,
    /// Whether shells on instances are opened with the account's own document.
    #[serde(default)]
    pub account_session_document: bool,
    /// Whether generated access stands in inline policies of permission sets.
    #[serde(default)]
    pub inline_policies: bool,
    /// How long it is kept what was done with access.
    #[serde(default = "audit_retention")]
    pub audit_retention: Duration,
    /// The organization trail that is read beside the event history; none: there is none.
    #[serde(default)]
    pub trail: Option<Trail>,
}

fn audit_retention() -> Duration {
    AUDIT_RETENTION_DEFAULT
}
