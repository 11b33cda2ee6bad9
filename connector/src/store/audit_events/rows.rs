//! Events as rows, many at once.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::New;
use crate::{
    model::record::Record,
    store::{Result, audit_places::Leased},
};

/// Rows to be, by column.
#[derive(Default)]
pub(super) struct Rows {
    seen: HashSet<(DateTime<Utc>, String)>,
    ats: Vec<DateTime<Utc>>,
    ids: Vec<String>,
    regions: Vec<String>,
    role_ids: Vec<String>,
    session_names: Vec<String>,
    sessions_created_at: Vec<DateTime<Utc>>,
    access_keys: Vec<String>,
    services: Vec<String>,
    names: Vec<String>,
    are_read_only: Vec<bool>,
    error_codes: Vec<String>,
    addresses: Vec<String>,
    agents: Vec<String>,
    /// Lists, as JSON.
    resources: Vec<Value>,
    grant_ids: Vec<Value>,
    ambiguities: Vec<String>,
    records: Vec<Vec<u8>>,
}

impl Rows {
    /// Adds an event; one that is told twice is added once.
    pub(super) fn push(&mut self, New { record, attribution, raw }: &New) {
        if !self.seen.insert((record.at, record.id.clone())) {
            return;
        }
        let Record { session, .. } = record;
        self.ats.push(record.at);
        self.ids.push(record.id.clone());
        self.regions.push(record.region.clone());
        self.role_ids.push(session.role_id.clone());
        self.session_names.push(session.name.clone());
        self.sessions_created_at.push(session.created_at);
        self.access_keys.push(session.access_key.clone());
        self.services.push(record.service.clone());
        self.names.push(record.name.clone());
        self.are_read_only.push(record.is_read_only);
        self.error_codes.push(record.error_code.clone());
        self.addresses.push(record.address.clone());
        self.agents.push(record.agent.clone());
        self.resources.push(json!(record.resources));
        self.grant_ids.push(json!(attribution.grants));
        let ambiguity = attribution.ambiguity.map_or("", |why| why.as_str());
        self.ambiguities.push(ambiguity.to_owned());
        self.records.push(raw.clone());
    }

    pub(super) async fn insert(&self, conn: &mut PgConnection, place: &Leased) -> Result<()> {
        sqlx::query!(
            "INSERT INTO connector.audit_events AS e
                 (connector_id, integration_id, account_id, source, at, event_id, region, role_id,
                  session_name, session_created_at, access_key, service, name, is_read_only,
                  error_code, address, agent, resources, grant_ids, ambiguity, record)
             SELECT $1, $2, $3, $4, at, event_id, region, role_id, session_name, session_created_at,
                 access_key, service, name, is_read_only, error_code, address, agent,
                 ARRAY(SELECT jsonb_array_elements_text(resources)),
                 ARRAY(SELECT jsonb_array_elements_text(grant_ids)), ambiguity, record
             FROM unnest($5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::text[],
                     $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::bool[],
                     $15::text[], $16::text[], $17::text[], $18::jsonb[], $19::jsonb[],
                     $20::text[], $21::bytea[])
                 AS new (at, event_id, region, role_id, session_name, session_created_at, access_key,
                     service, name, is_read_only, error_code, address, agent, resources, grant_ids,
                     ambiguity, record)
             -- In one order, so that nobody waits for somebody who waits for them.
             ORDER BY at, event_id
             -- Whoever reads it again knows more of the grants.
             ON CONFLICT (connector_id, integration_id, at, event_id, account_id) DO UPDATE
             SET grant_ids = excluded.grant_ids, ambiguity = excluded.ambiguity
             WHERE (e.grant_ids, e.ambiguity) IS DISTINCT FROM (excluded.grant_ids, excluded.ambiguity)",
            place.connector.as_str(),
            place.integration.0,
            place.account.as_str(),
            place.source,
            &self.ats,
            &self.ids,
            &self.regions,
            &self.role_ids,
            &self.session_names,
            &self.sessions_created_at,
            &self.access_keys,
            &self.services,
            &self.names,
            &self.are_read_only,
            &self.error_codes,
            &self.addresses,
            &self.agents,
            &self.resources,
            &self.grant_ids,
            &self.ambiguities,
            &self.records
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
