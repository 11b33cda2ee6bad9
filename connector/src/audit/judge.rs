//! Whose access a call was made with, told from its record, for what a place is read for.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use flate2::{Compression, write::GzEncoder};

use crate::{
    model::{
        attribution::{Candidate, attribute},
        ids::AccountId,
        log_file::RECORD_BYTES_MAX,
        record::Record,
    },
    store::audit_events::New,
};

/// Knows whose access it may be.
#[derive(Debug)]
pub(super) struct Judge {
    /// The account whose roles are meant.
    pub(super) account: AccountId,
    /// The units that let somebody in.
    pub(super) candidates: Vec<Candidate>,
    /// What is older is not kept.
    pub(super) since: DateTime<Utc>,
}

impl Judge {
    /// What was done, and with whose access; none: with nobody's that we gave.
    ///
    /// # Errors
    ///
    /// When it is no record, in words.
    pub(super) fn judge(&self, text: &str) -> Result<Option<New>, String> {
        if text.len() > RECORD_BYTES_MAX {
            return Err(format!("it has {} bytes", text.len()));
        }
        let Some(record) = Record::parse(text).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let is_here = record.at >= self.since && record.session.account == self.account.as_str();
        let Some(attribution) = attribute(&record, &self.candidates).filter(|_| is_here) else {
            return Ok(None);
        };
        let raw = compressed(text).map_err(|error| error.to_string())?;
        Ok(Some(New { record, attribution, raw }))
    }
}

fn compressed(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}
