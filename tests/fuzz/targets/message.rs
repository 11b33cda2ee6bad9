//! A message of a queue, and the names of files in it.

#![no_main]

use connector_fuzz::model::log_file::{Layout, delivered};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let organization = "o-a1b2c3d4e5".parse().expect("an organization");
    let layout = Layout { prefix: "org", organization: &organization };
    for told in delivered(text).unwrap_or_default() {
        if let Some(file) = layout.file(&told.key) {
            assert!(told.key.starts_with(&layout.folder()));
            let _ = layout.minute(&file.account, &file.region, file.delivered_at);
        }
    }
    let _ = layout.file(text);
});
