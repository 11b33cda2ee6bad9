//! What is granted in a history, and to whom: a permission set in an account, a membership in a group,
//! writing into a bucket, sessions on an instance, or a role; and to a user of IAM a group of IAM, or
//! writing into a bucket.

use apono_connector_proto::v1::{AccessUnit, Recipient, recipient::Who};
use aws_sim::{
    assignment::{Assignment, Principal},
    evaluator::Question,
    iam_user::IamUser,
    shell::Opening,
    template::Role,
    text::Text,
    world::World,
};
use chrono::{DateTime, Utc};

use super::round::accounts;
use crate::{
    access::{self, SET, ann, assignment},
    harness,
};

/// A group of the simulator, in which none of those is who receive something.
const GROUP: &str = "g-00000000";
const INSTANCE: &str = "i-0a1";
/// The number that stands for the user of IAM.
const EVE: usize = 3;
/// A role of the first account.
pub(super) const ROLE: &str = "deploy";

/// What, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of a user; [`EVE`] is one of IAM.
    pub(super) person: usize,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// [`SET`] in one of the accounts.
    Set(usize),
    /// A membership in [`GROUP`].
    Group,
    /// Writing into the bucket of the first account.
    Bucket,
    /// Sessions on its instance.
    Instance,
    /// Assuming its role.
    Role,
    /// A membership in [`READERS`] of the first account.
    IamGroup,
}

impl Place {
    pub(super) const ALL: [Self; 14] = [
        Self { person: 1, what: What::Set(0) },
        Self { person: 1, what: What::Set(1) },
        Self { person: 1, what: What::Group },
        Self { person: 2, what: What::Set(0) },
        Self { person: 2, what: What::Set(1) },
        Self { person: 2, what: What::Group },
        Self { person: 1, what: What::Bucket },
        Self { person: 2, what: What::Bucket },
        Self { person: 1, what: What::Instance },
        Self { person: 2, what: What::Instance },
        Self { person: 1, what: What::Role },
        Self { person: 2, what: What::Role },
        Self { person: EVE, what: What::IamGroup },
        Self { person: EVE, what: What::Bucket },
    ];

    /// Who receives it, in the organization of a number.
    pub(super) fn recipient(self, at: usize) -> Recipient {
        if self.person == EVE {
            return Recipient { who: Some(Who::IamUserArn(eve(at))) };
        }
        access::user(&format!("ann{}@example.com", self.person))
    }

    /// As it is asked for, in the organization of a number.
    pub(super) fn unit(self, at: usize) -> AccessUnit {
        match self.what {
            What::Set(account) => AccessUnit {
                account_id: accounts(at)[account].clone(),
                permission_set: SET.to_owned(),
                ..Default::default()
            },
            What::Group => on(format!("arn:aws:identitystore:::group/{GROUP}"), "MEMBER"),
            What::Bucket => on(format!("arn:aws:s3:::{}", bucket(at)), "READ_WRITE"),
            What::Instance => on(instance(at), "CONNECT"),
            What::Role => on(role(at), "ASSUME"),
            What::IamGroup => on(readers(at), "MEMBER"),
        }
    }

    /// What the connector changes one thing at a time of.
    pub(super) fn of(self, at: usize) -> String {
        match self.what {
            _ if self.person == EVE => format!("{}/AIDASIMEVE", accounts(at)[0]),
            What::Set(account) => accounts(at)[account].clone(),
            What::Group => format!("group/{GROUP}"),
            What::Bucket | What::Instance | What::Role | What::IamGroup => {
                format!("policy/{}", accounts(at)[0])
            }
        }
    }

    /// Whether somebody else can make the same, and it can be told from ours; what is generated is ours
    /// alone, and who joins a group of IAM again is told the same.
    pub(super) fn can_be_theirs(self) -> bool {
        matches!(self.what, What::Set(_) | What::Group)
    }

    /// Whether a user of IAM receives it.
    pub(super) fn is_of_iam(self) -> bool {
        self.person == EVE
    }

    /// Whether it takes a permission set of the person's own.
    pub(super) fn is_generated(self) -> bool {
        !self.can_be_theirs() && self.person != EVE
    }

    /// Somebody else makes the same, or removes it.
    pub(super) fn by_hand(self, world: &mut World, (organization, at): (&str, usize), makes: bool) {
        let now = world.clock.now();
        if self.person == EVE {
            let account = world.account(&accounts(at)[0]);
            account.change_user("eve", (now, true), |eve| *eve = access::iam_user::before());
            return;
        }
        if !self.can_be_theirs() {
            let sets = &world.organizations[organization].directory.permission_sets;
            let ours = sets.iter().filter(|set| set.name.starts_with("apono-"));
            let (account, user) = (accounts(at)[0].clone(), Principal::User(ann(self.person)));
            let held = ours.map(|set| Assignment {
                account: account.clone(),
                permission_set: set.id.clone(),
                principal: user.clone(),
            });
            for one in held.collect::<Vec<_>>() {
                world.unassign(organization, &one);
            }
            return;
        }
        match (self.assignment(at), makes) {
            (Some(held), true) => world.assign(organization, held),
            (Some(held), false) => world.unassign(organization, &held),
            (None, true) => world.join(organization, GROUP, &ann(self.person)),
            (None, false) => world.leave(organization, GROUP, &ann(self.person)),
        }
    }

    /// Whether it is there.
    pub(super) fn is_there(self, world: &mut World, (organization, at): (&str, usize)) -> bool {
        let user = ann(self.person);
        let account = &accounts(at)[0];
        let mut question = Question { organization, user: &user, account, ..Question::default() };
        match self.what {
            What::Set(_) | What::Group => {}
            What::IamGroup => {
                return world.accounts[account].iam_users["eve"].groups.contains("readers");
            }
            What::Bucket => {
                let object = format!("arn:aws:s3:::{}/a", bucket(at));
                if self.person == EVE {
                    return world.user_may(account, "eve", "s3:PutObject", &object);
                }
                (question.action, question.resource) = ("s3:PutObject", &object);
                return world.may(&question);
            }
            What::Instance => return self.has_sessions(world, (organization, at)),
            What::Role => return world.may_assume(&question, ROLE, &user),
        }
        let directory = &world.organizations[organization].directory;
        match self.assignment(at) {
            Some(held) => directory.assignments.contains(&held),
            None => directory.is_member(GROUP, &ann(self.person)),
        }
    }

    /// Whether a session is open, or the person opens one.
    fn has_sessions(self, world: &mut World, (organization, at): (&str, usize)) -> bool {
        let (user, account) = (ann(self.person), &accounts(at)[0]);
        let name = format!("ann{}-", self.person);
        let mut open = world.open_shells(account).into_iter();
        open.any(|id| id.starts_with(&name))
            || world
                .open_any_shell(Opening {
                    organization,
                    user: &user,
                    account,
                    region: "eu-west-1",
                    instance: INSTANCE,
                    document: "",
                })
                .is_some()
    }

    /// When we removed it; what ends by itself need not be removed in time.
    pub(super) fn removals(
        self,
        world: &World,
        (organization, at): (&str, usize),
    ) -> Vec<DateTime<Utc>> {
        let directory = &world.organizations[organization].directory;
        if self.what == What::IamGroup {
            let is_in = |user: &IamUser| user.groups.contains("readers");
            let changes = world.accounts[&accounts(at)[0]].user_changes.iter();
            let ours = changes.filter(|one| !one.is_by_hand);
            let left = ours.filter(|one| is_in(&one.before) && !is_in(&one.after));
            return left.map(|one| one.at).collect();
        }
        if !self.can_be_theirs() {
            return Vec::new();
        }
        if let Some(held) = self.assignment(at) {
            let changes = directory.changes.iter().filter(|one| one.assignment == held);
            return changes
                .filter(|one| !one.is_there && !one.is_by_hand)
                .map(|one| one.at)
                .collect();
        }
        let changes = directory.membership_changes.iter();
        let of = changes.filter(|one| one.group == GROUP && one.user == ann(self.person));
        of.filter(|one| !one.is_there && !one.is_by_hand).map(|one| one.at).collect()
    }

    fn assignment(self, at: usize) -> Option<Assignment> {
        match self.what {
            What::Set(account) => Some(assignment(&ann(self.person), &accounts(at)[account])),
            What::Group | What::Bucket | What::Instance | What::Role | What::IamGroup => None,
        }
    }
}

/// A permission on a resource.
fn on(resource: String, permission: &str) -> AccessUnit {
    AccessUnit { resource, permission: permission.to_owned(), ..Default::default() }
}

fn instance(at: usize) -> String {
    format!("arn:aws:ec2:eu-west-1:{}:instance/{INSTANCE}", accounts(at)[0])
}

fn role(at: usize) -> String {
    format!("arn:aws:iam::{}:role/{ROLE}", accounts(at)[0])
}

/// The user of IAM.
fn eve(at: usize) -> String {
    format!("arn:aws:iam::{}:user/eve", accounts(at)[0])
}

/// The group of IAM.
fn readers(at: usize) -> String {
    format!("arn:aws:iam::{}:group/apono-grantable/readers", accounts(at)[0])
}

/// What can be granted in an organization beside what Identity Center has.
pub(super) fn furnish(world: &mut World, at: usize) {
    let account = world.account(&accounts(at)[0]);
    account.buckets.push(harness::bucket(&bucket(at), "eu-west-1", &[]));
    let instances = account.instances.entry("eu-west-1".to_owned()).or_default();
    instances.push(harness::instance(INSTANCE, &[]));
    let tag = (Text::from("apono:grantable"), Text::from("true"));
    let role = Role {
        name: ROLE.to_owned(),
        trust: access::role::before(),
        tags: [tag].into(),
        ..Role::default()
    };
    account.roles.insert(ROLE.to_owned(), role);
    access::iam_user::enroll(account);
}

/// The bucket of an organization.
fn bucket(at: usize) -> String {
    format!("logs-{at}")
}
