//! The simulated AWS of a test.

use std::{collections::BTreeMap, sync::Arc};

use aws_sim::{
    Kind, Sim, World,
    seed::Plan,
    template::{self, Deployment},
    text::Text,
    world::{Bucket, Instance, Organization},
};

pub(crate) use aws_sim::seed::HUB_ROLE_ARN;

/// The template that customers deploy.
pub(crate) const TEMPLATE: &str = include_str!("../../../deploy/cloudformation/management.yaml");

/// A simulator with one organization, deployed for a connector.
pub(crate) struct Cloud {
    /// The simulator.
    pub sim: Arc<Sim>,
    /// The organization.
    pub organization: String,
    /// Its root.
    pub root: String,
    /// Its management account.
    pub management: String,
    /// Its partition.
    pub partition: String,
    /// The connector that it trusts.
    pub connector_id: String,
    /// The hosts' role.
    pub hub_role_arn: String,
}

impl Cloud {
    /// An organization with nothing but its management account.
    pub(crate) async fn empty(partition: &str) -> Self {
        Self::in_front_of(Sim::start().await.expect("a simulator"), partition)
    }

    /// The same on a simulator that is started already.
    pub(crate) fn in_front_of(sim: Sim, partition: &str) -> Self {
        let organization = "o-test123456".to_owned();
        let management = "111111111111".to_owned();
        let root = sim.world().add_organization(&organization, partition, &management);
        Self {
            root,
            management,
            organization,
            sim: Arc::new(sim),
            partition: partition.to_owned(),
            connector_id: connector::base::chance::uuid().to_string(),
            hub_role_arn: HUB_ROLE_ARN.replace("arn:aws:", &format!("arn:{partition}:")),
        }
    }

    /// An organization that is made from a plan, and deployed.
    pub(crate) async fn planned(plan: &Plan<'_>) -> Self {
        Self::on(Arc::new(Sim::start().await.expect("a simulator")), plan)
    }

    /// The same on a simulator that may hold others.
    pub(crate) fn on(sim: Arc<Sim>, plan: &Plan<'_>) -> Self {
        let root = plan.make(&mut sim.world());
        let cloud = Self {
            root,
            management: plan.management(),
            organization: plan.organization.to_owned(),
            sim,
            partition: "aws".to_owned(),
            connector_id: connector::base::chance::uuid().to_string(),
            hub_role_arn: HUB_ROLE_ARN.to_owned(),
        };
        cloud.deploy();
        cloud
    }

    /// The sample organization of the demo.
    pub(crate) async fn sample() -> Self {
        let sim = Sim::start().await.expect("a simulator");
        let connector_id = connector::base::chance::uuid().to_string();
        aws_sim::seed::sample(&mut sim.world(), TEMPLATE, &connector_id).expect("a template");
        Self {
            sim: Arc::new(sim),
            organization: aws_sim::seed::SAMPLE_ORGANIZATION.to_owned(),
            root: "r-samp".to_owned(),
            management: aws_sim::seed::SAMPLE_MANAGEMENT.to_owned(),
            partition: "aws".to_owned(),
            connector_id,
            hub_role_arn: HUB_ROLE_ARN.to_owned(),
        }
    }

    /// Adds an account.
    pub(crate) fn account(&self, id: &str, parent: &str, name: &str) {
        self.sim.world().add_account(&self.organization, parent, id, name);
    }

    /// Adds a unit.
    pub(crate) fn unit(&self, id: &str, parent: &str, name: &str) {
        self.sim.world().add_unit(&self.organization, parent, id, name);
    }

    /// Deploys the template.
    pub(crate) fn deploy(&self) {
        let deployment = self.deployment();
        self.sim.world().deploy(&self.organization, &deployment);
    }

    /// The same, with every way of giving access.
    pub(crate) fn deploy_all(&self) {
        let all = connector::privileges::choices()
            .iter()
            .map(|one| (one.title, "Enabled"))
            .collect::<Vec<_>>();
        let deployment = self.deployment_with(&all);
        self.sim.world().deploy(&self.organization, &deployment);
    }

    /// The rendered template.
    pub(crate) fn deployment(&self) -> Deployment {
        self.deployment_with(&[("AccountAssignments", "Enabled"), ("GroupMemberships", "Enabled")])
    }

    /// The template, rendered with these choices.
    pub(crate) fn deployment_with(&self, choices: &[(&str, &str)]) -> Deployment {
        let account = ("AWS::AccountId", self.management.as_str());
        let choices = [choices, &[account]].concat();
        let (id, hub) = (&self.connector_id, &self.hub_role_arn);
        template::render(TEMPLATE, id, hub, &self.root, &choices).expect("a template")
    }

    /// The stack's output.
    pub(crate) fn management_role_arn(&self) -> String {
        format!("arn:{}:iam::{}:role/apono-connector-management", self.partition, self.management)
    }

    /// Home region.
    pub(crate) fn region(&self) -> &'static str {
        match self.partition.as_str() {
            "aws-us-gov" => "us-gov-west-1",
            "aws-cn" => "cn-north-1",
            _ => "eu-west-1",
        }
    }

    /// What makes a process a host of connectors.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let credentials = self.sim.world().hub_credentials(&self.hub_role_arn);
        vec![
            ("AWS_ENDPOINT_URL", self.sim.url()),
            ("AWS_REGION", self.region().to_owned()),
            ("AWS_ACCESS_KEY_ID", credentials.access_key),
            ("AWS_SECRET_ACCESS_KEY", credentials.secret),
            ("AWS_SESSION_TOKEN", credentials.token),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// The accounts, instances and buckets below the root, as `arn name tags`.
    pub(crate) fn expected(&self, excluded: &[&str]) -> Vec<String> {
        self.lines(excluded, things)
    }

    /// Everything below the root, in the same way.
    pub(crate) fn expected_of_every_type(&self, excluded: &[&str]) -> Vec<String> {
        let mut lines = self.lines(excluded, |world, partition, id| {
            [things(world, partition, id), others(world, partition, id)].concat()
        });
        lines.extend(self.enrolled());
        lines.sort();
        lines
    }

    /// What Identity Center holds.
    fn enrolled(&self) -> Vec<String> {
        let world = self.sim.world();
        let Organization { directory, id, .. } = &world.organizations[&self.organization];
        let arn = |service: &str, rest: &str| format!("arn:{}:{service}:::{rest}", self.partition);
        let none = BTreeMap::new();
        let sets = directory.permission_sets.iter().map(|set| {
            let arn = arn("sso", &format!("permissionSet/ssoins-{}/{}", &id[2..], set.id));
            line(&arn, &set.name, &set.tags)
        });
        let users = directory.users.iter().map(|user| {
            line(&arn("identitystore", &format!("user/{}", user.id)), &user.name, &none)
        });
        let groups = directory.groups.iter().map(|group| {
            line(&arn("identitystore", &format!("group/{}", group.id)), &group.name, &none)
        });
        sets.chain(users).chain(groups).collect()
    }

    fn lines(
        &self,
        excluded: &[&str],
        held: impl Fn(&World, &str, &str) -> Vec<String>,
    ) -> Vec<String> {
        let world = self.sim.world();
        let mut lines = Vec::new();
        for (id, account) in &world.accounts {
            let organization = &world.organizations[&account.organization];
            let path = organization.path(&account.parent);
            let is_read = account.organization == self.organization
                && account.state == "ACTIVE"
                && !path.iter().any(|unit| excluded.contains(&unit.as_str()));
            if is_read && account.roles.keys().any(|role| role.starts_with("apono-connector-")) {
                lines.extend(held(&world, &self.partition, id));
            }
            if is_read {
                let arn = format!(
                    "arn:{}:organizations::{}:account/{}/{id}",
                    self.partition, self.management, self.organization
                );
                lines.push(line(&arn, &account.name, &account.tags));
            }
        }
        lines.sort();
        lines
    }
}

fn things(world: &World, partition: &str, id: &str) -> Vec<String> {
    let account = &world.accounts[id];
    let mut lines = Vec::new();
    for (region, instances) in &account.instances {
        for instance in instances {
            let arn = format!("arn:{partition}:ec2:{region}:{id}:instance/{}", instance.id);
            let name =
                instance.tags.get(&Text::from("Name")).map_or(instance.id.clone(), Text::lossy);
            lines.push(line(&arn, &name, &instance.tags));
        }
    }
    for bucket in &account.buckets {
        let arn = format!("arn:{partition}:s3:::{}", bucket.name);
        lines.push(line(&arn, &bucket.name, &bucket.tags));
    }
    lines
}

fn others(world: &World, partition: &str, id: &str) -> Vec<String> {
    let account = &world.accounts[id];
    let mut lines = Vec::new();
    for thing in &account.things {
        // IAM groups cannot be tagged.
        let tags = if thing.kind == Kind::IamGroup { &BTreeMap::new() } else { &thing.tags };
        lines.push(line(&thing.arn(partition, id), &thing.name, tags));
    }
    for role in account.roles.keys() {
        lines.push(line(&format!("arn:{partition}:iam::{id}:role/{role}"), role, &BTreeMap::new()));
    }
    lines
}

fn line(arn: &str, name: &str, tags: &BTreeMap<Text, Text>) -> String {
    let tags: BTreeMap<String, String> =
        tags.iter().map(|(key, value)| (key.lossy(), value.lossy())).collect();
    format!("{arn} {name} {tags:?}")
}

/// A running instance that Session Manager manages.
pub(crate) fn instance(id: &str, tags: &[(&str, &str)]) -> Instance {
    Instance {
        id: id.to_owned(),
        state: "running".to_owned(),
        kind: "t3.micro".to_owned(),
        tags: self::tags(tags),
        profile: "ssm".to_owned(),
        ping: "Online".to_owned(),
    }
}

/// A bucket.
pub(crate) fn bucket(name: &str, region: &str, tags: &[(&str, &str)]) -> Bucket {
    Bucket {
        name: name.to_owned(),
        region: region.to_owned(),
        tags: self::tags(tags),
        created: chrono::DateTime::from_timestamp(1_750_000_000, 0).expect("a time"),
        ..Bucket::default()
    }
}

/// Tags.
pub(crate) fn tags(pairs: &[(&str, &str)]) -> BTreeMap<Text, Text> {
    pairs.iter().map(|(key, value)| (Text::from(*key), Text::from(*value))).collect()
}
