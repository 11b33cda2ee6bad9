//! What is granted in a history, and to whom: a permission set in an account, a membership in a group,
//! or writing into a bucket.

use apono_connector_proto::v1::AccessUnit;
use aws_sim::{
    Context,
    assignment::{Assignment, Principal},
    directory::Directory,
    evaluator::Question,
    world::World,
};
use chrono::{DateTime, Utc};

use super::round::accounts;
use crate::access::{SET, ann, assignment};

/// A group of the simulator, in which none of those is who receive something.
const GROUP: &str = "g-00000000";

/// What, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of a user.
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
}

impl Place {
    pub(super) const ALL: [Self; 8] = [
        Self { person: 1, what: What::Set(0) },
        Self { person: 1, what: What::Set(1) },
        Self { person: 1, what: What::Group },
        Self { person: 2, what: What::Set(0) },
        Self { person: 2, what: What::Set(1) },
        Self { person: 2, what: What::Group },
        Self { person: 1, what: What::Bucket },
        Self { person: 2, what: What::Bucket },
    ];

    /// As it is asked for, in the organization of a number.
    pub(super) fn unit(self, at: usize) -> AccessUnit {
        match self.what {
            What::Set(account) => AccessUnit {
                account_id: accounts(at)[account].clone(),
                permission_set: SET.to_owned(),
                ..Default::default()
            },
            What::Group => AccessUnit {
                resource: format!("arn:aws:identitystore:::group/{GROUP}"),
                permission: "MEMBER".to_owned(),
                ..Default::default()
            },
            What::Bucket => AccessUnit {
                resource: format!("arn:aws:s3:::{}", bucket(at)),
                permission: "READ_WRITE".to_owned(),
                ..Default::default()
            },
        }
    }

    /// What the connector changes one thing at a time of.
    pub(super) fn of(self, at: usize) -> String {
        match self.what {
            What::Set(account) => accounts(at)[account].clone(),
            What::Group => format!("group/{GROUP}"),
            What::Bucket => format!("policy/{}", accounts(at)[0]),
        }
    }

    /// Whether somebody else can make the same; what is generated is ours alone.
    pub(super) fn can_be_theirs(self) -> bool {
        self.what != What::Bucket
    }

    /// Somebody else makes the same, or removes it.
    pub(super) fn by_hand(self, world: &mut World, (organization, at): (&str, usize), makes: bool) {
        if self.what == What::Bucket {
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
        if self.what == What::Bucket {
            return world.may(&Question {
                organization,
                user: &ann(self.person),
                account: &accounts(at)[0],
                action: "s3:PutObject",
                resource: &format!("arn:aws:s3:::{}/a", bucket(at)),
                context: Context::default(),
            });
        }
        let directory = &world.organizations[organization].directory;
        match self.assignment(at) {
            Some(held) => directory.assignments.contains(&held),
            None => directory.is_member(GROUP, &ann(self.person)),
        }
    }

    /// When we removed it; what ends by itself need not be removed in time.
    pub(super) fn removals(self, directory: &Directory, at: usize) -> Vec<DateTime<Utc>> {
        if self.what == What::Bucket {
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
            What::Group | What::Bucket => None,
        }
    }
}

/// The bucket of an organization.
pub(super) fn bucket(at: usize) -> String {
    format!("logs-{at}")
}
