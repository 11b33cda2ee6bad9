//! The form of an integration, as it is filled in, and the check of every field.
//!
//! A [`Draft`] is text; the way from it to [`Settings`] names every bad field at once,
//! each with what would be right.

use std::{collections::BTreeSet, time::Duration};

use url::Url;

use super::{
    arn::RoleArn,
    ids::{Malformed, OuId, Region},
    integration::{
        CUSTOM_ACCESS_DETAILS_CHARACTERS_MAX, IDENTITY_CENTER_TYPES, IntegrationOwner,
        LIST_ITEMS_MAX, NAME_CHARACTERS_MAX, OWNER_VALUES_MAX, OwnerAttribute, ROLE_NAME_PREFIX,
        ResourceOwner, SYNC_INTERVAL_DEFAULT, SYNC_INTERVAL_MAX, SYNC_INTERVAL_MIN, Settings,
    },
};

mod audit;

pub use audit::DraftTrail;

/// Settings as they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the unchecked twin of the one in `Settings`")]
pub struct Draft {
    pub name: String,
    pub region: String,
    pub sso_region: String,
    pub sso_portal_url: String,
    pub management_role_arn: String,
    pub root_or_ou_id: String,
    pub excluded_ou_ids: Vec<String>,
    pub regions: Vec<String>,
    pub resource_types: Vec<String>,
    pub audit_enabled: bool,
    pub custom_access_details: String,
    pub integration_owner: Option<DraftIntegrationOwner>,
    pub resource_owner: Option<ResourceOwner>,
    pub sync_interval: Option<Duration>,
    pub account_session_document: bool,
    pub inline_policies: bool,
    pub audit_retention: Option<Duration>,
    pub trail: Option<DraftTrail>,
}

/// An integration owner as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the unchecked twin of `IntegrationOwner`'s")]
pub struct DraftIntegrationOwner {
    pub attribute: Option<OwnerAttribute>,
    pub source: String,
    pub values: Vec<String>,
}

/// A field that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path from the settings: `excluded_ou_ids[1]`.
    pub field: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// Checks every field of a draft. `known_types` are the type ids of the catalogue.
///
/// # Errors
///
/// All fields that cannot be taken.
pub fn parse(draft: Draft, known_types: &[&str]) -> Result<Settings, Vec<Violation>> {
    let mut check = Check::default();
    let settings = check.settings(draft, known_types);
    match settings {
        Some(settings) if check.0.is_empty() => Ok(settings),
        _ => Err(check.0),
    }
}

/// Checks custom access details, and counts their characters.
///
/// # Errors
///
/// When they are too long or hold control characters.
pub fn check_custom_access_details(text: &str) -> Result<usize, Violation> {
    let violation = |reason: String| Violation { field: "custom_access_details".into(), reason };
    let characters = text.chars().count();
    if characters > CUSTOM_ACCESS_DETAILS_CHARACTERS_MAX {
        return Err(violation(format!(
            "has {characters} characters; shorten it to {CUSTOM_ACCESS_DETAILS_CHARACTERS_MAX}"
        )));
    }
    match text.chars().find(|c| c.is_control() && *c != '\n') {
        Some(control) => Err(violation(format!(
            "holds the control character U+{:04X}; remove it (line breaks are allowed)",
            u32::from(control)
        ))),
        None => Ok(characters),
    }
}

/// A violation was noted.
struct Noted;

/// Collects violations; a check that fails answers `None` and notes why.
#[derive(Default)]
struct Check(Vec<Violation>);

impl Check {
    fn settings(&mut self, draft: Draft, known_types: &[&str]) -> Option<Settings> {
        let name = self.name(draft.name);
        let region = self.region("region", &draft.region);
        let sso_region =
            self.optional(&draft.sso_region, |check, text| check.region("sso_region", text));
        let sso_portal_url = self.optional(&draft.sso_portal_url, Self::portal);
        let management_role_arn = self.management_role(&draft.management_role_arn);
        let root_or_ou_id = self.root_or_ou(&draft.root_or_ou_id);
        let excluded_ou_ids = self.excluded(&draft.excluded_ou_ids);
        let regions =
            self.list("regions", &draft.regions, |text| text.parse::<Region>().map_err(said));
        let resource_types = self.resource_types(&draft.resource_types, known_types);
        if let Err(violation) = check_custom_access_details(&draft.custom_access_details) {
            self.0.push(violation);
        }
        if draft.resource_owner.is_some() && draft.integration_owner.is_none() {
            self.note(
                "integration_owner",
                "is required when a resource owner is set; name a fallback approver",
            );
        }
        let integration_owner = draft
            .integration_owner
            .map(|owner| self.integration_owner(&owner).ok_or(Noted))
            .transpose();
        let resource_owner =
            draft.resource_owner.map(|owner| self.resource_owner(&owner).ok_or(Noted)).transpose();
        let sync_interval = self.interval(draft.sync_interval);
        let audit_retention = self.audit_retention(draft.audit_retention);
        let trail = draft.trail.map(|trail| self.trail(&trail).ok_or(Noted)).transpose();

        let settings = Settings {
            name: name?,
            region: region?,
            sso_region: sso_region.ok()?,
            sso_portal_url: sso_portal_url.ok()?,
            management_role_arn: management_role_arn?,
            root_or_ou_id: root_or_ou_id?,
            excluded_ou_ids: excluded_ou_ids?,
            regions: regions?,
            resource_types: resource_types?,
            audit_enabled: draft.audit_enabled,
            custom_access_details: draft.custom_access_details,
            integration_owner: integration_owner.ok()?,
            resource_owner: resource_owner.ok()?,
            sync_interval: sync_interval?,
            account_session_document: draft.account_session_document,
            inline_policies: draft.inline_policies,
            audit_retention: audit_retention?,
            trail: trail.ok()?,
        };
        self.together(&settings);
        Some(settings)
    }

    /// What no field can say alone.
    fn together(&mut self, settings: &Settings) {
        let partition = settings.management_role_arn.partition();
        let mut regions = vec![("region".to_owned(), &settings.region)];
        regions.extend(settings.sso_region.iter().map(|region| ("sso_region".to_owned(), region)));
        let listed = settings.regions.iter().enumerate();
        regions.extend(listed.map(|(at, region)| (format!("regions[{at}]"), region)));
        for (field, region) in regions {
            if !partition.has_region(region.as_str()) {
                self.note(
                    &field,
                    format!("{region} is not a region of partition {partition}, which management_role_arn names; choose one of that partition"),
                );
            }
        }
        let of_identity_center =
            settings.resource_types.iter().find(|id| id.starts_with(IDENTITY_CENTER_TYPES));
        if let (Some(id), None) = (of_identity_center, &settings.sso_region) {
            self.note(
                "sso_region",
                format!("is required for {id}; name the region of IAM Identity Center"),
            );
        }
        if settings.excluded_ou_ids.contains(&settings.root_or_ou_id) {
            self.note(
                "excluded_ou_ids",
                "holds root_or_ou_id itself, so nothing would be read; remove it",
            );
        }
        self.trail_together(settings);
    }

    fn note(&mut self, field: &str, reason: impl Into<String>) {
        self.0.push(Violation { field: field.to_owned(), reason: reason.into() });
    }

    fn noted<T>(&mut self, field: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.note(field, reason)).ok()
    }

    /// An empty text is nothing; one that cannot be taken is noted.
    fn optional<T>(
        &mut self,
        text: &str,
        parse: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Result<Option<T>, Noted> {
        if text.is_empty() { Ok(None) } else { parse(self, text).map(Some).ok_or(Noted) }
    }

    fn name(&mut self, name: String) -> Option<String> {
        let valid = (1..=NAME_CHARACTERS_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if valid {
            return Some(name);
        }
        let reason = if name.is_empty() {
            "is required; use letters, digits, `-` and `_`".to_owned()
        } else {
            format!(
                "{name:?} cannot be a name; use 1 to {NAME_CHARACTERS_MAX} letters, digits, `-` and `_`"
            )
        };
        self.note("name", reason);
        None
    }

    fn region(&mut self, field: &str, text: &str) -> Option<Region> {
        self.noted(field, required(text).and_then(|text| text.parse().map_err(said)))
    }

    fn portal(&mut self, text: &str) -> Option<Url> {
        const EXPECTED: &str =
            "use the AWS access portal URL, such as https://d-1234567890.awsapps.com/start";
        let parsed = Url::parse(text)
            .map_err(|error| format!("{text:?} is not a URL ({error}); {EXPECTED}"));
        let checked = parsed.and_then(|url| {
            let host = url.host_str().unwrap_or_default();
            let known = [
                ".awsapps.com",
                ".awsapps.cn",
                ".app.aws",
                ".amazonaws.com",
                ".amazonaws-us-gov.com",
                ".amazonaws.cn",
                ".awsapps.com.cn",
            ];
            let is_portal = known.iter().any(|end| host.ends_with(end))
                || host == "start.us-gov-home.awsapps.com"
                || host == "start.home.awsapps.cn";
            if url.scheme() == "https"
                && is_portal
                && url.username().is_empty()
                && url.port().is_none()
            {
                Ok(url)
            } else {
                Err(format!("{text:?} is not an access portal; {EXPECTED}"))
            }
        });
        self.noted("sso_portal_url", checked)
    }

    fn management_role(&mut self, text: &str) -> Option<RoleArn> {
        let parsed = required(text).and_then(|text| text.parse::<RoleArn>().map_err(said)).and_then(|arn| {
            if arn.name().starts_with(ROLE_NAME_PREFIX) {
                Ok(arn)
            } else {
                Err(format!(
                    "names the role {:?}, but the connector assumes only roles whose names begin with {ROLE_NAME_PREFIX}; use the stack's output ManagementAccountRoleArnOutput",
                    arn.name()
                ))
            }
        });
        self.noted("management_role_arn", parsed)
    }

    fn root_or_ou(&mut self, text: &str) -> Option<OuId> {
        let parsed = required(text).and_then(|text| {
            if text.starts_with("o-") {
                return Err(format!(
                    "{text:?} is the organization; use its root (r-…), which `aws organizations list-roots` shows, or an organizational unit (ou-…)"
                ));
            }
            text.parse().map_err(said)
        });
        self.noted("root_or_ou_id", parsed)
    }

    fn excluded(&mut self, texts: &[String]) -> Option<BTreeSet<OuId>> {
        self.list("excluded_ou_ids", texts, |text| {
            let id: OuId = text.parse().map_err(said)?;
            if id.is_root() {
                return Err(format!(
                    "{text:?} is a root; only organizational units (ou-…) can be excluded"
                ));
            }
            Ok(id)
        })
    }

    fn resource_types(&mut self, texts: &[String], known: &[&str]) -> Option<BTreeSet<String>> {
        if texts.is_empty() {
            self.note("resource_types", format!("is required; choose from {}", known.join(", ")));
            return None;
        }
        self.list("resource_types", texts, |text| {
            if known.contains(&text) {
                Ok(text.to_owned())
            } else {
                Err(format!("{text:?} is not a resource type; choose from {}", known.join(", ")))
            }
        })
    }

    fn list<T: Ord>(
        &mut self,
        field: &str,
        texts: &[String],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<BTreeSet<T>> {
        if texts.len() > LIST_ITEMS_MAX {
            self.note(
                field,
                format!("has {} entries; at most {LIST_ITEMS_MAX} are allowed", texts.len()),
            );
            return None;
        }
        let mut items = BTreeSet::new();
        let mut all_good = true;
        for (at, text) in texts.iter().enumerate() {
            match self.noted(&format!("{field}[{at}]"), parse(text)) {
                Some(item) => {
                    if !items.insert(item) {
                        self.note(
                            &format!("{field}[{at}]"),
                            format!("{text:?} is there twice; remove one"),
                        );
                    }
                }
                None => all_good = false,
            }
        }
        all_good.then_some(items)
    }

    fn integration_owner(&mut self, owner: &DraftIntegrationOwner) -> Option<IntegrationOwner> {
        let field = |name: &str| format!("integration_owner.{name}");
        let attribute = owner.attribute.ok_or("is required; choose user or group".to_owned());
        let attribute = self.noted(&field("attribute"), attribute);
        let source = self.noted(&field("source"), reference(&owner.source, 256));
        if owner.values.is_empty() || owner.values.len() > OWNER_VALUES_MAX {
            self.note(
                &field("values"),
                format!(
                    "has {} entries; name 1 to {OWNER_VALUES_MAX} users or groups",
                    owner.values.len()
                ),
            );
        }
        let mut values = Vec::with_capacity(owner.values.len());
        for (at, value) in owner.values.iter().enumerate() {
            values.extend(self.noted(&field(&format!("values[{at}]")), reference(value, 256)));
        }
        Some(IntegrationOwner { attribute: attribute?, source: source?, values })
    }

    fn resource_owner(&mut self, owner: &ResourceOwner) -> Option<ResourceOwner> {
        let tag_key = self.noted("resource_owner.tag_key", reference(&owner.tag_key, 128));
        let attribute = self.noted("resource_owner.attribute", reference(&owner.attribute, 256));
        let source = self.noted("resource_owner.source", reference(&owner.source, 256));
        Some(ResourceOwner { tag_key: tag_key?, attribute: attribute?, source: source? })
    }

    fn interval(&mut self, interval: Option<Duration>) -> Option<Duration> {
        let interval = interval.unwrap_or(SYNC_INTERVAL_DEFAULT);
        if (SYNC_INTERVAL_MIN..=SYNC_INTERVAL_MAX).contains(&interval) {
            return Some(interval);
        }
        self.note(
            "sync_interval",
            format!("is {} seconds; choose 300 (5 minutes) to 604800 (7 days)", interval.as_secs()),
        );
        None
    }
}

fn required(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("is required".to_owned()) } else { Ok(text) }
}

fn said(malformed: Malformed) -> String {
    let Malformed { found, expected } = malformed;
    format!("{found:?} is not {expected}")
}

/// A text that points at something in the control plane.
fn reference(text: &str, characters_max: usize) -> Result<String, String> {
    let characters = text.chars().count();
    if characters == 0 || characters > characters_max {
        return Err(format!("has {characters} characters; use 1 to {characters_max}"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character; remove it".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const TYPES: [&str; 2] = ["aws-ec2-instance", "aws-s3-bucket"];

    pub(crate) fn a_draft() -> Draft {
        Draft {
            name: "prod".into(),
            region: "eu-west-1".into(),
            management_role_arn: "arn:aws:iam::111111111111:role/apono-connector-management".into(),
            root_or_ou_id: "r-a1b2".into(),
            resource_types: vec!["aws-s3-bucket".into()],
            ..Draft::default()
        }
    }

    pub(crate) fn some_settings() -> Settings {
        parse(a_draft(), &TYPES).expect("a good draft")
    }

    #[test]
    fn a_small_draft_gets_the_defaults() {
        let settings = some_settings();
        assert_eq!(settings.sync_interval, SYNC_INTERVAL_DEFAULT);
        assert!(settings.regions.is_empty() && settings.sso_portal_url.is_none());
    }

    #[test]
    fn all_bad_fields_are_named_at_once() {
        let violations = parse(Draft::default(), &TYPES).expect_err("nothing is filled in");
        let fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(
            fields,
            ["name", "region", "management_role_arn", "root_or_ou_id", "resource_types"]
        );
    }

    #[test]
    fn four_hundred_characters_are_counted_right_in_every_script() {
        for character in ["a", "ש", "😀", "\n"] {
            let full = character.repeat(400);
            assert_eq!(check_custom_access_details(&full), Ok(400), "{character:?}");
            assert!(check_custom_access_details(&(full + character)).is_err(), "{character:?}");
        }
        assert!(check_custom_access_details("a\u{7}").is_err());
    }

    #[test]
    fn portals_of_every_partition_are_taken() {
        for portal in [
            "https://d-1234567890.awsapps.com/start",
            "https://acme.awsapps.com/start/#",
            "https://ssoins-1234567890abcdef.portal.eu-west-1.app.aws",
            "https://start.us-gov-home.awsapps.com/directory/acme",
            "https://start.home.awsapps.cn/directory/acme",
        ] {
            let draft = Draft { sso_portal_url: portal.into(), ..a_draft() };
            assert!(parse(draft, &TYPES).is_ok(), "{portal}");
        }
        for portal in ["http://d-1.awsapps.com/start", "https://example.com", "awsapps.com"] {
            let draft = Draft { sso_portal_url: portal.into(), ..a_draft() };
            assert!(parse(draft, &TYPES).is_err(), "{portal}");
        }
    }
}
