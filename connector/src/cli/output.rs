//! How answers are printed: tables for people, JSON for programs.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use apono_connector_proto::v1::{FILE_DESCRIPTOR_SET, StepOutcome, ValidationStep};
use chrono::{DateTime, SecondsFormat, TimeDelta};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::Timestamp;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::connect::Client;
use crate::base::clock;

/// Terminals that are narrower get rows that run over.
const TABLE_WIDTH_MIN: u16 = 80;

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Columns for people.
    Table,
    /// The answer as canonical Protobuf JSON.
    Json,
}

impl Client {
    /// Prints an answer: as JSON, or as the table that `rows` make of it.
    pub(super) fn print<M: Message + Name>(
        &self,
        answer: &M,
        headings: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => print(&json(answer)?),
            Format::Table => print_table(headings, rows),
        }
        Ok(())
    }
}

/// Prints a line, as `println!` does, but for what might command a terminal; and ends the
/// command when nobody reads on.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::print(&$crate::cli::output::shown(&format!($($text)*))) };
}
pub(super) use say;

/// Prints text that has been made harmless.
pub(super) fn print(text: &str) {
    if writeln!(io::stdout(), "{text}")
        .is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    {
        std::process::exit(0);
    }
}

/// Text of strangers, such as a tag, shown but not obeyed: control characters, and those
/// that turn the direction of writing, are written as escapes.
pub(super) fn shown(text: &str) -> String {
    escaped(text, |c| c.escape_unicode().to_string())
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> String {
    let is_harmful = |c: char| {
        (c.is_control() && c != '\n')
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    if !text.contains(is_harmful) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_harmful(c) {
            shown.push_str(&escape(c));
        } else {
            shown.push(c);
        }
        shown
    })
}

/// Prints columns.
pub(super) fn print_table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_style(NOTHING);
    // Columns that do not fit are wrapped, unless that would leave a letter a line.
    if table.width().is_some_and(|width| width >= TABLE_WIDTH_MIN) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    // In a cell even a new line is a stranger's.
    let cell = |text: String| shown(&text).replace('\n', "\\n");
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Vec<_>>()));
    print(&table.to_string());
}

/// A message in canonical Protobuf JSON, for people.
fn json<M: Message + Name>(message: &M) -> anyhow::Result<String> {
    Ok(harmless(&serde_json::to_string_pretty(&dynamic(message)?)?))
}

/// The same on one line, for streams.
pub(super) fn json_line<M: Message + Name>(message: &M) -> anyhow::Result<String> {
    Ok(harmless(&serde_json::to_string(&dynamic(message)?)?))
}

/// JSON may hold what commands a terminal only within texts, where it can be escaped.
fn harmless(json: &str) -> String {
    escaped(json, |c| format!("\\u{:04x}", u32::from(c)))
}

fn dynamic<M: Message + Name>(message: &M) -> anyhow::Result<DynamicMessage> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
    let name = M::full_name();
    let descriptor =
        pool.get_message_by_name(&name).with_context(|| format!("no message {name}"))?;
    Ok(DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?)
}

/// What a table of steps has above it.
pub(super) const STEP_HEADINGS: [&str; 4] = ["step", "outcome", "finding", "remedy"];

/// A step of a validation.
pub(super) fn step_row(step: &ValidationStep) -> Vec<String> {
    let outcome = match step.outcome() {
        StepOutcome::Passed => "ok",
        StepOutcome::Warning => "warning",
        StepOutcome::Failed => "FAILED",
        StepOutcome::Skipped | StepOutcome::Unspecified => "skipped",
    };
    vec![step.code.clone(), outcome.to_owned(), step.finding.clone(), step.remedy.clone()]
}

/// The time so long from now.
pub(super) fn from_now(length: Duration) -> anyhow::Result<Timestamp> {
    let length = TimeDelta::from_std(length).ok();
    let end = length.and_then(|length| clock::now().checked_add_signed(length));
    let end = end.context("the duration is too long")?;
    Ok(Timestamp { seconds: end.timestamp(), nanos: 0 })
}

/// A duration: `1h 2m 3s 4ms`.
pub(super) fn duration(duration: Option<&prost_types::Duration>) -> String {
    let duration = duration.and_then(|duration| Duration::try_from(*duration).ok());
    humantime::format_duration(duration.unwrap_or_default()).to_string()
}

/// A time, RFC 3339 in UTC; `-` for none.
pub(super) fn time(time: Option<&Timestamp>) -> String {
    time.and_then(|time| DateTime::from_timestamp(time.seconds, 0))
        .map_or_else(|| "-".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The last word of an enum value: `SYNC_STATE_RUNNING` → `running`.
pub(super) fn word(value: &str, prefix: &str) -> String {
    value.strip_prefix(prefix).unwrap_or(value).to_lowercase().replace('_', " ")
}

/// A failure, on lines of its own: what AWS or the API said, step by step.
pub(super) fn failure(error: &anyhow::Error) -> String {
    let Some(status) = error.downcast_ref::<Status>() else { return format!("{error:#}") };
    let details = status.get_error_details();
    let mut text = String::new();
    if let Some(refused) = details.precondition_failure() {
        text.push_str("AWS does not allow it:");
        for step in &refused.violations {
            let _ =
                write!(text, "\n  {}: {}\n    → {}", step.r#type, step.subject, step.description);
        }
    } else if let Some(bad) = details.bad_request() {
        text.push_str("this cannot be used:");
        for field in &bad.field_violations {
            let _ = write!(text, "\n  {} {}", field.field, field.description);
        }
    } else {
        text.push_str(status.message());
    }
    text
}
