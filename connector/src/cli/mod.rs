//! Floor 9: commands.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    base::{chain::Chain, stopper::Stopper},
    config, daemon, telemetry,
};

/// Exit code of wrong settings (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// The connector for AWS Organizations: discovers accounts and resources, and serves
/// them over gRPC.
#[derive(Debug, Parser)]
#[command(name = "apono-connector", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until SIGTERM; a second one leaves at once.
    Run(Run),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Settings file; without it, /etc/apono-connector/connector.toml if it is there.
    #[arg(long, value_name = "FILE", env = "APONO_SETTINGS")]
    settings: Option<PathBuf>,
}

/// Runs the command of the arguments.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run(&arguments),
    }
}

fn run(arguments: &Run) -> ExitCode {
    let settings = match config::load(arguments.settings.as_deref()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("apono-connector: {}", Chain(&error));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    telemetry::start_log(settings.log_format, settings.log_filter.clone());
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ended = runtime.block_on(async {
        let stopper = Stopper::on_signals()
            .map_err(|source| daemon::Error::Io { what: "signals".to_owned(), source })?;
        Box::pin(daemon::run(settings, stopper)).await
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!(error = %Chain(error), "the daemon ends: {}", Chain(error));
    ExitCode::FAILURE
}
