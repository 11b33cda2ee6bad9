//! Organizations that are made, not written: the sample of the demo, and larger ones
//! from a seed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    directory::{Boundary, Group, PermissionSet, User},
    managed_policy::PolicyName,
    template,
    text::Text,
    thing::{Kind, Thing},
    world::{Bucket, Instance, World},
};

/// The role of the hosts that run connectors.
pub const HUB_ROLE_ARN: &str = "arn:aws:iam::999999999999:role/apono-hub";
/// The sample's organization.
pub const SAMPLE_ORGANIZATION: &str = "o-sample1234";
/// The sample's management account.
pub const SAMPLE_MANAGEMENT: &str = "100000000000";
/// One of the sample's accounts with the member role.
pub const SAMPLE_WITH_ROLE: &str = "100000000001";
/// The sample's account without the member role.
pub const SAMPLE_WITHOUT_ROLE: &str = "100000000007";

/// Adds the sample: 14 accounts in nested units, one unit to exclude, one account
/// suspended, one without the member role.
///
/// # Errors
///
/// When the template cannot be rendered.
pub fn sample(world: &mut World, template: &str, connector_id: &str) -> anyhow::Result<()> {
    let organization = SAMPLE_ORGANIZATION;
    let root = world.add_organization(organization, "aws", SAMPLE_MANAGEMENT);
    let units = [
        ("ou-samp-workload", root.as_str(), "Workloads"),
        ("ou-samp-product1", "ou-samp-workload", "Production"),
        ("ou-samp-staging1", "ou-samp-workload", "Staging"),
        ("ou-samp-security", root.as_str(), "Security"),
        ("ou-samp-sandbox1", root.as_str(), "Sandbox"),
    ];
    for (id, parent, name) in units {
        world.add_unit(organization, parent, id, name);
    }
    let accounts = [
        (SAMPLE_WITH_ROLE, "ou-samp-product1", "payments"),
        ("100000000002", "ou-samp-product1", "checkout"),
        ("100000000003", "ou-samp-product1", "search"),
        ("100000000004", "ou-samp-staging1", "payments-staging"),
        ("100000000005", "ou-samp-staging1", "checkout-staging"),
        ("100000000006", "ou-samp-security", "log-archive"),
        (SAMPLE_WITHOUT_ROLE, "ou-samp-security", "audit"),
        ("100000000008", "ou-samp-workload", "shared-services"),
        ("100000000009", "ou-samp-workload", "data-lake"),
        ("100000000010", "ou-samp-sandbox1", "sandbox-ann"),
        ("100000000011", "ou-samp-sandbox1", "sandbox-bob"),
        ("100000000012", "ou-samp-workload", "legacy"),
        ("100000000013", "ou-samp-staging1", "search-staging"),
    ];
    let mut chance = StdRng::seed_from_u64(7);
    for (id, parent, name) in accounts {
        world.add_account(organization, parent, id, name);
        furnish(world, id, &mut chance, 6, 4);
        stock(world, id, "eu-west-1", 1, &mut chance);
    }
    "SUSPENDED".clone_into(&mut world.account("100000000012").state);
    enroll(world, organization, "eu-west-1", &[SAMPLE_WITH_ROLE, "100000000002"], 3);
    let choices = [
        ("AccountAssignments", "Enabled"),
        ("GeneratedAccess", "Enabled"),
        ("SessionAudit", "Enabled"),
        ("AWS::AccountId", SAMPLE_MANAGEMENT),
    ];
    let deployment = template::render(template, connector_id, HUB_ROLE_ARN, &root, &choices)?;
    world.deploy(organization, &deployment);
    world.account(SAMPLE_WITHOUT_ROLE).roles.clear();
    Ok(())
}

/// The regions that an account of `aws` has without opting in.
pub const DEFAULT_REGIONS: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// An organization that is made from a seed.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// `o-…`.
    pub organization: &'a str,
    /// The first account id; the management account has it, members follow.
    pub first_account: u64,
    /// Member accounts.
    pub accounts: usize,
    /// Units below the root; members lie in them by turns.
    pub units: usize,
    /// Enabled regions.
    pub regions: &'a [&'a str],
    /// Instances in each region of each member.
    pub instances: usize,
    /// Buckets in each member.
    pub buckets: usize,
    /// Chance.
    pub seed: u64,
}

impl Plan<'_> {
    /// The management account.
    #[must_use]
    pub fn management(&self) -> String {
        format!("{:012}", self.first_account)
    }

    /// The members' ids.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        (self.first_account + 1..).take(self.accounts).map(|id| format!("{id:012}")).collect()
    }

    /// Makes it, without roles. Returns the root's id.
    pub fn make(&self, world: &mut World) -> String {
        let management = self.management();
        let root = world.add_organization(self.organization, "aws", &management);
        let units: Vec<String> =
            (0..self.units).map(|at| format!("ou-{}-{at:08}", &self.organization[2..6])).collect();
        for (at, unit) in units.iter().enumerate() {
            world.add_unit(self.organization, &root, unit, &format!("unit-{at}"));
        }
        let mut chance = StdRng::seed_from_u64(self.seed);
        world.account(&management).regions = self.regions.iter().map(ToString::to_string).collect();
        for (at, id) in self.members().iter().enumerate() {
            let parent = if units.is_empty() { &root } else { &units[at % units.len()] };
            let account =
                world.add_account(self.organization, parent, id, &format!("account-{at}"));
            account.regions = self.regions.iter().map(ToString::to_string).collect();
            furnish(world, id, &mut chance, self.instances, self.buckets);
        }
        root
    }
}

/// Puts instances into every region of an account, and buckets into the account.
///
/// # Panics
///
/// When there is no such account.
pub fn furnish(
    world: &mut World,
    account_id: &str,
    chance: &mut StdRng,
    instances: usize,
    buckets: usize,
) {
    let account = world.account(account_id);
    account.profiles.insert("ssm".into(), vec!["AmazonSSMManagedInstanceCore".into()]);
    account.profiles.insert("plain".into(), Vec::new());
    let regions: Vec<String> = account.regions.iter().cloned().collect();
    for region in &regions {
        let made = (0..instances).map(|at| instance(account_id, region, at, chance)).collect();
        account.instances.insert(region.clone(), made);
    }
    for at in 0..buckets {
        account.buckets.push(Bucket {
            name: format!("{}-{account_id}-{at}", account.name),
            region: regions[at % regions.len()].clone(),
            tags: tags(&[("team", team(chance)), ("data", "internal")]),
            created: DateTime::<Utc>::from_timestamp(1_750_000_000, 0).unwrap_or_default(),
            ..Bucket::default()
        });
    }
}

/// Fills the Identity Center instance of an organization: permission sets in these
/// accounts, users, and groups of them.
///
/// # Panics
///
/// When there is no such organization.
pub fn enroll(
    world: &mut World,
    organization: &str,
    region: &str,
    accounts: &[&str],
    of_each: usize,
) {
    let organization = world.organizations.get_mut(organization).expect("an organization");
    region.clone_into(&mut organization.sso_region);
    let directory = &mut organization.directory;
    for at in 0..of_each {
        let of_team = PolicyName::new("/", &format!("team-{at}"));
        directory.policies_everywhere.insert(of_team.clone());
        directory.permission_sets.push(PermissionSet {
            id: format!("ps-{at:016x}"),
            name: format!("Team{at}"),
            description: if at == 0 { String::new() } else { "For the team".to_owned() },
            created: DateTime::<Utc>::from_timestamp(1_750_000_000, 0).unwrap_or_default(),
            session_duration: String::new(),
            managed: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned()],
            customer_managed: vec![of_team.clone()],
            inline: if at == 0 { "{}".to_owned() } else { String::new() },
            boundary: (at == 0)
                .then(|| Boundary::Managed("arn:aws:iam::aws:policy/Bounds".to_owned())),
            accounts: accounts.iter().map(ToString::to_string).collect(),
            tags: tags(&[("team", if at % 2 == 0 { "red" } else { "blue" })]),
        });
        directory.users.push(User {
            id: format!("9067642ac7-{at:08x}"),
            name: format!("ann{at}"),
            email: format!("ann{at}@example.com"),
            external_id: format!("00u{at}"),
            is_disabled: at == 0,
        });
        directory.groups.push(Group {
            id: format!("g-{at:08x}"),
            name: format!("team-{at}"),
            external_id: String::new(),
            members: directory.users.iter().map(|user| user.id.clone()).collect(),
        });
    }
}

/// Puts things of every other kind into an account, in one region; global ones once.
///
/// # Panics
///
/// When there is no such account.
pub fn stock(
    world: &mut World,
    account_id: &str,
    region: &str,
    of_each: usize,
    chance: &mut StdRng,
) {
    for kind in Kind::ALL {
        let has_some = world.account(account_id).things.iter().any(|thing| thing.kind == kind);
        if kind.is_global() && has_some {
            continue;
        }
        for at in 0..of_each {
            let name = format!("{}-{at}", names(kind));
            // Some have no tags at all.
            let tags = if chance.random_range(0..4) == 0 {
                BTreeMap::new()
            } else {
                tags(&[("team", team(chance))])
            };
            let fields = fields(kind, account_id, region);
            let region = if kind.is_global() { String::new() } else { region.to_owned() };
            world.account(account_id).things.push(Thing { kind, region, name, tags, fields });
        }
    }
}

fn names(kind: Kind) -> &'static str {
    match kind {
        Kind::DynamodbTable => "orders",
        Kind::EksCluster => "platform",
        Kind::IamGroup => "developers",
        Kind::IamPolicy => "read-orders",
        Kind::IamRole => "resize",
        Kind::IamUser => "ci",
        Kind::LambdaFunction => "resize-images",
        Kind::RdsCluster => "ledger",
        Kind::RdsInstance => "ledger-writer",
        Kind::Secret => "prod/database",
        Kind::SnsTopic => "alerts",
        Kind::SqsQueue => "jobs",
    }
}

fn fields(kind: Kind, account: &str, region: &str) -> Value {
    match kind {
        Kind::DynamodbTable => json!({
            "TableStatus": "ACTIVE",
            "CreationDateTime": 1_750_000_000,
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "BillingModeSummary": { "BillingMode": "PAY_PER_REQUEST" },
            "DeletionProtectionEnabled": true,
            "ItemCount": 17,
        }),
        Kind::EksCluster => json!({
            "status": "ACTIVE",
            "version": "1.34",
            "createdAt": 1_750_000_000,
            "endpoint": format!("https://0123456789abcdef.{region}.eks.amazonaws.com"),
            "roleArn": format!("arn:aws:iam::{account}:role/eks"),
            "accessConfig": { "authenticationMode": "API_AND_CONFIG_MAP" },
            "resourcesVpcConfig": { "vpcId": "vpc-0123456789abcdef0", "endpointPublicAccess": true },
        }),
        Kind::IamGroup => json!({
            "Path": "/",
            "CreateDate": "2026-01-02T03:04:05Z",
            "GroupPolicyList": { "member": [{ "PolicyName": "inline", "PolicyDocument": "%7B%7D" }] },
        }),
        Kind::IamPolicy => json!({
            "Path": "/",
            "DefaultVersionId": "v2",
            "AttachmentCount": 1,
            "CreateDate": "2026-01-02T03:04:05Z",
            "UpdateDate": "2026-02-03T04:05:06Z",
        }),
        Kind::IamRole => json!({
            "Path": "/",
            "CreateDate": "2026-01-02T03:04:05Z",
            "AssumeRolePolicyDocument": "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%22lambda.amazonaws.com%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%5D%7D",
            "RoleLastUsed": { "LastUsedDate": "2026-03-04T05:06:07Z", "Region": region },
        }),
        Kind::IamUser => json!({
            "Path": "/",
            "CreateDate": "2026-01-02T03:04:05Z",
            "GroupList": { "member": ["developers-0"] },
            "AttachedManagedPolicies": {
                "member": [{
                    "PolicyName": "ReadOnlyAccess",
                    "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
                }],
            },
        }),
        Kind::LambdaFunction => json!({
            "Runtime": "python3.13",
            "Role": format!("arn:aws:iam::{account}:role/resize"),
            "MemorySize": 256,
            "Timeout": 30,
            "PackageType": "Zip",
            "Architectures": ["arm64"],
            "Description": "",
            "LastModified": "2026-01-02T03:04:05.000+0000",
        }),
        Kind::RdsCluster => json!({
            "Engine": "aurora-postgresql",
            "EngineVersion": "17.4",
            "Status": "available",
            "Endpoint": format!("ledger.cluster-abc.{region}.rds.amazonaws.com"),
            "Port": 5432,
            "IAMDatabaseAuthenticationEnabled": true,
            "StorageEncrypted": true,
            "ClusterCreateTime": "2026-01-02T03:04:05Z",
            "DBClusterMembers": {
                "DBClusterMember": [{ "DBInstanceIdentifier": "ledger-writer-0" }],
            },
        }),
        Kind::RdsInstance => json!({
            "DBInstanceClass": "db.r7g.large",
            "Engine": "aurora-postgresql",
            "DBInstanceStatus": "available",
            "PubliclyAccessible": false,
            "StorageEncrypted": true,
            "DBClusterIdentifier": "ledger-0",
            "Endpoint": { "Address": format!("ledger.abc.{region}.rds.amazonaws.com"), "Port": 5432 },
        }),
        Kind::Secret => json!({
            "Description": "Login of the application",
            "CreatedDate": 1_750_000_000,
            "LastAccessedDate": 1_760_000_000,
            "RotationEnabled": true,
        }),
        Kind::SnsTopic => json!({ "DisplayName": "Alerts", "KmsMasterKeyId": "alias/aws/sns" }),
        Kind::SqsQueue => json!({
            "CreatedTimestamp": "1750000000",
            "MessageRetentionPeriod": "345600",
            "ApproximateNumberOfMessages": "17",
            "RedrivePolicy": format!(
                "{{\"deadLetterTargetArn\":\"arn:aws:sqs:{region}:{account}:jobs-dead\",\"maxReceiveCount\":3}}"
            ),
        }),
    }
}

fn instance(account: &str, region: &str, at: usize, chance: &mut StdRng) -> Instance {
    // State and Session Manager's view of it, in the mix that one meets.
    let (state, profile, ping) = match chance.random_range(0..10) {
        0 => ("stopped", "ssm", "ConnectionLost"),
        1 => ("running", "", ""),
        2 => ("running", "plain", ""),
        3 => ("running", "ssm", ""),
        4 => ("running", "ssm", "ConnectionLost"),
        _ => ("running", "ssm", "Online"),
    };
    let number: u32 = chance.random();
    Instance {
        id: format!("i-{}{number:08x}{at:04x}", &account[9..]),
        state: state.to_owned(),
        kind: ["t3.micro", "m7g.large", "c7i.xlarge"][at % 3].to_owned(),
        tags: tags(&[("Name", &format!("web-{region}-{at}")), ("team", team(chance))]),
        profile: profile.to_owned(),
        ping: ping.to_owned(),
    }
}

fn team(chance: &mut StdRng) -> &'static str {
    ["red", "blue", "green"][chance.random_range(0..3)]
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<Text, Text> {
    pairs.iter().map(|(key, value)| (Text::from(*key), Text::from(*value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_ten_thousand_accounts() {
        let plan = Plan {
            organization: "o-large12345",
            first_account: 500_000_000_000,
            accounts: 10_000,
            units: 40,
            regions: &DEFAULT_REGIONS[..2],
            instances: 1,
            buckets: 1,
            seed: 3,
        };
        let made = || {
            let mut world = World::default();
            plan.make(&mut world);
            world.accounts.values().map(|account| format!("{:?}", account.instances)).collect()
        };
        let first: Vec<String> = made();
        assert_eq!(first.len(), 10_001);
        assert_eq!(first, made());
    }
}
