//! Rooms import only from floors below their own, and rooms on one floor do not import
//! each other.

use super::files::rust_files;

/// The house, from the ground up.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["model"],
    &["store", "aws"],
    &["catalog", "guard"],
    &["sync", "access", "audit"],
    &["privileges"],
    &["tasks", "api"],
    &["config", "telemetry"],
    &["daemon"],
    &["cli"],
];

/// Imports on one floor that have a reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("api", "tasks", "the API shows how the tasks are doing"),
    ("telemetry", "config", "the shape of log lines is a setting"),
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a text imports by `crate::room`, also in braces.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for after in text.split("crate::").skip(1) {
        let named = |text: &str| {
            text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        match after.strip_prefix('{') {
            None => rooms.push(named(after)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_ascii_alphabetic() => {
                            rooms.push(named(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

#[test]
fn rooms_import_only_from_floors_below() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files(&["connector/src"]) {
        let mut parts = path.iter().skip(2);
        let room = parts.next().and_then(|part| part.to_str()).unwrap_or_default();
        let Some(own) = floor(room) else {
            let is_entrance = ["lib.rs", "main.rs"].contains(&room);
            assert!(is_entrance, "{} is in no room of the house", path.display());
            continue;
        };
        for import in imports(&text) {
            let is_excepted = EXCEPTIONS.iter().any(|(from, to, _)| *from == room && *to == import);
            let is_below = floor(&import).is_some_and(|floor| floor < own);
            if import != room && !is_below && !is_excepted {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_store_speaks_sql_and_only_aws_collectors_mechanisms_and_audit_speak_to_aws() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files(&["connector/src"]) {
        let room = path.iter().nth(2).and_then(|part| part.to_str()).unwrap_or_default();
        if text.contains("sqlx::query") && room != "store" {
            wrong.push(format!("{} holds SQL", path.display()));
        }
        if text.contains("aws_sdk_") && !["aws", "catalog", "access", "audit"].contains(&room) {
            wrong.push(format!("{} calls AWS", path.display()));
        }
        let has_async = room == "model" && text.contains("async fn");
        if has_async {
            wrong.push(format!("{} is not pure", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn imports_are_read_in_all_their_shapes() {
    let text =
        "use crate::{\n    aws::{self, Access},\n    model::ids::Region,\n};\nuse crate::store;";
    assert_eq!(imports(text), ["aws", "model", "store"]);
}
