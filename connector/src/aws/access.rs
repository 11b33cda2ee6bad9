//! A role session in one region, with the service clients that are made from it.

use std::sync::{Arc, OnceLock};

use aws_config::SdkConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime::client::{identity::IdentityCache, retries::RetryPartition};

use super::{
    budget,
    lease::Lease,
    sessions::{Error, Session},
    wire::{self, Usage},
};
use crate::model::{
    arn::{Partition, RoleArn},
    failure::Lane,
    ids::{AccountId, Region},
};

/// What a role can reach in one region. Clients are made when they are first needed
/// and share the process's connections; each has retry budgets of its own account,
/// region and service, so one throttled account cannot spend the retries of another.
#[derive(Debug)]
pub struct Access {
    session: Session,
    region: Region,
    clients: Clients,
    usage: Arc<Usage>,
    lease: Option<Lease>,
}

macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $sdk:ident, $service:literal;)+) => {
        #[derive(Debug, Default)]
        struct Clients {
            $($name: OnceLock<$sdk::Client>),+
        }

        impl Access {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(&self) -> &$sdk::Client {
                    self.clients.$name.get_or_init(|| {
                        let config = self.sdk_config($service);
                        $sdk::Client::from_conf(
                            $sdk::config::Builder::from(&config)
                                .retry_partition(self.retry_partition($service))
                                .build(),
                        )
                    })
                }
            )+
        }
    };
}

clients! {
    /// EC2.
    ec2: aws_sdk_ec2, "ec2";
    /// Systems Manager.
    ssm: aws_sdk_ssm, "ssm";
    /// S3.
    s3: aws_sdk_s3, "s3";
    /// IAM.
    iam: aws_sdk_iam, "iam";
    /// Organizations; only the management account answers.
    organizations: aws_sdk_organizations, "organizations";
    /// IAM Identity Center.
    sso_admin: aws_sdk_ssoadmin, "sso";
    /// Users and groups of IAM Identity Center.
    identity_store: aws_sdk_identitystore, "identitystore";
    /// CloudTrail.
    cloudtrail: aws_sdk_cloudtrail, "cloudtrail";
    /// DynamoDB.
    dynamodb: aws_sdk_dynamodb, "dynamodb";
    /// EKS.
    eks: aws_sdk_eks, "eks";
    /// Lambda.
    lambda: aws_sdk_lambda, "lambda";
    /// RDS.
    rds: aws_sdk_rds, "rds";
    /// Secrets Manager.
    secrets_manager: aws_sdk_secretsmanager, "secretsmanager";
    /// SNS.
    sns: aws_sdk_sns, "sns";
    /// SQS.
    sqs: aws_sdk_sqs, "sqs";
    /// Resource Groups Tagging API.
    tagging: aws_sdk_resourcegroupstagging, "tag";
}

impl Access {
    /// The reach of a session in a region.
    #[must_use]
    pub fn new(session: Session, region: Region) -> Self {
        let (clients, usage) = (Clients::default(), Arc::default());
        Self { session, region, clients, usage, lease: None }
    }

    /// The same role in another region; its calls count as ours.
    #[must_use]
    pub fn in_region(&self, region: Region) -> Self {
        let (usage, lease) = (Arc::clone(&self.usage), self.lease.clone());
        Self { usage, lease, ..Self::new(self.session.clone(), region) }
    }

    /// The same reach, whose calls go in another lane, under a lease.
    #[must_use]
    pub fn under(&self, lease: &Lease, lane: Lane) -> Self {
        let (usage, lease) = (Arc::clone(&self.usage), Some(lease.clone()));
        Self { usage, lease, ..Self::new(self.session.in_lane(lane), self.region.clone()) }
    }

    /// What the calls so far have come to.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &AccountId {
        self.session.key().role.account()
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> &RoleArn {
        &self.session.key().role
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.session.key().role.partition()
    }

    /// Makes sure that there are credentials, before the first call.
    ///
    /// # Errors
    ///
    /// When the role cannot be assumed, or leads to another account.
    pub async fn open(&self) -> Result<(), Error> {
        self.session.credentials().await.map(drop)
    }

    /// Drops cached credentials, after AWS said that they have ended.
    pub async fn renew(&self) {
        self.session.invalidate().await;
    }

    fn sdk_config(&self, service: &'static str) -> SdkConfig {
        let aws = self.session.aws();
        let account = budget::Account {
            id: self.account().to_string(),
            region: self.region.to_string(),
            service,
        };
        let terms = wire::Terms {
            account,
            lane: self.session.lane(),
            usage: Arc::clone(&self.usage),
            lease: self.lease.clone(),
        };
        let budgets = Arc::clone(&aws.budgets);
        aws.base
            .to_builder()
            .region(aws_types::region::Region::new(self.region.to_string()))
            .credentials_provider(SharedCredentialsProvider::new(self.session.clone()))
            // Sessions are cached in `sessions`, where they can be dropped.
            .identity_cache(IdentityCache::no_cache())
            .http_client(wire::client(&aws.http, budgets, terms))
            .build()
    }

    fn retry_partition(&self, service: &'static str) -> RetryPartition {
        RetryPartition::custom(format!("{}/{}/{service}", self.account(), self.region)).build()
    }
}
