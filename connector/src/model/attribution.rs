//! Whose access something was done with. Told by what identifies a session alone, never by what looks alike;
//! what is less than certain says why.

use std::{fmt, str::FromStr};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::record::Record;

/// A unit whose session it may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its grant.
    pub grant: String,
    /// Name of the sessions that it lets somebody open.
    pub session_name: String,
    /// Name of the permission set.
    pub permission_set: String,
    /// Id of the role; empty: it was never found.
    pub role_id: String,
    /// ARN of the resource; empty: the account.
    pub resource: String,
    /// The actions that it allows; empty: whatever the permission set does.
    pub actions: Vec<String>,
    /// Whether somebody had the access before us.
    pub was_there: bool,
    /// When it was granted.
    pub granted_at: DateTime<Utc>,
    /// When it was seen active first.
    pub active_at: DateTime<Utc>,
    /// When it was over; none: it is not.
    pub ended_at: Option<DateTime<Utc>>,
    /// How long a session lasts.
    pub session: TimeDelta,
}

/// Whose it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// The grant; several where that cannot be told.
    pub grants: Vec<String>,
    /// Why it is not certain; none: it is.
    pub ambiguity: Option<Ambiguity>,
}

macro_rules! ambiguities {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $words:literal;)+) => {
        /// Why it is not certain whose access something was done with. What is named first is told first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Ambiguity {
            $($(#[$doc])* $variant,)+
        }

        impl Ambiguity {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The same for people.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }
        }
    };
}

ambiguities! {
    /// Several grants allowed it at once.
    SeveralGrants = "SEVERAL_GRANTS", "several grants allowed it at once";
    /// They had the access before us.
    AccessWasThere = "ACCESS_WAS_THERE", "the recipient had this access before the grant";
    /// The id of the role is not known.
    RoleUnknown = "ROLE_UNKNOWN", "the id of the role was never learned; its name and the session's are right";
    /// The role was made anew meanwhile.
    RoleReplaced = "ROLE_REPLACED", "the role was made anew while the grant was live";
    /// The session was made when the access was on its way, or after its end.
    OutsideAccess = "OUTSIDE_ACCESS", "the session began before the access was seen, or after it was over";
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Ambiguity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.iter().copied();
        all.find(|one| one.as_str() == text).ok_or_else(|| format!("unknown ambiguity {text:?}"))
    }
}

/// How the role that was used is that of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// By its id.
    Its,
    /// By the name of its permission set; the id is not known.
    Unknown,
    /// By that name; the id is another one.
    Replaced,
}

impl Role {
    fn doubt(self) -> Option<Ambiguity> {
        match self {
            Self::Its => None,
            Self::Unknown => Some(Ambiguity::RoleUnknown),
            Self::Replaced => Some(Ambiguity::RoleReplaced),
        }
    }
}

impl Candidate {
    /// Whether the role that was used is its role; none: it was another one, or somebody else used it.
    fn role(&self, record: &Record) -> Option<Role> {
        if self.session_name != record.session.name {
            return None;
        }
        if !self.role_id.is_empty() && self.role_id == record.session.role_id {
            return Some(Role::Its);
        }
        let of_set = if self.role_id.is_empty() { Role::Unknown } else { Role::Replaced };
        record.session.is_of(&self.permission_set).then_some(of_set)
    }

    /// When what was done began to be of a grant: when its session was made, unless what is allowed to sessions
    /// follows the grants, also to those that were made before.
    fn began(&self, record: &Record) -> DateTime<Utc> {
        if self.actions.is_empty() { record.session.created_at } else { record.at }
    }

    /// Whether that was while the access was there. CloudTrail tells times to the second.
    fn is_within(&self, record: &Record) -> bool {
        let began = self.began(record);
        self.active_at.trunc_subsecs(0) <= began && self.ended_at.is_none_or(|ended| began <= ended)
    }

    /// Whether it could be, allowing for what is late to be seen: from the grant to the last session.
    fn is_near(&self, record: &Record) -> bool {
        let began = self.began(record);
        self.granted_at.trunc_subsecs(0) <= began
            && self.ended_at.is_none_or(|ended| began <= ended + self.session)
    }

    /// Whether what was done is what it allows.
    fn covers(&self, record: &Record) -> bool {
        let action = record.action();
        let is_allowed =
            self.actions.is_empty() || self.actions.iter().any(|one| is_like(one, &action));
        is_allowed && (self.resource.is_empty() || self.is_mentioned(record))
    }

    /// Whether what was done names the resource: its ARN, what lies in it, or its id.
    fn is_mentioned(&self, record: &Record) -> bool {
        let id = self.resource.rsplit([':', '/']).next().unwrap_or_default();
        let lies_in =
            |one: &str| one.strip_prefix(&self.resource).is_some_and(|rest| rest.starts_with('/'));
        let mut mentions = record.mentions.iter();
        mentions.any(|one| *one == self.resource || one == id || lies_in(one))
    }
}

/// Whether an action is what a policy says, in which `*` may stand at the end.
fn is_like(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => {
            action.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
        }
        None => pattern.eq_ignore_ascii_case(action),
    }
}

/// A unit whose it may be.
struct Possible<'a> {
    unit: &'a Candidate,
    role: Role,
    covers: bool,
    is_within: bool,
}

impl Possible<'_> {
    /// What allows it comes first, and of that what was there.
    fn rank(&self) -> (bool, bool) {
        (self.covers, self.is_within)
    }
}

/// Whose access something was done with, of units that let somebody into its account; none: nobody's that we
/// gave.
#[must_use]
pub fn attribute(record: &Record, candidates: &[Candidate]) -> Option<Attribution> {
    let near = candidates.iter().filter(|unit| unit.is_near(record));
    let mut possible: Vec<Possible<'_>> = near
        .filter_map(|unit| {
            let role = unit.role(record)?;
            let (covers, is_within) = (unit.covers(record), unit.is_within(record));
            Some(Possible { unit, role, covers, is_within })
        })
        .collect();
    // A permission set has one role in an account: who knows its id knows it for all.
    let is_known = possible.iter().any(|one| one.role == Role::Its);
    possible.retain(|one| !is_known || one.role != Role::Replaced);
    let best = possible.iter().map(Possible::rank).max()?;
    possible.retain(|one| one.rank() == best);
    let mut grants: Vec<String> = possible.iter().map(|one| one.unit.grant.clone()).collect();
    grants.sort_unstable();
    grants.dedup();
    let several = (grants.len() > 1).then_some(Ambiguity::SeveralGrants);
    let was_there = possible.iter().any(|one| one.unit.was_there);
    let of_role = possible.iter().find_map(|one| one.role.doubt()).filter(|_| !is_known);
    let (_, is_within) = best;
    let ambiguity = several
        .or(was_there.then_some(Ambiguity::AccessWasThere))
        .or(of_role)
        .or((!is_within).then_some(Ambiguity::OutsideAccess));
    Some(Attribution { grants, ambiguity })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::record::Session;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minute * 60, 500_000_000).expect("a time")
    }

    /// A call of `s3:GetObject` in a bucket by a session that was made at a minute.
    fn record(made: i64, mentions: &[&str]) -> Record {
        Record {
            id: "e".to_owned(),
            at: at(made + 1),
            account: "222222222222".to_owned(),
            region: "eu-west-1".to_owned(),
            service: "s3.amazonaws.com".to_owned(),
            name: "GetObject".to_owned(),
            is_read_only: true,
            error_code: String::new(),
            address: String::new(),
            agent: String::new(),
            resources: Vec::new(),
            mentions: mentions.iter().map(|one| (*one).to_owned()).collect::<BTreeSet<_>>(),
            session: Session {
                account: "222222222222".to_owned(),
                role_name: "AWSReservedSSO_Reader_0123456789abcdef".to_owned(),
                role_id: "AROA1".to_owned(),
                name: "ann".to_owned(),
                created_at: at(made).trunc_subsecs(0),
                access_key: "ASIA1".to_owned(),
            },
        }
    }

    /// A grant that was granted at a minute, active in the next, for so many minutes.
    fn candidate(grant: &str, from: i64, minutes: i64) -> Candidate {
        Candidate {
            grant: grant.to_owned(),
            session_name: "ann".to_owned(),
            permission_set: "Reader".to_owned(),
            role_id: "AROA1".to_owned(),
            resource: String::new(),
            actions: Vec::new(),
            was_there: false,
            granted_at: at(from),
            active_at: at(from + 1),
            ended_at: Some(at(from + 1 + minutes)),
            session: TimeDelta::hours(1),
        }
    }

    fn told(record: &Record, candidates: &[Candidate]) -> Option<(String, Option<Ambiguity>)> {
        attribute(record, candidates).map(|told| (told.grants.join("+"), told.ambiguity))
    }

    #[test]
    fn a_session_belongs_to_the_grant_in_which_it_was_made() {
        let one = [candidate("g1", 0, 60)];
        let sure = Some(("g1".to_owned(), None));
        assert_eq!(told(&record(1, &[]), &one), sure, "in the second in which it was seen active");
        assert_eq!(told(&record(30, &[]), &one), sure);
        let near = Some(("g1".to_owned(), Some(Ambiguity::OutsideAccess)));
        assert_eq!(told(&record(0, &[]), &one), near, "on its way");
        assert_eq!(told(&record(100, &[]), &one), near, "behind its end");
        assert_eq!(told(&record(-1, &[]), &one), None);
        assert_eq!(told(&record(122, &[]), &one), None);
        let live = [Candidate { ended_at: None, ..candidate("g1", 0, 0) }];
        assert_eq!(told(&record(5000, &[]), &live), sure);
    }

    #[test]
    fn grants_back_to_back_are_told_apart() {
        let both = [candidate("g1", 0, 60), candidate("g2", 61, 60)];
        assert_eq!(told(&record(60, &[]), &both), Some(("g1".to_owned(), None)));
        assert_eq!(told(&record(63, &[]), &both), Some(("g2".to_owned(), None)));
    }

    #[test]
    fn of_grants_at_once_it_is_the_one_that_allows_it_or_both() {
        let bucket = |grant: &str, name: &str| Candidate {
            resource: format!("arn:aws:s3:::{name}"),
            actions: vec!["s3:Get*".to_owned()],
            ..candidate(grant, 0, 60)
        };
        let both = [bucket("g1", "ann"), bucket("g2", "anna")];
        let sure = |grant: &str| Some((grant.to_owned(), None));
        assert_eq!(told(&record(10, &["arn:aws:s3:::anna/x"]), &both), sure("g2"));
        assert_eq!(told(&record(10, &["ann"]), &both), sure("g1"));
        let several = Some(("g1+g2".to_owned(), Some(Ambiguity::SeveralGrants)));
        assert_eq!(told(&record(10, &["other"]), &both), several);
        let mut write = record(10, &["ann"]);
        "PutObject".clone_into(&mut write.name);
        assert_eq!(told(&write, &both), several, "neither allows it");
        let same = [bucket("g1", "ann"), bucket("g1", "ann")];
        assert_eq!(told(&record(10, &["ann"]), &same), sure("g1"));
    }

    #[test]
    fn what_grants_on_resources_allow_follows_them_and_not_the_session() {
        let bucket = |grant: &str, name: &str, from: i64| Candidate {
            resource: format!("arn:aws:s3:::{name}"),
            actions: vec!["s3:GetObject".to_owned()],
            ..candidate(grant, from, 10)
        };
        let both = [bucket("g1", "ann", 0), bucket("g2", "anna", 20)];
        let of = |at_minute: i64, name: &str| {
            let call = Record { at: at(at_minute), ..record(5, &[name]) };
            told(&call, &both)
        };
        assert_eq!(of(6, "ann"), Some(("g1".to_owned(), None)));
        assert_eq!(of(25, "anna"), Some(("g2".to_owned(), None)), "by a session from before");
        let late = Some(("g1".to_owned(), Some(Ambiguity::OutsideAccess)));
        assert_eq!(of(25, "ann"), late, "what g1 allowed, after its end");
        assert_eq!(of(25, "other"), Some(("g2".to_owned(), None)), "what was live");
    }

    #[test]
    fn a_role_that_was_made_anew_does_not_hide_whose_it_was() {
        let first = Candidate { role_id: "AROA0".to_owned(), ..candidate("g1", 0, 10) };
        let second = candidate("g2", 200, 10);
        let replaced = Some(("g1".to_owned(), Some(Ambiguity::RoleReplaced)));
        assert_eq!(told(&record(5, &[]), &[first, second]), replaced);
    }

    #[test]
    fn a_role_is_told_by_its_id_and_else_it_is_not_certain() {
        let with = |id: &str, set: &str| Candidate {
            role_id: id.to_owned(),
            permission_set: set.to_owned(),
            ..candidate("g1", 0, 60)
        };
        let doubt = |why| Some(("g1".to_owned(), Some(why)));
        let record = record(10, &[]);
        assert_eq!(told(&record, &[with("", "Reader")]), doubt(Ambiguity::RoleUnknown));
        assert_eq!(told(&record, &[with("AROA2", "Reader")]), doubt(Ambiguity::RoleReplaced));
        assert_eq!(told(&record, &[with("AROA2", "Read")]), None);
        assert_eq!(told(&record, &[with("", "Other")]), None);
        let known = with("AROA1", "Reader");
        let later = Candidate { grant: "g2".to_owned(), ..with("", "Reader") };
        let several = Some(("g1+g2".to_owned(), Some(Ambiguity::SeveralGrants)));
        assert_eq!(told(&record, &[known.clone(), later]), several, "its id is not known yet");
        let replaced = Candidate { grant: "g2".to_owned(), ..with("AROA2", "Reader") };
        assert_eq!(told(&record, &[known, replaced]), Some(("g1".to_owned(), None)));
    }

    #[test]
    fn access_that_was_there_before_is_not_certain() {
        let found = [Candidate { was_there: true, ..candidate("g1", 0, 60) }];
        let doubt = Some(("g1".to_owned(), Some(Ambiguity::AccessWasThere)));
        assert_eq!(told(&record(10, &[]), &found), doubt);
    }

    #[test]
    fn every_doubt_is_read_back() {
        for one in Ambiguity::ALL {
            assert_eq!(one.as_str().parse(), Ok(*one));
        }
    }
}
