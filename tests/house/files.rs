//! What stands in the files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// About one sitting.
const LINES_MAX: usize = 500;

/// The top of the workspace.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// Every Rust file below some folders, with its text.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| top().join(folder)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            files.push((path.strip_prefix(top()).expect("below").to_owned(), text));
        }
    }
    files.sort();
    assert!(!files.is_empty(), "there are files in {folders:?}");
    files
}

const ALL: [&str; 3] = ["connector/src", "proto/src", "tests"];

#[test]
fn every_file_says_what_it_is_and_is_no_longer_than_a_sitting() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files(&ALL) {
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not say what it is", path.display()));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_silenced_postponed_or_skipped() {
    // Put together, so that this file does not meet itself.
    let banned = [
        concat!("#[", "allow("),
        concat!("#![", "allow("),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[", "ignore"),
        concat!("FIX", "ME"),
    ];
    let mut wrong = Vec::new();
    for (path, text) in rust_files(&ALL) {
        for word in banned.iter().filter(|word| text.contains(**word)) {
            wrong.push(format!("{} holds {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_partition_is_written_down_outside_tests() {
    let literal = concat!("arn:a", "ws:");
    let mut wrong = Vec::new();
    for (path, text) in rust_files(&["connector/src"]) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| line.contains(literal)) {
            wrong.push(format!("{}: {}", path.display(), line.trim()));
        }
    }
    assert!(wrong.is_empty(), "take the partition from the role ARN: {wrong:#?}");
}

#[test]
fn the_daemon_knows_of_no_test() {
    // No setting and no variable exists for tests alone.
    let mut wrong = Vec::new();
    for (path, text) in
        rust_files(&["connector/src/config", "connector/src/daemon", "connector/src/cli"])
    {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in ["for tests", "test_", "TEST_", "simulat", "moto"] {
            if code.contains(word) {
                wrong.push(format!("{} speaks of {word:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
