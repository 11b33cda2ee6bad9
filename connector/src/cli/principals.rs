//! People who have had access.

use anyhow::ensure;
use apono_connector_proto::v1::{ErasePrincipalRequest, audit_service_client::AuditServiceClient};

use super::{
    connect::Client,
    output::{Format, say},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Principals {
    /// Erases what tells of somebody whose grants are all over: who the recipient was, the details of what was
    /// asked and done, and what was done with the access. `audit verify` stays as it was.
    Erase {
        /// E-mail address, user name, id or ARN, as a grant has named them.
        principal: String,
        /// Why; it is kept, so do not name the person in it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Does it; without this it is only told which grants are meant.
        #[arg(long)]
        yes: bool,
    },
}

impl Principals {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Self::Erase { principal, reason, yes } = self;
        let request = ErasePrincipalRequest {
            connector_id: client.connector_id.clone(),
            principal,
            reason,
            validate_only: !yes,
        };
        let mut api = AuditServiceClient::new(client.way.clone());
        let answer = api.erase_principal(request).await?.into_inner();
        let grants = answer.grant_ids.len();
        match client.format {
            Format::Json => client.print(&answer, &[], [])?,
            Format::Table if yes => say!("erased from {grants} grants"),
            Format::Table => say!("{grants} grants: {}", answer.grant_ids.join(", ")),
        }
        ensure!(yes, "nothing was erased; say --yes to erase it for good");
        Ok(())
    }
}
