//! What the connector may do in AWS: policies and CloudFormation templates, from the code.

use std::process::ExitCode;

use apono_connector_proto::v1::{
    GetIdentityRequest, operations_service_client::OperationsServiceClient,
};
use clap::builder::PossibleValuesParser;

use super::{connect::Reach, output::Format as Output};
use crate::{
    catalog,
    model::{arn::Partition, ids::AccountId},
    privileges::{
        Stand, choices, discovery, in_management, in_members,
        policy::{self, Format, On, Statement},
        templates,
        trail::NAMED,
    },
};

/// Chosen resource types.
#[derive(Debug, clap::Args)]
struct Types {
    /// Resource types to discover, with commas between them; without it, all.
    #[arg(
        long,
        value_name = "TYPES",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(catalog::type_ids())
    )]
    types: Vec<String>,
}

impl Types {
    fn chosen(&self) -> Vec<&str> {
        if self.types.is_empty() {
            return catalog::type_ids();
        }
        self.types.iter().map(String::as_str).collect()
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct IamPolicy {
    /// The role: of the management account, or of every member account.
    #[arg(value_enum)]
    role: Role,
    #[command(flatten)]
    types: Types,
    /// Ways of giving access, and session audit, with commas between them; without it, the role can only
    /// read what is there. The role of the management account needs --management-account.
    #[arg(
        long,
        value_name = "MECHANISMS",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(choices().into_iter().map(|one| one.name))
    )]
    mechanisms: Vec<String>,
    /// The management account, in which no access is given.
    #[arg(long, value_name = "ID")]
    management_account: Option<AccountId>,
    /// Access is given in the management account, too.
    #[arg(long, requires = "mechanisms")]
    in_management_account: bool,
    /// Id of the connector, whose tags some ways of giving access go by.
    #[arg(long, value_name = "ID", default_value = "CONNECTOR_ID")]
    connector_id: String,
    /// Bucket of an organization trail that the role reads.
    #[arg(long, value_name = "ARN", default_value = "")]
    trail_bucket_arn: String,
    /// Key that encrypts its files.
    #[arg(long, value_name = "ARN", default_value = "")]
    trail_kms_key_arn: String,
    /// Queue that is told of them.
    #[arg(long, value_name = "ARN", default_value = "")]
    trail_queue_arn: String,
    /// Its partition.
    #[arg(long, value_enum, default_value = "aws")]
    partition: PartitionName,
    /// How to write it.
    #[arg(long, value_enum, default_value = "json")]
    format: FormatName,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PartitionName {
    /// Commercial regions.
    Aws,
    /// AWS `GovCloud` (US).
    AwsUsGov,
    /// China.
    AwsCn,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Role {
    /// The role in the management account, with which that account is read too.
    Management,
    /// The role in every member account.
    Member,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FormatName {
    /// A policy document.
    Json,
    /// An entry of `Policies` of an `AWS::IAM::Role`.
    Cloudformation,
    /// A data source `aws_iam_policy_document`.
    Terraform,
}

impl IamPolicy {
    pub(super) fn run(&self) -> ExitCode {
        let declared = discovery(self.types.chosen());
        let actions = match self.role {
            Role::Management => declared.management,
            Role::Member => declared.member,
        };
        let mut statements = vec![Statement {
            sid: "Discovery".to_owned(),
            actions,
            on: On::Everything,
            when: Vec::new(),
        }];
        let partition = match self.partition {
            PartitionName::Aws => Partition::Aws,
            PartitionName::AwsUsGov => Partition::AwsUsGov,
            PartitionName::AwsCn => Partition::AwsCn,
        };
        let mut chosen = choices();
        chosen.retain(|one| self.mechanisms.iter().any(|name| name == one.name));
        let chosen = chosen.iter();
        let connector = &self.connector_id;
        match (self.role, &self.management_account) {
            (Role::Management, Some(account)) => {
                let stand = Stand { partition, account: account.as_str(), connector };
                let is_spared = !self.in_management_account;
                statements.extend(chosen.flat_map(|one| in_management(one, stand, is_spared)));
            }
            (Role::Management, None) if !self.mechanisms.is_empty() => {
                eprintln!(
                    "--mechanisms for the role of the management account needs --management-account"
                );
                return ExitCode::from(super::EXIT_USAGE);
            }
            (Role::Management, None) => {}
            (Role::Member, _) => {
                let stand = Stand { partition, account: "*", connector };
                statements.extend(chosen.flat_map(|one| in_members(one, stand)));
            }
        }
        let arns = [&self.trail_bucket_arn, &self.trail_kms_key_arn, &self.trail_queue_arn];
        let named = NAMED.iter().zip(arns).filter(|(_, arn)| !arn.is_empty());
        statements.extend(named.flat_map(|(named, arn)| named.statements(arn)));
        let format = match self.format {
            FormatName::Json => Format::Json,
            FormatName::Cloudformation => Format::CloudFormation,
            FormatName::Terraform => Format::Terraform,
        };
        print!("{}", policy::write(&statements, format));
        ExitCode::SUCCESS
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct CloudFormation {
    #[command(flatten)]
    types: Types,
    /// Prints the template of the member accounts alone, to be read: the other one holds it.
    #[arg(long)]
    member: bool,
}

impl CloudFormation {
    /// The template goes to standard output, what to do with it to standard error.
    pub(super) async fn run(self, reach: Reach, output: Output) -> anyhow::Result<()> {
        let types = self.types.chosen();
        if self.member {
            print!("{}", templates::member(&types));
            return Ok(());
        }
        print!("{}", templates::management(&types));
        let (connector, role) = match identity(reach, output).await {
            Ok(known) => known,
            Err(error) => {
                eprintln!(
                    "The daemon does not tell its values ({error}); `apono-connector identity` shows them once it runs.\n"
                );
                Default::default()
            }
        };
        let value = |value: &str, or: &str| if value.is_empty() { or } else { value }.to_owned();
        let choices: Vec<String> =
            choices().iter().map(|choice| format!("{}=Disabled", choice.title)).collect();
        let choices = choices.join(" ");
        eprintln!(
            "In the management account, as somebody who may make IAM roles and StackSets:

  # once: StackSets may reach the organization's accounts
  aws cloudformation activate-organizations-access

  # this output, kept as management.yaml
  aws cloudformation deploy --stack-name apono-connector --template-file management.yaml \\
    --capabilities CAPABILITY_NAMED_IAM --parameter-overrides \\
    AponoConnectorId={} ConnectorRoleArn={} \\
    OrganizationalUnitId=<r-... or ou-...> \\
    {choices}   # Enabled: it may give access, or read how it is used

  # the integration's management_role_arn
  aws cloudformation describe-stacks --stack-name apono-connector \\
    --query \"Stacks[0].Outputs[0].OutputValue\" --output text",
            value(&connector, "<connector id>"),
            value(&role, "<role of the daemon>"),
        );
        Ok(())
    }
}

/// The connector that is meant, and the daemon's own role; empty where there is none.
async fn identity(reach: Reach, output: Output) -> anyhow::Result<(String, String)> {
    let client = reach.connect(output).await?;
    let mut api = OperationsServiceClient::new(client.way.clone());
    let answer = api.get_identity(GetIdentityRequest {}).await?.into_inner();
    let connector = match (client.connector_id.as_str(), answer.connector_ids.as_slice()) {
        ("", [only]) => only.clone(),
        (named, _) => named.to_owned(),
    };
    Ok((connector, answer.connector_role_arn))
}
