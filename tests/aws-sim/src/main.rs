//! The simulator as a process, for the demo and for trying things by hand.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, ensure};
use aws_sim::{Latency, Sim, World, seed};
use bytes::Bytes;
use clap::Parser;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

/// A simulated AWS for tests and demos.
#[derive(Debug, Parser)]
#[command(name = "aws-sim", version, about)]
enum Command {
    /// Serves until Ctrl-C, with the sample organization of the demo.
    Serve(Serve),
    /// Plants the member role in the sample's account that lacks it.
    PlantRole {
        /// Where the simulator serves.
        #[arg(long, env = "AWS_ENDPOINT_URL")]
        url: String,
    },
    /// Prints the permission sets that a user may use now, each after its account.
    Access {
        /// User name or e-mail address.
        user: String,
        /// Where the simulator serves.
        #[arg(long, env = "AWS_ENDPOINT_URL")]
        url: String,
    },
    /// Prints whether a user may do something now.
    May(May),
    /// Does something for a user who signs in for it, and prints whether it was allowed. CloudTrail records it.
    Act(May),
    /// Opens a shell of Session Manager for a user, if they may, and prints its id.
    Shell {
        /// User name or e-mail address.
        user: String,
        /// ARN of the instance.
        instance: String,
        /// Where the simulator serves.
        #[arg(long, env = "AWS_ENDPOINT_URL")]
        url: String,
    },
    /// Prints the sessions of Session Manager that are open in an account.
    Shells {
        /// Account.
        account: String,
        /// Where the simulator serves.
        #[arg(long, env = "AWS_ENDPOINT_URL")]
        url: String,
    },
}

#[derive(Debug, clap::Args)]
struct May {
    /// User name or e-mail address.
    user: String,
    /// Account whose roles they use.
    account: String,
    /// Action: `s3:GetObject`.
    action: String,
    /// ARN of what they do it to.
    resource: String,
    /// Where the simulator serves.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    url: String,
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The connector that the sample organization trusts.
    #[arg(long, value_name = "ID")]
    connector: String,
    /// The management template, from which roles are read.
    #[arg(long, default_value = "deploy/cloudformation/management.yaml")]
    template: PathBuf,
    /// How long each answer takes, in milliseconds, as the network's would.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Once it serves, writes the environment of a host of connectors to this file.
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Serve(serve) => serve.run().await,
        Command::PlantRole { url } => plant_role(&url).await,
        Command::Access { user, url } => access(&url, &user).await,
        Command::May(asked) => may(&asked).await,
        Command::Act(asked) => act(&asked).await,
        Command::Shell { user, instance, url } => shell(&url, &user, &instance).await,
        Command::Shells { account, url } => shells(&url, &account).await,
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let mut world = World::default();
        let template = fs::read_to_string(&self.template)
            .with_context(|| format!("failed to read {}", self.template.display()))?;
        seed::sample(&mut world, &template, &self.connector)?;
        if self.latency > 0 {
            let latency = std::time::Duration::from_millis(self.latency);
            world.latency = Some(Latency::fixed(latency));
        }
        let sim = Sim::listen(self.listen, world, None).await?;
        println!("{}", sim.url());
        if let Some(path) = &self.env {
            write_whole(path, &environment(&sim))?;
        }
        tokio::signal::ctrl_c().await?;
        Ok(())
    }
}

/// What a shell evaluates to become a host of connectors.
fn environment(sim: &Sim) -> String {
    let made = sim.world().hub_credentials(seed::HUB_ROLE_ARN);
    [
        ("AWS_ENDPOINT_URL", sim.url()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", made.access_key),
        ("AWS_SECRET_ACCESS_KEY", made.secret),
        ("AWS_SESSION_TOKEN", made.token),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
    .map(|(name, value)| format!("export {name}={value}\n"))
    .concat()
}

/// Whoever waits for the file finds all of it.
fn write_whole(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, text).with_context(|| part.display().to_string())?;
    fs::rename(&part, path).with_context(|| path.display().to_string())
}

async fn plant_role(url: &str) -> anyhow::Result<()> {
    let body = json!({
        "from": seed::SAMPLE_WITH_ROLE,
        "to": seed::SAMPLE_WITHOUT_ROLE,
        "role": "apono-connector-member",
    });
    ask(url, "copy-role", &body).await?;
    println!("planted apono-connector-member in {}", seed::SAMPLE_WITHOUT_ROLE);
    Ok(())
}

async fn access(url: &str, user: &str) -> anyhow::Result<()> {
    let told = ask(url, "access", &json!({ "user": user })).await?;
    let line = |held: &Value| {
        let text = |name: &str| held[name].as_str().unwrap_or_default();
        format!("{} {}", text("account"), text("permission_set"))
    };
    list(&told["access"], line, "no access")
}

/// Prints a line for each item, or that there is none.
fn list(items: &Value, line: impl Fn(&Value) -> String, none: &str) -> anyhow::Result<()> {
    let items = items.as_array().context("the simulator told nothing")?;
    if items.is_empty() {
        println!("{none}");
    }
    for item in items {
        println!("{}", line(item));
    }
    Ok(())
}

impl May {
    async fn ask(&self, what: &str) -> anyhow::Result<Value> {
        let Self { user, account, action, resource, url } = self;
        let body =
            json!({ "user": user, "account": account, "action": action, "resource": resource });
        ask(url, what, &body).await
    }
}

async fn act(asked: &May) -> anyhow::Result<()> {
    let told = asked.ask("act").await?;
    println!(
        "{}",
        match told["allowed"].as_bool() {
            Some(true) => "allowed",
            Some(false) => "denied",
            None => "no access to the account",
        }
    );
    Ok(())
}

async fn may(asked: &May) -> anyhow::Result<()> {
    let told = asked.ask("may").await?;
    let may = told["may"].as_bool().context("the simulator told nothing")?;
    println!("{}", if may { "allowed" } else { "denied" });
    Ok(())
}

async fn shell(url: &str, user: &str, instance: &str) -> anyhow::Result<()> {
    let told = ask(url, "open-shell", &json!({ "user": user, "instance": instance })).await?;
    println!("{}", told["shell"].as_str().unwrap_or("denied"));
    Ok(())
}

async fn shells(url: &str, account: &str) -> anyhow::Result<()> {
    let told = ask(url, "shells", &json!({ "account": account })).await?;
    let line = |shell: &Value| shell.as_str().unwrap_or_default().to_owned();
    list(&told["shells"], line, "no session is open")
}

/// Asks something of a simulator that serves.
async fn ask(url: &str, what: &str, body: &Value) -> anyhow::Result<Value> {
    let request = Request::post(format!("{url}/_sim/{what}"))
        .body(Full::new(Bytes::from(body.to_string())))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.with_context(|| format!("no answer at {url}"))?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let error = told["error"].as_str().unwrap_or_default();
    ensure!(status.is_success(), "the simulator answered {status}: {error}");
    Ok(told)
}
