//! Everything that the simulated AWS knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::{
    clock::Clock,
    delivery::{Message, Object},
    directory::Directory,
    fault::Fault,
    iam_user::{IamGroup, IamUser, UserChange},
    identity::{Credentials, Session},
    journal::{Entry, Tally},
    lag::Showing,
    latency::Latency,
    managed_policy::{ManagedPolicy, PolicyChange, PolicyName},
    quota::Quotas,
    shell::{SessionDocument, Shell},
    template::{Deployment, Role},
    text::Text,
    thing::Thing,
    trail::Trail,
    trap::Trap,
};

/// Regions that are enabled where nothing else is said.
pub const REGIONS: [&str; 3] = ["eu-central-1", "eu-west-1", "us-east-1"];

/// The simulated AWS.
#[derive(Debug, Default)]
pub struct World {
    /// Time.
    pub clock: Clock,
    /// Organizations, by id.
    pub organizations: BTreeMap<String, Organization>,
    /// Accounts of all organizations, by id.
    pub accounts: BTreeMap<String, Account>,
    /// Sessions, by access key.
    pub sessions: HashMap<String, Session>,
    /// Faults, the first that matches strikes.
    pub faults: Vec<Fault>,
    /// Traps that have caught nothing yet ([`World::set_trap`]).
    pub traps: Vec<Trap>,
    /// Quotas; none: calls are not counted.
    pub quotas: Option<Quotas>,
    /// How long answers take; none: no longer than they must.
    pub latency: Option<Latency>,
    /// Every call.
    pub journal: Vec<Entry>,
    /// When customer managed policies came to say something else, or went.
    pub policy_changes: Vec<PolicyChange>,
    /// How often each action was called, journal or not.
    pub tally: BTreeMap<String, Tally>,
    /// Whether calls are only counted: a million of them would fill the memory.
    pub only_counts: bool,
    /// Whether every list of resources begins with an empty page that has a token.
    pub begins_with_empty_pages: bool,
    /// Whether pages are as long as was asked for. AWS may give fewer items, so here it
    /// does, unless somebody measures speed.
    pub pages_as_asked: bool,
    /// Tags of what another emulator has ([`crate::gate`]), by ARN.
    pub tags_elsewhere: BTreeMap<String, BTreeMap<Text, Text>>,
    /// What CloudTrail has recorded.
    pub trail: Trail,
    /// Messages of queues, by ARN.
    pub queues: BTreeMap<String, Vec<Message>>,
    pub(crate) messages_sent: u64,
    /// The longest session that is given, whatever was asked for.
    pub session_length_max: Option<TimeDelta>,
    keys_made: u64,
}

/// An organization.
#[derive(Clone, Debug)]
pub struct Organization {
    /// `o-…`.
    pub id: String,
    /// Partition: `aws`.
    pub partition: String,
    /// Management account.
    pub management: String,
    /// Root and units, by id.
    pub units: BTreeMap<String, Unit>,
    /// Whether accounts tell their paths.
    pub tells_paths: bool,
    /// Whether lists of buckets tell their regions; of old they did not.
    pub tells_bucket_regions: bool,
    /// Accounts and units on a page: AWS gives 20.
    pub page_items: usize,
    /// Whether an empty page with a token comes before each list.
    pub begins_with_empty_page: bool,
    /// Region of the Identity Center instance; empty: none.
    pub sso_region: String,
    /// What the instance holds.
    pub directory: Directory,
    /// Its service control policies, which deny things in member accounts.
    pub scps: Vec<Value>,
}

/// The root or an organizational unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Name.
    pub name: String,
    /// Parent; empty: the root.
    pub parent: String,
}

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Organization.
    pub organization: String,
    /// Unit or root that it lies in.
    pub parent: String,
    /// Name.
    pub name: String,
    /// State: `ACTIVE`.
    pub state: String,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
    /// Roles, by name.
    pub roles: BTreeMap<String, Role>,
    /// Enabled regions.
    pub regions: BTreeSet<String>,
    /// Instances, by region.
    pub instances: BTreeMap<String, Vec<Instance>>,
    /// Buckets.
    pub buckets: Vec<Bucket>,
    /// Instance profiles, by name: the managed policies of their role.
    pub profiles: BTreeMap<String, Vec<String>>,
    /// Everything else that lives in a region.
    pub things: Vec<Thing>,
    /// Customer managed policies, as whoever changes them finds them.
    pub managed_policies: BTreeMap<PolicyName, ManagedPolicy>,
    /// Users of IAM, as whoever changes them finds them.
    pub iam_users: BTreeMap<String, IamUser>,
    /// Groups of IAM.
    pub iam_groups: BTreeMap<String, IamGroup>,
    /// How users of IAM have changed.
    pub user_changes: Vec<UserChange>,
    /// What shows of users that have just changed.
    pub(crate) showing_users: Showing<String, IamUser>,
    /// How long after the next changes of customer managed policies and users they show and count.
    pub iam_lag: TimeDelta,
    /// What shows of policies that have just changed.
    pub(crate) showing_policies: Showing<PolicyName, ManagedPolicy>,
    /// How many policies were ever made.
    pub(crate) policies_made: u64,
    /// Sessions of Session Manager, also those that have ended.
    pub shells: Vec<Shell>,
    /// How long sessions that are terminated go on, and show as open.
    pub shell_lag: TimeDelta,
    /// Session documents, by region and name.
    pub session_documents: BTreeMap<(String, String), SessionDocument>,
}

/// An EC2 instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// State: `running`.
    pub state: String,
    /// Type: `t3.micro`.
    pub kind: String,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
    /// Name of its instance profile; empty: none.
    pub profile: String,
    /// What Session Manager says: `Online`; empty: it never registered.
    pub ping: String,
}

/// An S3 bucket.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    /// Name.
    pub name: String,
    /// Region.
    pub region: String,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// The customer's key that encrypts it, by id, ARN or alias; empty: S3's own.
    pub kms_key: String,
    /// What lies in it, by name.
    pub objects: BTreeMap<String, Object>,
    /// The roles of other accounts that its policy lets read it, by ARN.
    pub readers: BTreeSet<String>,
    /// The queues that it tells of new files, by ARN.
    pub notifies: Vec<String>,
}

impl World {
    /// Adds an organization with its root and its management account.
    pub fn add_organization(&mut self, id: &str, partition: &str, management: &str) -> String {
        let root = format!("r-{}", &id[2..6]);
        let unit = Unit { name: "Root".to_owned(), parent: String::new() };
        self.organizations.insert(
            id.to_owned(),
            Organization {
                id: id.to_owned(),
                partition: partition.to_owned(),
                management: management.to_owned(),
                units: BTreeMap::from([(root.clone(), unit)]),
                tells_paths: true,
                tells_bucket_regions: true,
                page_items: 20,
                begins_with_empty_page: false,
                sso_region: String::new(),
                directory: Directory::default(),
                scps: Vec::new(),
            },
        );
        self.add_account(id, &root, management, "management");
        root
    }

    /// Adds an organizational unit.
    ///
    /// # Panics
    ///
    /// When there is no such organization.
    pub fn add_unit(&mut self, organization: &str, parent: &str, id: &str, name: &str) {
        let unit = Unit { name: name.to_owned(), parent: parent.to_owned() };
        let organization = self.organizations.get_mut(organization).expect("an organization");
        organization.units.insert(id.to_owned(), unit);
    }

    /// Adds an active account.
    pub fn add_account(
        &mut self,
        organization: &str,
        parent: &str,
        id: &str,
        name: &str,
    ) -> &mut Account {
        let regions = match self.organizations.get(organization).map(|o| o.partition.as_str()) {
            Some("aws-us-gov") => vec!["us-gov-east-1", "us-gov-west-1"],
            Some("aws-cn") => vec!["cn-north-1", "cn-northwest-1"],
            _ => REGIONS.to_vec(),
        };
        self.accounts.entry(id.to_owned()).or_insert(Account {
            organization: organization.to_owned(),
            parent: parent.to_owned(),
            name: name.to_owned(),
            state: "ACTIVE".to_owned(),
            tags: BTreeMap::new(),
            roles: BTreeMap::new(),
            regions: regions.into_iter().map(str::to_owned).collect(),
            instances: BTreeMap::new(),
            buckets: Vec::new(),
            profiles: BTreeMap::new(),
            things: Vec::new(),
            managed_policies: BTreeMap::new(),
            iam_users: BTreeMap::new(),
            iam_groups: BTreeMap::new(),
            user_changes: Vec::new(),
            showing_users: Showing::default(),
            iam_lag: TimeDelta::zero(),
            showing_policies: Showing::default(),
            policies_made: 0,
            shells: Vec::new(),
            shell_lag: TimeDelta::zero(),
            session_documents: BTreeMap::new(),
        })
    }

    /// An account.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn account(&mut self, id: &str) -> &mut Account {
        self.accounts.get_mut(id).expect("an account")
    }

    /// Plants the roles of a rendered template: one in the management account, one in
    /// every member account below the template's unit.
    ///
    /// # Panics
    ///
    /// When there is no such organization.
    pub fn deploy(&mut self, organization: &str, deployment: &Deployment) {
        let organization = self.organizations[organization].clone();
        let below: Vec<String> = self
            .accounts
            .iter()
            .filter(|(id, account)| {
                account.organization == organization.id
                    && **id != organization.management
                    && organization.path(&account.parent).contains(&deployment.unit)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for role in &deployment.management {
            let account = self.account(&organization.management);
            account.roles.insert(role.name.clone(), role.clone());
        }
        for id in below {
            let reader = deployment.reader.as_ref().filter(|(account, _)| *account == id);
            for role in reader.map_or(&deployment.member, |(_, roles)| roles) {
                self.account(&id).roles.insert(role.name.clone(), role.in_account(&id));
            }
            for (name, document) in &deployment.member_policies {
                self.put_policy(&id, "/", name, &document.to_string());
            }
        }
    }

    /// Credentials of a host's own role, as an instance profile gives them.
    pub fn hub_credentials(&mut self, role_arn: &str) -> Credentials {
        let account = role_arn.split(':').nth(4).unwrap_or_default().to_owned();
        let partition = role_arn.split(':').nth(1).unwrap_or_default();
        let name = role_arn.rsplit('/').next().unwrap_or_default();
        let expires = self.clock.now() + TimeDelta::days(365);
        self.open_session(Session {
            arn: format!("arn:{partition}:sts::{account}:assumed-role/{name}/i-0hub"),
            role_arn: role_arn.to_owned(),
            account,
            expires,
            tags: Vec::new(),
            source_identity: String::new(),
            is_hub: true,
        })
    }

    /// Makes an access key for a session.
    pub fn open_session(&mut self, session: Session) -> Credentials {
        self.keys_made += 1;
        let access_key = format!("ASIA{:016X}", self.keys_made);
        self.sessions.insert(access_key.clone(), session);
        Credentials {
            secret: format!("secret-{}", self.keys_made),
            token: format!("token-{}", self.keys_made),
            access_key,
        }
    }

    /// The policies of the role behind a session.
    #[must_use]
    pub fn policies(&self, session: &Session) -> &[Value] {
        let name = session.role_arn.rsplit('/').next().unwrap_or_default();
        self.accounts
            .get(&session.account)
            .and_then(|account| account.roles.get(name))
            .map_or(&[], |role| role.policies.as_slice())
    }

    /// The organization of an account.
    #[must_use]
    pub fn organization_of(&self, account: &str) -> Option<&Organization> {
        self.organizations.get(&self.accounts.get(account)?.organization)
    }

    /// The calls of an action, however they ended.
    #[must_use]
    pub fn calls(&self, action: &str) -> usize {
        self.tally.get(action).map_or(0, |tally| tally.calls)
    }

    /// How many items a page has of those that were asked for, where AWS may give fewer.
    pub(crate) fn page_items(&self, asked: usize, given_max: usize) -> usize {
        if self.pages_as_asked { asked } else { asked.min(given_max) }
    }
}

impl Organization {
    /// Ids from the root down to a unit.
    #[must_use]
    pub fn path(&self, unit: &str) -> Vec<String> {
        let mut path = vec![unit.to_owned()];
        while let Some(parent) = path
            .last()
            .and_then(|id| self.units.get(id))
            .map(|unit| unit.parent.clone())
            .filter(|parent| !parent.is_empty())
        {
            path.push(parent);
        }
        path.reverse();
        path
    }
}
