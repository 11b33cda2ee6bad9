//! Things of which the simulator needs no more than a name, tags, and the fields that their
//! service shows.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::text::Text;

/// What a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// DynamoDB table.
    DynamodbTable,
    /// EKS cluster.
    EksCluster,
    /// IAM group.
    IamGroup,
    /// IAM customer-managed policy.
    IamPolicy,
    /// IAM role.
    IamRole,
    /// IAM user.
    IamUser,
    /// Lambda function.
    LambdaFunction,
    /// RDS cluster.
    RdsCluster,
    /// RDS instance.
    RdsInstance,
    /// Secrets Manager secret.
    Secret,
    /// SNS topic.
    SnsTopic,
    /// SQS queue.
    SqsQueue,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::DynamodbTable,
        Self::EksCluster,
        Self::IamGroup,
        Self::IamPolicy,
        Self::IamRole,
        Self::IamUser,
        Self::LambdaFunction,
        Self::RdsCluster,
        Self::RdsInstance,
        Self::Secret,
        Self::SnsTopic,
        Self::SqsQueue,
    ];

    /// Whether it lives in no region.
    #[must_use]
    pub fn is_global(self) -> bool {
        matches!(self, Self::IamGroup | Self::IamPolicy | Self::IamRole | Self::IamUser)
    }

    /// What its ARN says before and behind region and account.
    fn arn_parts(self) -> (&'static str, &'static str) {
        match self {
            Self::DynamodbTable => ("dynamodb", "table/"),
            Self::EksCluster => ("eks", "cluster/"),
            Self::IamGroup => ("iam", "group/"),
            Self::IamPolicy => ("iam", "policy/"),
            Self::IamRole => ("iam", "role/"),
            Self::IamUser => ("iam", "user/"),
            Self::LambdaFunction => ("lambda", "function:"),
            Self::RdsCluster => ("rds", "cluster:"),
            Self::RdsInstance => ("rds", "db:"),
            Self::Secret => ("secretsmanager", "secret:"),
            Self::SnsTopic => ("sns", ""),
            Self::SqsQueue => ("sqs", ""),
        }
    }
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// Region; empty: global.
    pub region: String,
    /// Name.
    pub name: String,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
    /// What its service shows beside, in the service's own words.
    pub fields: Value,
}

impl Thing {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self, partition: &str, account: &str) -> String {
        let (service, prefix) = self.kind.arn_parts();
        // Secrets Manager puts six characters behind a name.
        let suffix = if self.kind == Kind::Secret { "-a1B2c3" } else { "" };
        format!("arn:{partition}:{service}:{}:{account}:{prefix}{}{suffix}", self.region, self.name)
    }
}
