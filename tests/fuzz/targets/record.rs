//! A record of CloudTrail: what is told of it is short, can be stored, and is of one session.

#![no_main]

use connector_fuzz::model::record::Record;
use libfuzzer_sys::fuzz_target;

/// The longest text that is kept of a field.
const TEXT_MAX: usize = 1024;

fuzz_target!(|text: &str| {
    let Ok(Some(record)) = Record::parse(text) else { return };
    let session = &record.session;
    let texts = [
        &record.id,
        &record.account,
        &record.region,
        &record.service,
        &record.name,
        &record.error_code,
        &record.address,
        &record.agent,
        &session.account,
        &session.role_name,
        &session.role_id,
        &session.name,
        &session.access_key,
    ];
    for text in texts.into_iter().chain(&record.resources).chain(&record.mentions) {
        assert!(text.len() <= TEXT_MAX && !text.contains('\0'));
    }
    assert!(!session.role_id.is_empty() && !session.name.is_empty());
});
