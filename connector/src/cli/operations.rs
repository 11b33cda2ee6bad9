//! Running the daemon: tokens, tasks, identity, version.

use apono_connector_proto::v1::{
    CreateTokenRequest, GetIdentityRequest, GetVersionRequest, ListTasksRequest, ListTokensRequest,
    ListTokensResponse, RevokeTokenRequest, Role, Token,
    operations_service_client::OperationsServiceClient,
};

use super::{
    connect::{Client, Way},
    output::{Format, from_now, say, time, word},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Tokens {
    /// Makes a token and prints it, once.
    Create {
        /// What it is for. Two live tokens may share a name, so that one can replace
        /// the other.
        name: String,
        /// What it may do.
        #[arg(long, value_enum)]
        role: RoleName,
        /// How long it is good: 90d, 12h; none: until it is revoked.
        #[arg(long, value_name = "DURATION")]
        valid_for: Option<humantime::Duration>,
    },
    /// Lists live tokens, without their secrets.
    List,
    /// Ends a token at once.
    Revoke {
        /// Id of the token.
        token_id: String,
    },
}

/// Roles, as people write them.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum RoleName {
    /// Reads.
    Viewer,
    /// Also starts syncs, switches integrations on and off.
    Operator,
    /// Reads, and grants access.
    Granter,
    /// Everything.
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Granter => Self::Granter,
            RoleName::Admin => Self::Admin,
        }
    }
}

fn api(client: &Client) -> OperationsServiceClient<Way> {
    OperationsServiceClient::new(client.way.clone())
}

impl Tokens {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let connector_id = client.connector_id.clone();
        match self {
            Self::Create { name, role, valid_for } => {
                let expire_time = valid_for.map(|length| from_now(*length)).transpose()?;
                let role = Role::from(role).into();
                let request = CreateTokenRequest { connector_id, name, role, expire_time };
                let answer = api(client).create_token(request).await?.into_inner();
                match client.format {
                    Format::Json => client.print(&answer, &[], []),
                    Format::Table => {
                        say!("{}", answer.secret);
                        eprintln!("keep it: it is not stored and not shown again");
                        Ok(())
                    }
                }
            }
            Self::List => {
                let answer = api(client).list_tokens(ListTokensRequest { connector_id }).await?;
                print_tokens(client, &answer.into_inner())
            }
            Self::Revoke { token_id } => {
                api(client).revoke_token(RevokeTokenRequest { connector_id, token_id }).await?;
                eprintln!("the token is revoked");
                Ok(())
            }
        }
    }
}

fn print_tokens(client: &Client, answer: &ListTokensResponse) -> anyhow::Result<()> {
    let rows = answer.tokens.iter().map(|token: &Token| {
        vec![
            token.id.clone(),
            token.name.clone(),
            word(token.role().as_str_name(), "ROLE_"),
            time(token.create_time.as_ref()),
            time(token.expire_time.as_ref()),
            time(token.last_use_time.as_ref()),
        ]
    });
    client.print(answer, &["id", "name", "role", "made", "ends", "last used"], rows)
}

/// How the background tasks are doing.
pub(super) async fn tasks(client: &Client) -> anyhow::Result<()> {
    let answer = api(client).list_tasks(ListTasksRequest {}).await?.into_inner();
    let rows = answer.tasks.iter().map(|task| {
        vec![
            task.name.clone(),
            task.description.clone(),
            task.activations.to_string(),
            time(task.last_end_time.as_ref()),
            task.status.clone(),
        ]
    });
    client.print(&answer, &["task", "what it does", "runs", "last end", "status"], rows)
}

/// Who the caller and the daemon are.
pub(super) async fn identity(client: &Client) -> anyhow::Result<()> {
    let answer = api(client).get_identity(GetIdentityRequest {}).await?.into_inner();
    let rows = [
        ("connectors", answer.connector_ids.join(", ")),
        ("role", word(answer.role().as_str_name(), "ROLE_")),
        ("AWS identity", answer.aws_arn.clone()),
        ("ConnectorRoleArn", answer.connector_role_arn.clone()),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    client.print(&answer, &["", ""], rows)
}

/// Versions of daemon and database.
pub(super) async fn version(client: &Client) -> anyhow::Result<()> {
    let answer = api(client).get_version(GetVersionRequest {}).await?.into_inner();
    let rows = [
        ("daemon", answer.version.clone()),
        ("schema", answer.schema_version.to_string()),
        ("PostgreSQL", answer.postgresql_version.clone()),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    client.print(&answer, &["", ""], rows)
}
