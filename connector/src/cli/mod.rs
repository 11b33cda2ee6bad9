//! Floor 9: commands.
//!
//! `run`, `migrate`, `check` and `healthcheck` are the daemon's own; `iam-policy` and
//! `cloudformation` tell what the code declares. All others are clients: they use the gRPC API
//! alone, and know nothing of the daemon but where it listens.

use std::{path::PathBuf, process::ExitCode};

use chrono::{DateTime, FixedOffset};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{
    base::{chain::Chain, stopper::Stopper},
    config::{self, Settings},
    daemon::{self, reload::Source},
    telemetry,
};

mod accounts;
mod audit;
mod changes;
mod check;
mod connect;
mod coverage;
mod form;
mod grants;
mod healthcheck;
mod history;
mod integrations;
mod operations;
mod output;
mod principals;
mod privileges;
mod problems;
mod recovery;
mod resources;
mod syncs;
mod wizard;

use self::{connect::Reach, output::Format};

/// Exit code of wrong settings (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// The connector for AWS Organizations: discovers accounts and resources, and serves
/// them over gRPC.
#[derive(Debug, Parser)]
#[command(name = "apono-connector", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    reach: Reach,
    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until SIGTERM; a second one leaves at once.
    Run(Run),
    /// Brings the database to this version's schema, and ends.
    Migrate(SettingsFile),
    /// Tries everything that the daemon needs, step by step, and says what to mend.
    Check(check::Check),
    /// Prints the policy of a role, as the code declares it.
    IamPolicy(privileges::IamPolicy),
    /// Prints the CloudFormation template to deploy, and how.
    #[command(name = "cloudformation")]
    CloudFormation(privileges::CloudFormation),
    /// Asks a daemon's health over HTTP; exit code 0: it is ready.
    Healthcheck(healthcheck::Healthcheck),
    /// Connected organizations.
    #[command(subcommand)]
    Integrations(integrations::Integrations),
    /// Crawls.
    #[command(subcommand)]
    Sync(syncs::Syncs),
    /// Time-bound access.
    #[command(subcommand)]
    Grants(grants::Grants),
    /// What was done with access that was given.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// People who have had access.
    #[command(subcommand)]
    Principals(principals::Principals),
    /// What a database that was restored has forgotten of access, and the end of that.
    Recovery(recovery::Recovery),
    /// The organization's accounts.
    #[command(subcommand)]
    Accounts(accounts::Accounts),
    /// What was discovered.
    #[command(subcommand)]
    Resources(resources::Resources),
    /// What is covered, and what is not and why.
    Coverage(coverage::Coverage),
    /// What can be discovered.
    Types,
    /// What is wrong, and what to do.
    Problems(problems::Problems),
    /// Who may call.
    #[command(subcommand)]
    Tokens(operations::Tokens),
    /// How the daemon's background tasks are doing.
    Tasks,
    /// Who the caller is, and which AWS identity the daemon has.
    Identity,
    /// The daemon's version and that of its database.
    Version,
    /// Prints a completion script: `source <(apono-connector completions bash)`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    file: SettingsFile,
    /// The files of the database were put back from a snapshot of this time, so that it may have
    /// forgotten what was granted since: gives and takes no access until `recovery end`.
    #[arg(long, value_name = "TIME", value_parser = DateTime::parse_from_rfc3339)]
    recovering: Option<DateTime<FixedOffset>>,
}

#[derive(Debug, clap::Args)]
struct SettingsFile {
    /// Settings file; without it, /etc/apono-connector/connector.toml if it is there.
    #[arg(long, value_name = "FILE", env = "APONO_SETTINGS")]
    settings: Option<PathBuf>,
}

/// Runs the command of the arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Run(Run { file, recovering }) => serve(file, |settings, source, stopper| {
            let recovering = recovering.map(|time| time.to_utc());
            let settings = Settings { recovering, ..settings };
            Box::pin(daemon::run(settings, source, stopper))
        }),
        Command::Migrate(file) => serve(file, |settings, _, _| Box::pin(daemon::migrate(settings))),
        Command::Check(check) => check.run(cli.reach.connector.as_deref(), cli.output),
        Command::IamPolicy(policy) => policy.run(),
        Command::Healthcheck(healthcheck) => healthcheck.run(),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(
                *shell,
                &mut command,
                "apono-connector",
                &mut std::io::stdout(),
            );
            ExitCode::SUCCESS
        }
        Command::Integrations(_)
        | Command::Sync(_)
        | Command::Grants(_)
        | Command::Audit(_)
        | Command::Principals(_)
        | Command::Recovery(_)
        | Command::Accounts(_)
        | Command::Resources(_)
        | Command::Coverage(_)
        | Command::Types
        | Command::Problems(_)
        | Command::Tokens(_)
        | Command::Tasks
        | Command::Identity
        | Command::CloudFormation(_)
        | Command::Version => call(cli),
    }
}

type Serving = std::pin::Pin<Box<dyn Future<Output = Result<(), daemon::Error>>>>;

/// Runs a command of the daemon with its settings.
fn serve(file: &SettingsFile, work: impl FnOnce(Settings, Source, Stopper) -> Serving) -> ExitCode {
    let settings = match config::load(file.settings.as_deref()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("apono-connector: {}", Chain(&error));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("apono-connector: failed to start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let entered = runtime.enter();
    let log = match telemetry::start_log(settings.log_format, settings.log_filter.clone()) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("apono-connector: OTEL_EXPORTER_OTLP_ENDPOINT: {}", Chain(&error));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    drop(entered);
    let source = Source { file: file.settings.clone(), filter: log.filter.clone() };
    let ended = runtime.block_on(async {
        let stopper = Stopper::on_signals().map_err(daemon::Error::runtime)?;
        work(settings, source, stopper).await
    });
    log.end();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "the daemon ends: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Runs a command of the client.
fn call(cli: Cli) -> ExitCode {
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(dispatch(cli)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("apono-connector: {}", output::shown(&output::failure(&error)));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let Cli { command, reach, output } = cli;
    if let Command::CloudFormation(command) = command {
        // It works without a daemon, too.
        return command.run(reach, output).await;
    }
    let client = reach.connect(output).await?;
    match command {
        Command::Integrations(command) => command.run(&client).await,
        Command::Sync(command) => command.run(&client).await,
        Command::Grants(command) => command.run(&client).await,
        Command::Audit(command) => command.run(&client).await,
        Command::Principals(command) => command.run(&client).await,
        Command::Recovery(command) => command.run(&client).await,
        Command::Accounts(command) => command.run(&client).await,
        Command::Resources(command) => command.run(&client).await,
        Command::Coverage(command) => command.run(&client).await,
        Command::Types => resources::types(&client).await,
        Command::Problems(command) => command.run(&client).await,
        Command::Tokens(command) => command.run(&client).await,
        Command::Tasks => operations::tasks(&client).await,
        Command::Identity => operations::identity(&client).await,
        Command::Version => operations::version(&client).await,
        Command::Run(_)
        | Command::Migrate(_)
        | Command::Check(_)
        | Command::CloudFormation(_)
        | Command::IamPolicy(_)
        | Command::Healthcheck(_)
        | Command::Completions { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }
}
