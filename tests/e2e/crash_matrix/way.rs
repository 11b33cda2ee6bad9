//! The mechanisms of the matrix.

use apono_connector_proto::v1::{GrantRequest, IntegrationSettings};

use super::flow::Flow;
use crate::{
    access::{
        ACCOUNT, a_request, access_of, ann, assignment, generated, iam_user, membership, role,
        sessions,
    },
    harness::Cloud,
};

/// The id of a grant that is there before and after.
pub(super) const BESIDE: &str = "g0";

/// By which mechanism access is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// An account assignment.
    Assignment,
    /// A membership in a group.
    Membership,
    /// What a permission on an instance allows.
    Generated,
    /// The same, by the inline policy of a set that the person has already.
    Inline,
    /// A role that is assumed, by somebody who has generated access in the account already.
    Role,
    /// A group, a policy, and a permission on a bucket for a user of IAM.
    IamUser,
}

impl Way {
    pub(super) const ALL: [Self; 6] = [
        Self::Assignment,
        Self::Membership,
        Self::Generated,
        Self::Inline,
        Self::Role,
        Self::IamUser,
    ];

    /// What happens to grants by it. What is generated was not there before, and that a role lets the
    /// account in is no effect.
    pub(super) fn flows(self) -> impl Iterator<Item = Flow> {
        let is_generated = matches!(self, Self::Generated | Self::Inline | Self::Role);
        Flow::ALL.into_iter().filter(move |flow| !is_generated || !flow.is_found())
    }

    /// An organization in which it can be given.
    pub(super) fn furnish(self, cloud: &Cloud) {
        if self == Self::Membership {
            membership::opens(cloud, ACCOUNT);
        }
        sessions::with_instance(cloud);
        role::with_roles(cloud);
        generated::with_buckets(cloud);
        iam_user::with_iam_users(cloud);
    }

    /// A grant that is there before and after; none: there is none.
    pub(super) fn beside(self) -> Option<GrantRequest> {
        let beside = || generated::on(BESIDE, 1, "READ_ONLY", generated::BUCKET);
        matches!(self, Self::Inline | Self::Role).then(beside)
    }

    /// How the settings differ in which it is given.
    pub(super) fn settings(self) -> Option<&'static str> {
        (self == Self::Inline).then_some(r#"{ "inline_policies": true }"#)
    }

    /// The types of resources on which all of them are given.
    pub(super) fn knowing(settings: IntegrationSettings) -> IntegrationSettings {
        let buckets = generated::knowing_buckets(settings.clone()).resource_types;
        let mut settings = role::knowing_roles(membership::with_groups(settings));
        settings = iam_user::knowing_iam(settings);
        settings.resource_types.extend(buckets);
        settings.resource_types.sort_unstable();
        settings.resource_types.dedup();
        settings
    }

    /// A request for it.
    pub(super) fn request(self, id: &str) -> GrantRequest {
        match self {
            Self::Assignment => a_request(id),
            Self::Membership => membership::join(id, membership::OTHER),
            Self::Generated => generated::on(id, 1, "CONNECT", sessions::INSTANCE),
            Self::Inline => generated::on(id, 1, "READ_ONLY", generated::OTHER_BUCKET),
            Self::Role => generated::on(id, 1, "ASSUME", role::ROLE),
            Self::IamUser => iam_user::all_ways(id),
        }
    }

    /// Whoever gets it.
    fn person(self) -> String {
        match self {
            Self::Assignment | Self::Generated | Self::Inline | Self::Role | Self::IamUser => {
                ann(1)
            }
            Self::Membership => ann(membership::OTHER),
        }
    }

    /// Somebody else makes the same, or removes it.
    pub(super) fn by_hand(self, cloud: &Cloud, is_there: bool) {
        let (mut world, person) = (cloud.sim.world(), self.person());
        let mut held = assignment(&person, ACCOUNT);
        match (self, is_there) {
            (Self::Assignment, true) => world.assign(&cloud.organization, held),
            (Self::Assignment, false) => world.unassign(&cloud.organization, &held),
            (Self::Membership, true) => {
                world.join(&cloud.organization, membership::GROUP, &person);
            }
            (Self::Membership, false) => {
                world.leave(&cloud.organization, membership::GROUP, &person);
            }
            (Self::Role, _) => {
                let role = world.account(ACCOUNT).roles.get_mut("deploy").expect("a role");
                role.trust = role::before();
            }
            (Self::IamUser, true) => iam_user::gives(world.account(ACCOUNT)),
            (Self::IamUser, false) => {
                let users = &mut world.account(ACCOUNT).iam_users;
                users.insert("eve".to_owned(), iam_user::before());
            }
            (Self::Generated | Self::Inline, _) => {
                let sets = &world.organizations[&cloud.organization].directory.permission_sets;
                let ours = sets.iter().find(|set| set.name.starts_with("apono-"));
                held.permission_set.clone_from(&ours.expect("a set").id);
                world.unassign(&cloud.organization, &held);
            }
        }
    }

    /// Whether its person has the access.
    pub(super) fn has_access(self, cloud: &Cloud) -> bool {
        match self {
            Self::Assignment | Self::Membership => !access_of(cloud, &self.person()).is_empty(),
            Self::Generated => generated::may(cloud, 1, "ssm:StartSession", sessions::INSTANCE),
            Self::Inline => reads(cloud, generated::OTHER_BUCKET),
            Self::Role => role::may(cloud, 1, role::ROLE),
            Self::IamUser => iam_user::has(cloud),
        }
    }

    /// Whether its person has all of the access that a grant gives.
    pub(super) fn has_all(self, cloud: &Cloud) -> bool {
        self.has_access(cloud) && (self != Self::IamUser || iam_user::has_all(cloud))
    }

    /// Whoever has it uses it, and leaves it open.
    pub(super) fn is_used(self, cloud: &Cloud) {
        if self == Self::Generated {
            sessions::shell(cloud, 1).expect("a shell");
        }
    }

    /// What of ours is in AWS beside the access, or was opened with it.
    pub(super) fn left(self, cloud: &Cloud) -> Vec<String> {
        match self {
            Self::Assignment | Self::Membership => Vec::new(),
            Self::IamUser => iam_user::left(cloud),
            Self::Inline => {
                let is_kept = reads(cloud, generated::BUCKET) && generated::made(cloud).len() == 1;
                (!is_kept).then(|| "not as it was".to_owned()).into_iter().collect()
            }
            Self::Role => {
                let trust = role::trust(cloud, role::ROLE);
                (trust != role::before()).then(|| trust.to_string()).into_iter().collect()
            }
            Self::Generated => {
                let assigned = access_of(cloud, &self.person());
                let made = generated::made(cloud).into_iter().chain(assigned);
                made.chain(sessions::open(cloud)).collect()
            }
        }
    }
}

/// Whether the person may read objects of a bucket.
fn reads(cloud: &Cloud, bucket: &str) -> bool {
    generated::may(cloud, 1, "s3:GetObject", &format!("{bucket}/a"))
}
