//! Between the words of the API and those of the model.

use std::time::Duration;

use apono_connector_proto::v1;
use chrono::{DateTime, Utc};
use prost_types::{Struct, Timestamp, value::Kind};
use serde_json::Value;

use crate::{
    model::{
        form::{Draft, DraftIntegrationOwner, DraftTrail},
        integration::{IntegrationOwner, OwnerAttribute, ResourceOwner, Settings},
        organization::Coverage,
        owner::Owner,
        problem::Severity,
        role::Role,
        scope::Reach,
        status::Status,
        sync::{SyncState, Trigger},
        validation::{Outcome, Step},
    },
    store::{self, resources::Stored},
};

pub(super) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

pub(super) fn duration(milliseconds: i64) -> prost_types::Duration {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    prost_types::Duration { seconds, nanos: i32::try_from(rest * 1_000_000).unwrap_or_default() }
}

/// A time that a caller sent.
pub(super) fn time(time: Timestamp, field: &str) -> Result<DateTime<Utc>, tonic::Status> {
    let nanos = u32::try_from(time.nanos).ok();
    nanos
        .and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos))
        .ok_or_else(|| super::status::bad_request(field, "is not a time; use RFC 3339, UTC"))
}

pub(super) fn reach(reach: Reach) -> v1::Reach {
    match reach {
        Reach::Organization => v1::Reach::Organization,
        Reach::Account => v1::Reach::Account,
        Reach::Region => v1::Reach::Region,
    }
}

pub(super) fn draft(settings: v1::IntegrationSettings) -> Draft {
    Draft {
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
        custom_access_details: settings.custom_access_details,
        integration_owner: settings.integration_owner.map(|owner| DraftIntegrationOwner {
            attribute: match owner.attribute() {
                v1::OwnerAttribute::Unspecified => None,
                v1::OwnerAttribute::User => Some(OwnerAttribute::User),
                v1::OwnerAttribute::Group => Some(OwnerAttribute::Group),
            },
            source: owner.source,
            values: owner.values,
        }),
        resource_owner: settings.resource_owner.map(|owner| ResourceOwner {
            tag_key: owner.tag_key,
            attribute: owner.attribute,
            source: owner.source,
        }),
        // A negative duration is as wrong as none at all, and is refused as such.
        sync_interval: settings
            .sync_interval
            .map(|interval| Duration::try_from(interval).unwrap_or(Duration::ZERO)),
        account_session_document: settings.account_session_document,
        inline_policies: settings.inline_policies,
        audit_retention: settings
            .audit_retention
            .map(|length| Duration::try_from(length).unwrap_or(Duration::ZERO)),
        trail: settings.trail.map(|trail| DraftTrail {
            bucket: trail.bucket,
            prefix: trail.prefix,
            region: trail.region,
            kms_key_arn: trail.kms_key_arn,
            queue_url: trail.queue_url,
            role_arn: trail.role_arn,
        }),
    }
}

pub(super) fn settings(settings: Settings) -> v1::IntegrationSettings {
    v1::IntegrationSettings {
        name: settings.name,
        region: settings.region.into(),
        sso_region: settings.sso_region.map(String::from).unwrap_or_default(),
        sso_portal_url: settings.sso_portal_url.map(String::from).unwrap_or_default(),
        management_role_arn: settings.management_role_arn.into(),
        root_or_ou_id: settings.root_or_ou_id.into(),
        excluded_ou_ids: settings.excluded_ou_ids.into_iter().map(String::from).collect(),
        regions: settings.regions.into_iter().map(String::from).collect(),
        resource_types: settings.resource_types.into_iter().collect(),
        audit_enabled: settings.audit_enabled,
        custom_access_details: settings.custom_access_details,
        integration_owner: settings.integration_owner.map(integration_owner),
        resource_owner: settings.resource_owner.map(|owner| v1::ResourceOwner {
            tag_key: owner.tag_key,
            attribute: owner.attribute,
            source: owner.source,
        }),
        sync_interval: prost_types::Duration::try_from(settings.sync_interval).ok(),
        account_session_document: settings.account_session_document,
        inline_policies: settings.inline_policies,
        audit_retention: prost_types::Duration::try_from(settings.audit_retention).ok(),
        trail: settings.trail.map(|trail| v1::OrganizationTrail {
            bucket: trail.bucket,
            prefix: trail.prefix,
            region: trail.region.into(),
            kms_key_arn: trail.kms_key_arn,
            queue_url: trail.queue_url.map(String::from).unwrap_or_default(),
            role_arn: trail.role_arn.map(String::from).unwrap_or_default(),
        }),
    }
}

fn integration_owner(owner: IntegrationOwner) -> v1::IntegrationOwner {
    let attribute = match owner.attribute {
        OwnerAttribute::User => v1::OwnerAttribute::User,
        OwnerAttribute::Group => v1::OwnerAttribute::Group,
    };
    v1::IntegrationOwner { attribute: attribute.into(), source: owner.source, values: owner.values }
}

pub(super) fn integration(
    integration: store::integrations::Integration,
    status: Status,
) -> v1::Integration {
    v1::Integration {
        id: integration.id.to_string(),
        connector_id: integration.connector.into(),
        settings: Some(settings(integration.settings)),
        status: status_word(status).into(),
        management_account_id: integration.management_account.into(),
        organization_id: integration.organization.into(),
        etag: integration.version.to_string(),
        create_time: Some(timestamp(integration.created_at)),
        update_time: Some(timestamp(integration.updated_at)),
        last_sync_time: integration.last_sync_at.map(timestamp),
        next_sync_time: integration.next_sync_at.map(timestamp),
    }
}

fn status_word(status: Status) -> v1::IntegrationStatus {
    match status {
        Status::Initializing => v1::IntegrationStatus::Initializing,
        Status::Active => v1::IntegrationStatus::Active,
        Status::Refreshing => v1::IntegrationStatus::Refreshing,
        Status::Warning => v1::IntegrationStatus::Warning,
        Status::Error => v1::IntegrationStatus::Error,
        Status::Disabled => v1::IntegrationStatus::Disabled,
        Status::Deleting => v1::IntegrationStatus::Deleting,
    }
}

pub(super) fn step(step: Step) -> v1::ValidationStep {
    let outcome = match step.outcome {
        Outcome::Passed => v1::StepOutcome::Passed,
        Outcome::Warning => v1::StepOutcome::Warning,
        Outcome::Failed => v1::StepOutcome::Failed,
        Outcome::Skipped => v1::StepOutcome::Skipped,
    };
    v1::ValidationStep {
        code: step.code,
        outcome: outcome.into(),
        finding: step.finding,
        remedy: step.remedy,
    }
}

pub(super) fn sync(sync: store::syncs::Sync) -> v1::Sync {
    let state = match sync.state {
        SyncState::Planned => v1::SyncState::Planned,
        SyncState::Running => v1::SyncState::Running,
        SyncState::Succeeded => v1::SyncState::Succeeded,
        SyncState::SucceededWithProblems => v1::SyncState::SucceededWithProblems,
        SyncState::Failed => v1::SyncState::Failed,
        SyncState::Cancelled => v1::SyncState::Cancelled,
    };
    let trigger = match sync.trigger {
        Trigger::Schedule => v1::SyncTrigger::Schedule,
        Trigger::Request => v1::SyncTrigger::Request,
        Trigger::Created => v1::SyncTrigger::Created,
    };
    v1::Sync {
        id: sync.id.to_string(),
        integration_id: sync.integration.to_string(),
        generation: sync.generation,
        state: state.into(),
        trigger: trigger.into(),
        scopes_planned: sync.scopes_planned,
        scopes_complete: sync.scopes_complete,
        scopes_incomplete: sync.scopes_incomplete,
        resources_seen: sync.resources_seen,
        resources_written: sync.resources_written,
        resources_gone: sync.resources_gone,
        create_time: Some(timestamp(sync.created_at)),
        start_time: sync.started_at.map(timestamp),
        end_time: sync.ended_at.map(timestamp),
        detail: sync.detail,
    }
}

pub(super) fn account_state(state: &str) -> v1::AccountState {
    match state {
        "PENDING_ACTIVATION" => v1::AccountState::PendingActivation,
        "ACTIVE" => v1::AccountState::Active,
        "SUSPENDED" => v1::AccountState::Suspended,
        "PENDING_CLOSURE" => v1::AccountState::PendingClosure,
        "CLOSED" => v1::AccountState::Closed,
        _ => v1::AccountState::Unspecified,
    }
}

pub(super) fn coverage(coverage: Coverage) -> v1::AccountCoverage {
    match coverage {
        Coverage::Crawled => v1::AccountCoverage::Crawled,
        Coverage::Announced => v1::AccountCoverage::Announced,
        Coverage::Excluded => v1::AccountCoverage::Excluded,
        Coverage::Outside => v1::AccountCoverage::Outside,
        Coverage::Inactive => v1::AccountCoverage::Inactive,
        Coverage::UnknownState => v1::AccountCoverage::UnknownState,
        Coverage::Gone => v1::AccountCoverage::Gone,
    }
}

/// With who approves, as the settings of its integration say.
pub(super) fn owned_resource(stored: Stored, settings: Option<&Settings>) -> v1::Resource {
    let value_of = |key: &str| stored.tags.get(key).and_then(Value::as_str);
    let owner = settings.and_then(|settings| {
        let (tag, fallback) = (&settings.resource_owner, &settings.integration_owner);
        Owner::of(value_of, tag.as_ref(), fallback.as_ref())
    });
    let owner = owner.map(|owner| v1::Owner {
        attribute: owner.attribute,
        source: owner.source,
        values: owner.values,
        is_integration_owner: owner.is_integrations,
    });
    v1::Resource { owner, ..resource(stored) }
}

pub(super) fn resource(resource: Stored) -> v1::Resource {
    v1::Resource {
        owner: None,
        arn: resource.arn,
        r#type: resource.kind,
        integration_id: resource.integration_id.to_string(),
        account_id: resource.account_id,
        region: resource.region,
        name: resource.name,
        tags: texts(resource.tags),
        attributes: Some(structure(resource.attributes)),
        unread: texts(resource.unread),
        first_seen_time: Some(timestamp(resource.first_seen_at)),
        change_time: Some(timestamp(resource.changed_at)),
        fresh_time: resource.fresh_at.map(timestamp),
        stale_reason: resource.stale_reason.unwrap_or_default(),
        gone_time: resource.gone_at.map(timestamp),
        missing_reads: resource.missing_reads.into(),
    }
}

pub(super) fn texts(object: Value) -> std::collections::HashMap<String, String> {
    serde_json::from_value(object).unwrap_or_default()
}

pub(super) fn structure(object: Value) -> Struct {
    let Value::Object(fields) = object else {
        return Struct::default();
    };
    Struct { fields: fields.into_iter().map(|(name, field)| (name, value(field))).collect() }
}

pub(super) fn value(value_: Value) -> prost_types::Value {
    let kind = match value_ {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.into_iter().map(value).collect(),
        }),
        Value::Object(_) => Kind::StructValue(structure(value_)),
    };
    prost_types::Value { kind: Some(kind) }
}

pub(super) fn severity(severity: Severity) -> v1::Severity {
    match severity {
        Severity::Notice => v1::Severity::Notice,
        Severity::Warning => v1::Severity::Warning,
        Severity::Error => v1::Severity::Error,
    }
}

pub(super) fn role_word(role: Role) -> v1::Role {
    match role {
        Role::Viewer => v1::Role::Viewer,
        Role::Operator => v1::Role::Operator,
        Role::Granter => v1::Role::Granter,
        Role::Admin => v1::Role::Admin,
    }
}

pub(super) fn role(role: v1::Role) -> Option<Role> {
    match role {
        v1::Role::Unspecified => None,
        v1::Role::Viewer => Some(Role::Viewer),
        v1::Role::Operator => Some(Role::Operator),
        v1::Role::Granter => Some(Role::Granter),
        v1::Role::Admin => Some(Role::Admin),
    }
}
