//! A log file of a trail: as it comes, and as the text in it; each of its records.

#![no_main]

use std::io::Write as _;

use connector_fuzz::model::{
    log_file::{RECORD_BYTES_MAX, records},
    record::{Record, may_be_of_identity_center},
};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;

fn read(packed: &[u8]) {
    let _ = records(packed, &mut |text| {
        assert!(text.len() <= RECORD_BYTES_MAX);
        if let Ok(Some(_)) = Record::parse(text) {
            assert!(may_be_of_identity_center(text));
        }
    });
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    read(&encoder.finish().expect("memory"));
});
