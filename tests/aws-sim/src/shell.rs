//! Sessions of Session Manager: a person opens one with a role, and it stays open whatever becomes of
//! the role's policies, until somebody ends it, or as long as its document says.
//!
//! Sources: the API reference of Systems Manager (`StartSession`, `DescribeSessions`,
//! `TerminateSession`), and the user guide's "Enforce a session document permission check" and
//! "Session document schema".

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::{
    evaluator::{self, Question},
    text::Text,
    world::World,
};

/// The document with an account's preferences for shells.
pub const PREFERENCES: &str = "SSM-SessionManagerRunShell";

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// Id: the name of the role session, and something behind it.
    pub id: String,
    /// Region.
    pub region: String,
    /// Instance: `i-…`.
    pub instance: String,
    /// Name of the document.
    pub document: String,
    /// ARN of the role session that has opened it.
    pub owner: String,
    /// When it was opened.
    pub opened: DateTime<Utc>,
    /// When it ends, since it was terminated, or by its document; none: it does not.
    pub ended: Option<DateTime<Utc>>,
}

/// A session document of an account. Its versions never change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDocument {
    /// What its versions say, the first first.
    pub versions: Vec<String>,
    /// The number of the version that counts.
    pub default_version: usize,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
}

impl SessionDocument {
    /// One of a single version, without tags.
    #[must_use]
    pub fn saying(content: &Value) -> Self {
        Self { versions: vec![content.to_string()], default_version: 1, tags: BTreeMap::new() }
    }

    /// What the version that counts says.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.versions[self.default_version - 1]
    }

    /// After how long it ends its sessions; none: it does not.
    fn longest(&self) -> Option<TimeDelta> {
        let content: Value = serde_json::from_str(self.content()).ok()?;
        let minutes = content["inputs"]["maxSessionDuration"].as_str()?.parse().ok()?;
        Some(TimeDelta::minutes(minutes))
    }
}

impl Shell {
    /// Whether it is open at a time.
    #[must_use]
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        self.ended.is_none_or(|ended| at < ended)
    }
}

/// What somebody opens a session with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Organization.
    pub organization: &'a str,
    /// Id of the user.
    pub user: &'a str,
    /// Account.
    pub account: &'a str,
    /// Region.
    pub region: &'a str,
    /// Instance: `i-…`.
    pub instance: &'a str,
    /// Name of the document.
    pub document: &'a str,
}

impl World {
    /// Opens a session as the AWS CLI does that names a document; its id. None: the person may not, there is
    /// no such document, or Session Manager does not reach the instance.
    pub fn open_shell(&mut self, opening: Opening<'_>) -> Option<String> {
        let Opening { organization, user, account, region, instance, document } = opening;
        let partition = self.organizations.get(organization)?.partition.clone();
        let instances = self.accounts.get(account)?.instances.get(region)?;
        let is_reached = |id: &str| instances.iter().any(|i| i.id == id && i.ping == "Online");
        if !is_reached(instance) {
            return None;
        }
        // Those of AWS are there, and so are an account's preferences, whether or not somebody has made them.
        let key = (region.to_owned(), document.to_owned());
        let found = self.accounts.get(account)?.session_documents.get(&key);
        if found.is_none() && !["AWS-", "SSM-"].iter().any(|given| document.starts_with(given)) {
            return None;
        }
        let longest = found.and_then(SessionDocument::longest);
        // Documents of AWS lie in no account.
        let owner = if document.starts_with("AWS-") { "" } else { account };
        let arns = [
            format!("arn:{partition}:ec2:{region}:{account}:instance/{instance}"),
            format!("arn:{partition}:ssm:{region}:{owner}:document/{document}"),
        ];
        let action = "ssm:StartSession";
        let checked = "ssm:SessionDocumentAccessCheck";
        let context = crate::Context::default().with(checked, "true");
        let ask = |resource| Question {
            organization,
            user,
            account,
            action,
            resource,
            context: context.clone(),
        };
        let set = self.allowing(&ask(&arns[0]))?;
        self.allowing(&ask(&arns[1]))?;
        let directory = &self.organizations[organization].directory;
        let name = directory.users.iter().find(|one| one.id == user)?.name.clone();
        let opened = self.clock.now();
        let shells = &mut self.accounts.get_mut(account)?.shells;
        let id = format!("{name}-{:017x}", shells.len() + 1);
        shells.push(Shell {
            id: id.clone(),
            region: region.to_owned(),
            instance: instance.to_owned(),
            document: document.to_owned(),
            owner: evaluator::session_arn(&partition, account, &set.role, &name),
            opened,
            ended: longest.map(|longest| opened + longest),
        });
        self.record_opening(&opening, &set.role);
        Some(id)
    }

    /// Opens a shell with whichever document of the account lets the person; its id.
    pub fn open_any_shell(&mut self, opening: Opening<'_>) -> Option<String> {
        let account = self.accounts.get(opening.account)?;
        let here = account.session_documents.keys().filter(|(region, _)| region == opening.region);
        let mut documents: Vec<String> = here.map(|(_, name)| name.clone()).collect();
        documents.push(PREFERENCES.to_owned());
        documents.iter().find_map(|document| self.open_shell(Opening { document, ..opening }))
    }

    /// The sessions that are open in an account.
    #[must_use]
    pub fn open_shells(&self, account: &str) -> Vec<String> {
        let shells = self.accounts.get(account).map(|account| account.shells.as_slice());
        let now = self.clock.now();
        let open = shells.unwrap_or_default().iter().filter(|shell| shell.is_open(now));
        open.map(|shell| shell.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::services::tests::{MEMBER, ORGANIZATION, USERS, world};
    use crate::{
        assignment::{Assignment, Principal},
        directory::PermissionSet,
        world::Instance,
    };

    const OPENING: Opening<'_> = Opening {
        organization: ORGANIZATION,
        user: USERS[1],
        account: MEMBER,
        region: "eu-west-1",
        instance: "i-1",
        document: PREFERENCES,
    };

    /// An instance, and a set that lets the second user open the default shell on it.
    fn with_an_instance() -> World {
        let mut world = world();
        let instance = Instance {
            id: "i-1".to_owned(),
            state: "running".to_owned(),
            kind: "t3.micro".to_owned(),
            tags: std::collections::BTreeMap::new(),
            profile: String::new(),
            ping: "Online".to_owned(),
        };
        world.account(MEMBER).instances.insert("eu-west-1".to_owned(), vec![instance]);
        let statement = json!({
            "Effect": "Allow",
            "Action": "ssm:StartSession",
            "Resource": [
                format!("arn:aws:ec2:eu-west-1:{MEMBER}:instance/i-1"),
                format!("arn:aws:ssm:eu-west-1:{MEMBER}:document/{PREFERENCES}"),
            ],
            "Condition": { "Bool": { "ssm:SessionDocumentAccessCheck": "true" } },
        });
        let set = PermissionSet {
            id: "ps-shell".to_owned(),
            name: "Shell".to_owned(),
            inline: json!({ "Statement": statement }).to_string(),
            ..PermissionSet::default()
        };
        let organization = world.organizations.get_mut(ORGANIZATION).expect("an organization");
        organization.directory.permission_sets.push(set);
        world.assign(ORGANIZATION, assignment());
        world
    }

    fn assignment() -> Assignment {
        Assignment {
            account: MEMBER.to_owned(),
            permission_set: "ps-shell".to_owned(),
            principal: Principal::User(USERS[1].to_owned()),
        }
    }

    #[test]
    fn whoever_may_opens_a_session_and_it_outlives_the_permission() {
        let mut world = with_an_instance();
        let id = world.open_shell(OPENING).expect("a session");
        let shell = world.accounts[MEMBER].shells[0].clone();
        let role = "assumed-role/AWSReservedSSO_Shell_";
        assert!(shell.owner.contains(role) && shell.owner.ends_with("/ann1"), "{}", shell.owner);
        assert!(id.starts_with("ann1-"));
        let forwarding = Opening { document: "AWS-StartPortForwardingSession", ..OPENING };
        assert_eq!(world.open_shell(forwarding), None);
        assert_eq!(world.open_shell(Opening { user: USERS[0], ..OPENING }), None);
        assert_eq!(world.open_shell(Opening { instance: "i-2", ..OPENING }), None);
        world.unassign(ORGANIZATION, &assignment());
        assert_eq!(world.open_shell(OPENING), None);
        assert_eq!(world.open_shells(MEMBER), [id]);
    }

    #[test]
    fn a_document_ends_its_sessions_and_whoever_may_use_another_opens_none_with_it() {
        let mut world = with_an_instance();
        let minutes = |minutes: &str| {
            SessionDocument::saying(&json!({ "inputs": { "maxSessionDuration": minutes } }))
        };
        let documents = &mut world.account(MEMBER).session_documents;
        documents.insert(("eu-west-1".to_owned(), "ours".to_owned()), minutes("15"));
        documents.insert(("eu-west-1".to_owned(), PREFERENCES.to_owned()), minutes("60"));
        assert_eq!(world.open_shell(Opening { document: "ours", ..OPENING }), None);
        assert_eq!(world.open_shell(Opening { document: "none", ..OPENING }), None);
        world.open_any_shell(Opening { document: "", ..OPENING }).expect("a session");
        let shell = &world.accounts[MEMBER].shells[0];
        assert_eq!(shell.document, PREFERENCES);
        assert!(shell.is_open(shell.opened + TimeDelta::seconds(3599)));
        assert!(!shell.is_open(shell.opened + TimeDelta::hours(1)));
    }

    #[test]
    fn an_instance_that_is_not_reached_opens_nothing() {
        let mut world = with_an_instance();
        let instances = world.account(MEMBER).instances.get_mut("eu-west-1").expect("instances");
        "ConnectionLost".clone_into(&mut instances[0].ping);
        assert_eq!(world.open_shell(OPENING), None);
    }
}
