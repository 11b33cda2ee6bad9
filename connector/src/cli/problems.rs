//! What is wrong, and what to do.

use anyhow::Context as _;
use apono_connector_proto::v1::{
    ListProblemsRequest, MuteProblemRequest, Problem, UnmuteProblemRequest,
    operations_service_client::OperationsServiceClient,
};

use super::{
    connect::Client,
    output::{Format, from_now, say, time, word},
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Problems {
    #[command(subcommand)]
    change: Option<Change>,
    /// Integration, id or name; none: all.
    #[arg(default_value = "")]
    integration: String,
    /// Also those that were resolved.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Change {
    /// Mutes a problem for a time: it does not count for the integration's status.
    Mute {
        #[command(flatten)]
        problem: Named,
        /// Why, for those who find it muted.
        #[arg(long)]
        reason: String,
        /// How long: 7d, 12h.
        #[arg(long = "for", value_name = "DURATION")]
        length: humantime::Duration,
    },
    /// Ends a mute.
    Unmute {
        #[command(flatten)]
        problem: Named,
    },
}

/// Names a problem.
#[derive(Debug, clap::Args)]
struct Named {
    /// Integration, id or name.
    integration: String,
    /// Code, as the list shows it.
    code: String,
    /// Subject, as the list shows it in brackets; none: it has none.
    #[arg(long, default_value = "")]
    subject: String,
}

impl Problems {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = OperationsServiceClient::new(client.way.clone());
        let connector_id = client.connector_id.clone();
        match self.change {
            None => {
                let (integration, include_resolved) = (self.integration, self.all);
                let request = ListProblemsRequest { connector_id, integration, include_resolved };
                let answer = api.list_problems(request).await?.into_inner();
                if client.format == Format::Json {
                    return client.print(&answer, &[], []);
                }
                answer.problems.iter().for_each(print);
                if answer.problems.is_empty() {
                    say!("no problems");
                }
                Ok(())
            }
            Some(Change::Mute { problem, reason, length }) => {
                let request = MuteProblemRequest {
                    connector_id,
                    integration: problem.integration,
                    code: problem.code,
                    subject: problem.subject,
                    reason,
                    expire_time: Some(from_now(length.into())?),
                };
                let answer = api.mute_problem(request).await?.into_inner();
                if client.format == Format::Json {
                    return client.print(&answer, &[], []);
                }
                print(&answer.problem.context("the daemon sent no problem")?);
                Ok(())
            }
            Some(Change::Unmute { problem }) => {
                let request = UnmuteProblemRequest {
                    connector_id,
                    integration: problem.integration,
                    code: problem.code,
                    subject: problem.subject,
                };
                let answer = api.unmute_problem(request).await?.into_inner();
                if client.format == Format::Json {
                    return client.print(&answer, &[], []);
                }
                print(&answer.problem.context("the daemon sent no problem")?);
                Ok(())
            }
        }
    }
}

fn print(problem: &Problem) {
    let severity = word(problem.severity().as_str_name(), "SEVERITY_");
    let subject = match problem.subject.as_str() {
        "" => String::new(),
        subject => format!(" [{subject}]"),
    };
    let places = if problem.count == 1 { "place" } else { "places" };
    say!(
        "{}{subject} ({severity}, {} {places}, since {})",
        problem.code,
        problem.count,
        time(problem.first_seen_time.as_ref())
    );
    if problem.resolve_time.is_some() {
        say!("  resolved {}", time(problem.resolve_time.as_ref()));
        return;
    }
    if problem.mute_expire_time.is_some() {
        let until = time(problem.mute_expire_time.as_ref());
        say!("  muted until {until}: {}", problem.mute_reason);
    }
    say!("  {}\n  → {}", problem.cause, problem.remedy);
    say!("  for example: {}", problem.examples.join("; "));
}
