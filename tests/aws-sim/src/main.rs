//! The simulator as a process: `aws-sim --listen 127.0.0.1:5055 --sample`.

use std::net::SocketAddr;

use anyhow::Context as _;
use aws_sim::{Sim, World, seed};
use clap::Parser;

/// A simulated AWS for tests and demos.
#[derive(Debug, Parser)]
#[command(name = "aws-sim", version, about)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Holds the sample organization of the demo, deployed for this connector id.
    #[arg(long, value_name = "CONNECTOR_ID")]
    sample: Option<String>,
    /// The management template, from which roles are read.
    #[arg(long, default_value = "deploy/cloudformation/management.yaml")]
    template: std::path::PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut world = World::default();
    if let Some(connector) = &arguments.sample {
        let template = std::fs::read_to_string(&arguments.template)
            .with_context(|| format!("failed to read {}", arguments.template.display()))?;
        seed::sample(&mut world, &template, connector)?;
    }
    let sim = Sim::listen(arguments.listen, world, None).await?;
    println!("{}", sim.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
