//! What a person has opened on an instance through Session Manager: shells, forwarded ports.
//!
//! No policy ends what is open. So, when nobody holds the permission any more, all sessions of the
//! person on the instance are terminated. That is done twice. *At once*, beside the assignment, while the
//! policy is being changed; and *at last*, when it was, and for as long as it may take to count everywhere
//! ([`Site::propagation`]): whoever was quick has opened another one.
//!
//! IAM judges the instance and the document apart. So whoever may open shells on one instance and forward ports
//! of another, or has shells of several lengths, can use each document on each of the instances. That is why
//! shells are ended whatever their document is; and when a person may open nothing at all on an instance any
//! more, all that is open there.
//!
//! There is nothing to be made in AWS: it is remembered that there may be something to end, at the first
//! stage, before the policy lets anybody in.

use async_trait::async_trait;
use aws_sdk_ssm::types::{Session, SessionFilter, SessionFilterKey, SessionState, SessionStatus};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::{Answer, Call, Kind, Look, Seen, read};
use crate::{
    access::site::Site,
    aws::{Access, ApiError},
    catalog::FORWARDING,
    model::{
        failure::Lane,
        ids::{AccountId, Region},
        object::Object,
        target::{Observed, Operation, Progress, Verb},
    },
    store::resources::Stored as Resource,
};

pub(super) const LIST: &str = "ssm:DescribeSessions";
pub(super) const TERMINATE: &str = "ssm:TerminateSession";

/// How Systems Manager says that something is not there.
const GONE: &str = "DoesNotExistException";
/// How many are terminated with one call of the engine; the next look finds the others.
const AT_ONCE_MAX: usize = 100;
/// What was terminated is not open any more by then.
const ENDS_WITHIN: TimeDelta = TimeDelta::seconds(15);
/// Facts of the two.
const AT_ONCE: &str = "at_once";
const AT_LAST: &str = "at_last";
/// Sessions with any document but [`FORWARDING`].
const SHELLS: &str = "shells";
/// Sessions with any.
const ALL: &str = "all";
/// What Identity Center puts behind the name of a permission set in that of a role.
const SUFFIX_CHARACTERS: usize = 16;

/// Sessions of persons on instances.
pub(super) struct Sessions;

const NAME: &str = "aws-ssm-sessions";

/// What a permission opens.
#[derive(Serialize, Deserialize)]
pub(super) struct Planned {
    region: String,
    instance: String,
    document: String,
}

/// What one person has opened.
#[derive(Serialize, Deserialize)]
struct Opened {
    account: AccountId,
    region: Region,
    instance: String,
    /// [`SHELLS`], [`ALL`], or the one document.
    document: String,
    /// The person's permission set.
    set: String,
    is_last: bool,
    #[serde(default)]
    at_once: Memory,
    #[serde(default)]
    at_last: Memory,
}

/// What is remembered.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Memory {
    /// There may be something to end.
    is_left: bool,
    /// What was terminated last.
    terminated: Vec<String>,
}

impl Planned {
    /// Sessions on an instance with a document.
    pub(super) fn new(on: &Resource, document: &str) -> Self {
        let instance = on.arn.rsplit('/').next().unwrap_or_default().to_owned();
        Self { region: on.region.clone(), instance, document: document.to_owned() }
    }

    /// Those that are opened with a permission set, as they are ended at once and at last.
    pub(super) fn objects(&self, account: &AccountId, set: &str) -> [Object; 3] {
        let Self { region, instance, document } = self;
        let own = if document == FORWARDING { FORWARDING } else { SHELLS };
        [(own, AT_ONCE, 2), (own, AT_LAST, 0), (ALL, AT_LAST, 0)].map(|(document, when, stage)| {
            let key = format!("{account}/{region}/{instance}/{document}/{set}/{when}");
            Object {
                mechanism: NAME,
                place: format!("sessions/{key}"),
                key,
                object: json!({
                    "account": account,
                    "region": region,
                    "instance": instance,
                    "document": document,
                    "set": set,
                    "is_last": when == AT_LAST,
                }),
                stage,
                is_ours_alone: true,
                share: None,
            }
        })
    }
}

impl Opened {
    fn memory(&self) -> &Memory {
        if self.is_last { &self.at_last } else { &self.at_once }
    }

    fn facts(&self, memory: &Memory) -> Value {
        if self.is_last { json!({ AT_LAST: memory }) } else { json!({ AT_ONCE: memory }) }
    }

    /// How a termination that was begun so long ago stands, when these are open that were begun before and
    /// since.
    fn progress(&self, before: usize, since: usize, ago: TimeDelta, wait: TimeDelta) -> Progress {
        let wait = if self.is_last { wait } else { TimeDelta::zero() };
        match (before, since) {
            (0, 0) if ago < wait => Progress::Running,
            // Those that were opened since are terminated as well.
            (0, 0) | (_, 1..) => Progress::Succeeded,
            _ if ago < ENDS_WITHIN => Progress::Running,
            _ => Progress::Failed(format!("{before} sessions were terminated, and are still open")),
        }
    }

    /// Whether a session is one of them, and open.
    fn has(&self, session: &Session) -> bool {
        use SessionStatus::{Failed, Terminated, Terminating};
        let is_over = matches!(session.status(), Some(Failed | Terminated | Terminating));
        let of_document = session.document_name().is_none_or(|name| match self.document.as_str() {
            ALL => true,
            FORWARDING => name == FORWARDING,
            _ => name != FORWARDING,
        });
        !is_over && of_document && is_opened_with(session.owner().unwrap_or_default(), &self.set)
    }
}

/// Whether the ARN of a role session is one of a permission set. The name of another set may begin
/// with that of this one.
fn is_opened_with(owner: &str, set: &str) -> bool {
    let role = owner.split_once(":assumed-role/AWSReservedSSO_").map(|(_, role)| role);
    let suffix = role.and_then(|role| role.strip_prefix(set)?.strip_prefix('_'));
    let suffix = suffix.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    suffix.len() == SUFFIX_CHARACTERS && suffix.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[async_trait]
impl Kind for Sessions {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let opened: Opened = read(LIST, look.object)?;
        let memory = opened.memory();
        let open = open(&reach(site, &opened, lane).await?, &opened).await?;
        let is_present = memory.is_left || !open.is_empty();
        let (before, since): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|id| memory.terminated.contains(id));
        // Whoever closes it leaves nothing that was there before.
        let is_left = !since.is_empty() && !memory.is_left;
        let facts = is_left.then(|| opened.facts(&Memory { is_left, ..memory.clone() }));
        let intent = look.target.intent.as_ref();
        let ours = intent.and_then(|intent| {
            let (verb, ago) = (intent.verb, look.now - intent.since);
            let progress = match verb {
                Verb::Create => Progress::Succeeded,
                Verb::Delete => opened.progress(before.len(), since.len(), ago, site.propagation()),
            };
            Some(Operation { request: intent.request.clone()?, verb, progress })
        });
        let theirs = since.into_iter().map(|request| Operation {
            request,
            verb: Verb::Create,
            progress: Progress::Succeeded,
        });
        let operations = ours.into_iter().chain(theirs).collect();
        let is_marked = is_present;
        let observed = Observed { is_present, is_marked, operations, ..Observed::default() };
        Ok(Seen { observed, facts, ..Seen::default() })
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let opened: Opened = read(TERMINATE, &call.object)?;
        if call.verb == Verb::Create {
            let memory = Memory { is_left: true, ..Memory::default() };
            let request = "nothing is open yet".to_owned();
            return Ok(Answer { request, facts: Some(opened.facts(&memory)) });
        }
        let terminated = terminate(site, &opened, call.lane).await?;
        let request = format!("terminated: {}", terminated.len());
        let facts = Some(opened.facts(&Memory { is_left: false, terminated }));
        Ok(Answer { request, facts })
    }
}

/// The way to an instance.
async fn reach(site: &Site, opened: &Opened, lane: Lane) -> Result<Access, ApiError> {
    Ok(site.member(&opened.account, lane).await?.in_region(opened.region.clone()))
}

/// Ids of those that are open.
async fn open(access: &Access, opened: &Opened) -> Result<Vec<String>, ApiError> {
    let on_instance = SessionFilter::builder()
        .key(SessionFilterKey::TargetId)
        .value(&opened.instance)
        .build()
        .expect("a filter with key and value is whole");
    let call = access.ssm().describe_sessions().state(SessionState::Active).filters(on_instance);
    let mut items = call.into_paginator().items().send();
    let mut open = Vec::new();
    while open.len() < AT_ONCE_MAX
        && let Some(item) = items.next().await
    {
        let session = item.map_err(|error| ApiError::of(LIST, &error))?;
        if opened.has(&session) {
            open.extend(session.session_id);
        }
    }
    Ok(open)
}

/// Terminates all that are open; which. One that cannot be terminated spares no other.
async fn terminate(site: &Site, opened: &Opened, lane: Lane) -> Result<Vec<String>, ApiError> {
    let access = reach(site, opened, lane).await?;
    let open =
        open(&access, opened).await.map_err(|error| ApiError { leaves_doubt: false, ..error })?;
    let mut failed = None;
    for id in &open {
        let answer = access.ssm().terminate_session().session_id(id).send().await;
        match answer.map_err(|error| ApiError::of(TERMINATE, &error)) {
            Err(error) if error.code.as_deref() != Some(GONE) => failed = failed.or(Some(error)),
            Ok(_) | Err(_) => {}
        }
    }
    failed.map_or(Ok(open), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(document: &str) -> Opened {
        let opened = json!({
            "account": "111122223333",
            "region": "eu-west-1",
            "instance": "i-1",
            "document": document,
            "set": "apono-ann",
            "is_last": false,
        });
        read(LIST, &opened).expect("sessions")
    }

    #[test]
    fn a_session_is_told_by_its_set_and_document() {
        let opened = opened(SHELLS);
        let session = |role: &str, document: &str, status: SessionStatus| {
            let owner = format!("arn:aws:sts::111122223333:assumed-role/{role}/ann");
            Session::builder().owner(owner).document_name(document).status(status).build()
        };
        let ours = "AWSReservedSSO_apono-ann_0123456789abcdef";
        assert!(opened.has(&session(ours, "Shell", SessionStatus::Connected)));
        assert!(opened.has(&session(ours, "Shell", SessionStatus::Connecting)));
        assert!(opened.has(&session(ours, "Shell", SessionStatus::Disconnected)));
        assert!(!opened.has(&session(ours, "Shell", SessionStatus::Terminating)));
        assert!(opened.has(&session(ours, "Other", SessionStatus::Connected)));
        assert!(!opened.has(&session(ours, FORWARDING, SessionStatus::Connected)));
        // As it was stored before shells had documents of several lengths.
        for (document, shells, ports) in [
            (ALL, true, true),
            (FORWARDING, false, true),
            ("SSM-SessionManagerRunShell", true, false),
        ] {
            let has = |of| self::opened(document).has(&session(ours, of, SessionStatus::Connected));
            assert_eq!((has("Shell"), has(FORWARDING)), (shells, ports), "{document}");
        }
        for role in [
            "AWSReservedSSO_apono-anna_0123456789abcdef",
            "AWSReservedSSO_apono-ann_a_0123456789abcdef",
            "AWSReservedSSO_apono-ann_0123",
            "apono-ann_0123456789abcdef",
            "AWSReservedSSO_apono-ann",
        ] {
            assert!(!opened.has(&session(role, "Shell", SessionStatus::Connected)), "{role}");
        }
    }

    #[test]
    fn a_termination_is_over_when_nothing_is_open_and_nobody_gets_in_any_more() {
        let progress = |is_last: bool, before, since, ago: i64| {
            let opened = Opened {
                account: "111122223333".parse().expect("an account"),
                region: "eu-west-1".parse().expect("a region"),
                instance: String::new(),
                document: String::new(),
                set: String::new(),
                is_last,
                at_once: Memory::default(),
                at_last: Memory::default(),
            };
            opened.progress(before, since, TimeDelta::seconds(ago), TimeDelta::seconds(30))
        };
        assert_eq!(progress(false, 0, 0, 0), Progress::Succeeded);
        assert_eq!(progress(true, 0, 0, 29), Progress::Running);
        assert_eq!(progress(true, 0, 0, 30), Progress::Succeeded);
        assert_eq!(progress(true, 1, 1, 0), Progress::Succeeded, "another one is terminated, too");
        assert_eq!(progress(false, 1, 0, 14), Progress::Running, "it shows late");
        assert!(matches!(progress(false, 1, 0, 15), Progress::Failed(_)), "it does not end");
    }
}
