//! CloudTrail: what people do with the roles that Identity Center gives them, as records that are
//! delivered a while later.
//!
//! A person signs in with a role ([`World::sign_in`]) and acts with the session that they get
//! ([`World::act`]), whose calls are judged like all others. What they do is recorded, denied calls too.
//!
//! Sources: the user guide of CloudTrail ("CloudTrail record contents", "CloudTrail userIdentity
//! element", "Data events"), and that of IAM Identity Center ("CloudTrail use cases for IAM Identity Center").

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    Context,
    delivery::Delivery,
    evaluator::{self, Question},
    identity::Session,
    reference,
    shell::Opening,
    world::World,
};

/// How long a session of such a role lasts, where its permission set says nothing else.
const SESSION: TimeDelta = TimeDelta::hours(1);

/// What is recorded, and how late it is delivered.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Records, in the order in which they were made.
    pub records: Vec<Record>,
    /// How long after it a record is delivered.
    pub lag: TimeDelta,
    /// Whether each record is delivered twice.
    pub repeats: bool,
    /// The trail that delivers log files; none: there is the event history alone.
    pub delivery: Option<Delivery>,
    /// How many it has delivered.
    pub(crate) files: u64,
}

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Id of the event.
    pub id: String,
    /// Account that received the call.
    pub account: String,
    /// Region.
    pub region: String,
    /// When.
    pub at: DateTime<Utc>,
    /// From when on it shows.
    pub delivered: DateTime<Utc>,
    /// By whom, as `LookupEvents` names them.
    pub user: String,
    /// Whether it is a management event; else one of data.
    pub is_management: bool,
    /// Whether it is in a log file, or belongs into none.
    pub is_filed: bool,
    /// All of it.
    pub event: Value,
}

/// Who signs in, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// Organization.
    pub organization: &'a str,
    /// Id of the user.
    pub user: &'a str,
    /// Account.
    pub account: &'a str,
    /// Name of the permission set.
    pub set: &'a str,
}

/// A session of a person.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Organization.
    pub organization: String,
    /// Id of the user.
    pub user: String,
    /// Account.
    pub account: String,
    /// Name of the role.
    pub role: String,
    /// Name of the session.
    pub name: String,
    /// Access key.
    pub access_key: String,
    /// When it was made.
    pub created: DateTime<Utc>,
}

/// What somebody does.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    /// Action: `s3:GetObject`.
    pub action: &'a str,
    /// ARN of what they do it to; `*`: nothing that is named.
    pub resource: &'a str,
    /// Region.
    pub region: &'a str,
    /// Address that they do it from.
    pub address: &'a str,
    /// Program that they do it with.
    pub agent: &'a str,
}

impl Default for Deed<'_> {
    fn default() -> Self {
        Self {
            action: "sts:GetCallerIdentity",
            resource: "*",
            region: "eu-west-1",
            address: "198.51.100.7",
            agent: "aws-cli/2.31.0",
        }
    }
}

impl World {
    /// Gives somebody a session of a permission set in an account, as `aws sso login` does; none: they may
    /// not use it. Recorded as the portal's `GetRoleCredentials` in the management account.
    pub fn sign_in(&mut self, door: Door<'_>) -> Option<SignedIn> {
        let Door { organization, user, account, set } = door;
        self.settle(organization);
        let role = self.role_for(&door)?;
        let found = self.organizations.get(organization)?;
        let name = found.directory.users.iter().find(|one| one.id == user)?.name.clone();
        let (partition, management) = (found.partition.clone(), found.management.clone());
        let region = found.sso_region.clone();
        let store = format!(
            "arn:{partition}:identitystore::{management}:identitystore/d-{}",
            &organization[2..]
        );
        let created = self.clock.now();
        let made = self.open_session(Session {
            arn: evaluator::session_arn(&partition, account, &role, &name),
            role_arn: evaluator::role_arn(&self.organizations[organization], account, &role),
            account: account.to_owned(),
            expires: created + SESSION,
            tags: Vec::new(),
            source_identity: String::new(),
            is_hub: false,
        });
        let identity = json!({
            "type": "IdentityCenterUser",
            "accountId": management,
            "onBehalfOf": { "userId": user, "identityStoreArn": store },
            "credentialId": format!("credential-{}", made.access_key),
        });
        let event = json!({
            "userIdentity": identity,
            "eventSource": "sso.amazonaws.com",
            "eventName": "GetRoleCredentials",
            "readOnly": true,
            "sourceIPAddress": Deed::default().address,
            "userAgent": Deed::default().agent,
            "requestParameters": null,
            "serviceEventDetails": { "role_name": set, "account_id": account },
            "eventType": "AwsServiceEvent",
            "managementEvent": true,
        });
        self.record(&management, &region, "", event);
        Some(SignedIn {
            organization: organization.to_owned(),
            user: user.to_owned(),
            account: account.to_owned(),
            role,
            name,
            access_key: made.access_key,
            created,
        })
    }

    /// Does something with a session, if its role still is there; whether it was allowed. Recorded in any case.
    ///
    /// # Panics
    ///
    /// When the session's organization is not there.
    pub fn act(&mut self, session: &SignedIn, deed: Deed<'_>) -> bool {
        let SignedIn { organization, user, account, role, .. } = session;
        let Deed { action, resource, region, .. } = deed;
        let context = Context::default().with("aws:RequestedRegion", region);
        let question = Question { organization, user, account, action, resource, context };
        let may = self.role_may(role, &question);
        let event = self.told(session, deed, may);
        self.record(account, region, &session.name, event);
        may
    }

    /// Does something as somebody does who signs in for it: with the role that lets them, else with any that
    /// they have in the account. Whether it was allowed; none: they have no role there.
    pub fn act_as(
        &mut self,
        (organization, user): (&str, &str),
        account: &str,
        deed: Deed<'_>,
    ) -> Option<bool> {
        let Deed { action, resource, .. } = deed;
        let context = Context::default().with("aws:RequestedRegion", deed.region);
        let question = Question { organization, user, account, action, resource, context };
        let allowing = self.allowing(&question).and_then(|set| set_of(&set.role));
        let held = self.access_of(organization, user);
        let mut held = held.into_iter().filter(|(at, _)| at == account).map(|(_, set)| set);
        let set = allowing.or_else(|| held.next_back())?;
        let session = self.sign_in(Door { organization, user, account, set: &set })?;
        Some(self.act(&session, deed))
    }

    /// Records that somebody has opened a session on an instance.
    pub(crate) fn record_opening(&mut self, opening: &Opening<'_>, role: &str) {
        let Opening { organization, user, account, region, instance, .. } = *opening;
        let Some(set) = set_of(role) else { return };
        let Some(session) = self.sign_in(Door { organization, user, account, set: &set }) else {
            return;
        };
        let partition = &self.organizations[organization].partition;
        let arn = format!("arn:{partition}:ec2:{region}:{account}:instance/{instance}");
        let deed = Deed { action: "ssm:StartSession", resource: &arn, region, ..Deed::default() };
        let event = self.told(&session, deed, true);
        self.record(account, region, &session.name, event);
    }

    /// What a record tells of a deed.
    fn told(&self, session: &SignedIn, deed: Deed<'_>, may: bool) -> Value {
        let SignedIn { account, role, name, access_key, created, .. } = session;
        let found = &self.organizations[&session.organization];
        let role_id = evaluator::role_id(role);
        let (service, action) = deed.action.split_once(':').unwrap_or_default();
        let level = reference::actions().find(|(one, _)| *one == deed.action);
        let is_read = level.is_some_and(|(_, level)| matches!(level, "Read" | "List"));
        let is_named = deed.resource != "*";
        let resources = is_named.then(|| json!([{ "ARN": deed.resource, "accountId": account }]));
        let mut event = json!({
            "userIdentity": {
                "type": "AssumedRole",
                "principalId": format!("{role_id}:{name}"),
                "arn": evaluator::session_arn(&found.partition, account, role, name),
                "accountId": account,
                "accessKeyId": access_key,
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role",
                        "principalId": role_id,
                        "arn": evaluator::role_arn(found, account, role),
                        "accountId": account,
                        "userName": role,
                    },
                    "attributes": {
                        "creationDate": created.to_rfc3339_opts(SecondsFormat::Secs, true),
                        "mfaAuthenticated": "false",
                    },
                },
            },
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": action,
            "readOnly": is_read,
            "sourceIPAddress": deed.address,
            "userAgent": deed.agent,
            "requestParameters": { "resource": deed.resource },
            "responseElements": null,
            "eventType": "AwsApiCall",
            "managementEvent": !is_of_data(deed.action),
        });
        if let Some(resources) = resources {
            event["resources"] = resources;
        }
        if !may {
            event["errorCode"] = json!("AccessDenied");
            event["errorMessage"] = json!(format!(
                "User: {} is not authorized to perform: {} on resource: {}",
                event["userIdentity"]["arn"].as_str().unwrap_or_default(),
                deed.action,
                deed.resource
            ));
        }
        event
    }

    /// Adds a record of what happens now.
    pub(crate) fn record(&mut self, account: &str, region: &str, user: &str, mut event: Value) {
        let at = self.clock.now();
        let number = self.trail.records.len() + 1;
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        let is_management = event["managementEvent"] == json!(true);
        for (name, value) in [
            ("eventVersion", json!("1.11")),
            ("eventTime", json!(at.to_rfc3339_opts(SecondsFormat::Secs, true))),
            ("awsRegion", json!(region)),
            ("requestID", json!(format!("request-{number}"))),
            ("eventID", json!(id)),
            ("recipientAccountId", json!(account)),
            ("eventCategory", json!(if is_management { "Management" } else { "Data" })),
        ] {
            event[name] = value;
        }
        self.trail.records.push(Record {
            id,
            account: account.to_owned(),
            region: region.to_owned(),
            at,
            delivered: at + self.trail.lag,
            user: user.to_owned(),
            is_management,
            is_filed: false,
            event,
        });
    }
}

/// The name of the permission set of a role.
fn set_of(role: &str) -> Option<String> {
    let (set, _) = role.strip_prefix("AWSReservedSSO_")?.rsplit_once('_')?;
    Some(set.to_owned())
}

/// Whether a call is recorded as a data event: those on what is in a bucket, a table, a queue or a topic,
/// and invocations.
fn is_of_data(action: &str) -> bool {
    let (service, name) = action.split_once(':').unwrap_or_default();
    match service {
        "s3" => name.contains("Object") || name == "ListBucket",
        "dynamodb" => name.contains("Item") || matches!(name, "Query" | "Scan"),
        "lambda" => name.starts_with("Invoke"),
        "sqs" => name.ends_with("Message"),
        "sns" => name == "Publish",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assignment::{Assignment, Principal},
        directory::PermissionSet,
        services::tests::{MANAGEMENT, MEMBER, ORGANIZATION, USERS, world},
    };

    const DOOR: Door<'_> =
        Door { organization: ORGANIZATION, user: USERS[1], account: MEMBER, set: "Reader" };

    fn assignment() -> Assignment {
        Assignment {
            account: MEMBER.to_owned(),
            permission_set: "ps-reader".to_owned(),
            principal: Principal::User(USERS[1].to_owned()),
        }
    }

    /// The second user may read queues.
    fn with_a_reader() -> World {
        let mut world = world();
        let statement = json!({ "Effect": "Allow", "Action": "sqs:Get*", "Resource": "*" });
        let organization = world.organizations.get_mut(ORGANIZATION).expect("an organization");
        organization.directory.permission_sets.push(PermissionSet {
            id: "ps-reader".to_owned(),
            name: "Reader".to_owned(),
            inline: json!({ "Statement": statement }).to_string(),
            ..PermissionSet::default()
        });
        world.assign(ORGANIZATION, assignment());
        world
    }

    #[test]
    fn what_somebody_does_is_recorded_whether_or_not_they_may() {
        let mut world = with_a_reader();
        assert!(world.sign_in(Door { user: USERS[0], ..DOOR }).is_none());
        let session = world.sign_in(DOOR).expect("a session");
        let queue = format!("arn:aws:sqs:eu-west-1:{MEMBER}:jobs");
        let deed = Deed { resource: &queue, ..Deed::default() };
        assert!(world.act(&session, Deed { action: "sqs:GetQueueAttributes", ..deed }));
        assert!(!world.act(&session, Deed { action: "sqs:SendMessage", ..deed }));
        let [portal, read, denied] = world.trail.records.as_slice() else { panic!("three") };
        assert_eq!((portal.account.as_str(), portal.user.as_str()), (MANAGEMENT, ""));
        assert_eq!(portal.event["userIdentity"]["onBehalfOf"]["userId"], USERS[1]);
        assert_eq!(read.event["errorCode"], Value::Null);
        assert_eq!(read.event["readOnly"], true);
        assert_eq!(read.user, "ann1");
        let issuer = &read.event["userIdentity"]["sessionContext"]["sessionIssuer"];
        let role = issuer["userName"].as_str().expect("a role");
        assert!(role.starts_with("AWSReservedSSO_Reader_"), "{role}");
        assert_eq!(denied.event["errorCode"], "AccessDenied");
        assert!(read.is_management && !denied.is_management);
    }

    #[test]
    fn a_session_outlives_its_assignment_and_ends_with_its_role() {
        let mut world = with_a_reader();
        world.assign(
            ORGANIZATION,
            Assignment { principal: Principal::User(USERS[0].to_owned()), ..assignment() },
        );
        let session = world.sign_in(DOOR).expect("a session");
        let deed = Deed { action: "sqs:GetQueueUrl", ..Deed::default() };
        world.unassign(ORGANIZATION, &assignment());
        assert!(world.sign_in(DOOR).is_none());
        assert!(world.act(&session, deed), "somebody else has the role");
        let other = Assignment { principal: Principal::User(USERS[0].to_owned()), ..assignment() };
        world.unassign(ORGANIZATION, &other);
        assert!(!world.act(&session, deed));
    }
}
