//! Tries everything that the daemon needs, and says what to mend.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use serde::Serialize;
use tonic_types::StatusExt as _;

use super::{
    EXIT_USAGE, SettingsFile,
    form::Form,
    output::{Format, say},
};
use crate::{
    api,
    base::chain::Chain,
    config,
    daemon::check::{self, Asked, Line},
    model::{
        integration,
        validation::{Outcome, Step},
    },
};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    settings: SettingsFile,
    /// Tries the integration of this file, as `integrations export` writes it, instead of
    /// those that are stored.
    #[arg(short, long)]
    file: Option<PathBuf>,
}

/// The answer for programs.
#[derive(Serialize)]
struct Answer<'a> {
    /// Whether no step failed.
    good: bool,
    steps: &'a [Line],
}

impl Check {
    /// Runs all steps: 0 when none failed, 1 when one did, 64 when the settings are wrong.
    pub(super) fn run(&self, connector: Option<&str>, format: Format) -> ExitCode {
        let mut lines = Vec::new();
        let report = &mut |line: Line| {
            if format == Format::Table {
                show(&line);
            }
            lines.push(line);
        };
        let usable = self.steps(connector, report);
        let good = lines.iter().all(|line| line.step.outcome != Outcome::Failed);
        match format {
            Format::Table if good => say!("\nNothing keeps the daemon from working."),
            Format::Table => say!("\nMend what FAILED, and check again."),
            Format::Json => {
                let answer = Answer { good, steps: &lines };
                // A list of texts always has a JSON form.
                say!("{}", serde_json::to_string_pretty(&answer).unwrap_or_default());
            }
        }
        match (usable, good) {
            (false, _) => ExitCode::from(EXIT_USAGE),
            (true, true) => ExitCode::SUCCESS,
            (true, false) => ExitCode::FAILURE,
        }
    }

    /// Whether the settings can be used; all else is reported.
    fn steps(&self, connector: Option<&str>, report: check::Report<'_>) -> bool {
        let settings = match config::load(self.settings.settings.as_deref()) {
            Ok(settings) => settings,
            Err(error) => {
                let remedy = "Correct the key; config/connector.toml shows all of them.";
                report(Step::failed("SETTINGS", Chain(&error).to_string(), remedy).into());
                return false;
            }
        };
        report(Step::passed("SETTINGS", "every key is known and makes sense").into());
        let asked = match self.asked(connector) {
            Ok(asked) => asked,
            Err(error) => {
                let remedy =
                    "Correct the field; `integrations create --help` tells what each one is.";
                report(Step::failed("INTEGRATION_FORM", format!("{error:#}"), remedy).into());
                return false;
            }
        };
        match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime.block_on(check::run(&settings, asked, report)),
            Err(error) => {
                let remedy = "Give the process more memory and threads.";
                report(Step::failed("PROCESS", error.to_string(), remedy).into());
            }
        }
        true
    }

    fn asked(&self, connector: Option<&str>) -> anyhow::Result<Asked> {
        let connector = connector.map(str::parse).transpose().context("--connector")?;
        let form = self.file.as_ref().map(|file| form(Form::read(file)?)).transpose()?;
        Ok(Asked { connector, form })
    }
}

/// The form, checked as the API checks it.
fn form(form: Form) -> anyhow::Result<integration::Settings> {
    api::settings::parse(Some(form.settings()?)).map_err(|status| {
        let fields = status.get_error_details();
        let fields = fields.bad_request().map(|bad| {
            let named = bad.field_violations.iter().map(|violation| {
                let field = violation.field.trim_start_matches("settings.");
                format!("{field} {}", violation.description)
            });
            named.collect::<Vec<_>>().join("; ")
        });
        anyhow::anyhow!(fields.unwrap_or_else(|| status.message().to_owned()))
    })
}

fn show(line: &Line) {
    let Line { integration, step } = line;
    let outcome = match step.outcome {
        Outcome::Passed => "ok",
        Outcome::Warning => "warning",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "skipped",
    };
    let whose = integration.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    say!("{outcome:<8} {:<20} {whose}{}", step.code, step.finding);
    if !step.remedy.is_empty() {
        say!("{:<29} → {}", "", step.remedy);
    }
}
