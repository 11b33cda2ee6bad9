//! What a person has opened on an instance through Session Manager: shells, forwarded ports.
//!
//! No policy ends what is open. So, when nobody holds the permission any more, all sessions of the
//! person on the instance are terminated, and looked for again until what was taken out of the person's
//! policy counts everywhere ([`Site::propagation`]): whoever was quick has opened another one.
//!
//! There is nothing to be made in AWS: it is remembered that there may be something to end.

use async_trait::async_trait;
use aws_sdk_ssm::types::{Session, SessionFilter, SessionFilterKey, SessionState, SessionStatus};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{Answer, Call, Kind, Look, Seen, read};
use crate::{
    access::site::Site,
    aws::{Access, ApiError},
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
/// Fact: there may be something to end.
const IS_LEFT: &str = "is_left";
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
    document: String,
    /// The person's permission set.
    set: String,
    #[serde(default)]
    is_left: bool,
}

impl Planned {
    /// Sessions on an instance with a document.
    pub(super) fn new(on: &Resource, document: &str) -> Self {
        let instance = on.arn.rsplit('/').next().unwrap_or_default().to_owned();
        Self { region: on.region.clone(), instance, document: document.to_owned() }
    }

    /// Those that are opened with a permission set.
    pub(super) fn object(self, account: &AccountId, set: &str) -> Object {
        let Self { region, instance, document } = self;
        let key = format!("{account}/{region}/{instance}/{document}/{set}");
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
            }),
            stage: 1,
            is_ours_alone: true,
            share: None,
        }
    }
}

impl Opened {
    /// Whether a session is one of them, and open.
    fn has(&self, session: &Session) -> bool {
        use SessionStatus::{Failed, Terminated, Terminating};
        let is_over = matches!(session.status(), Some(Failed | Terminated | Terminating));
        let of_document = session.document_name().is_none_or(|name| name == self.document);
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
        let open = open(&reach(site, &opened, lane).await?, &opened).await?;
        let has_open = !open.is_empty();
        let is_present = opened.is_left || has_open;
        // What is open after all were terminated was opened since.
        let shows = |_: &str, verb| verb == Verb::Create || has_open;
        let mut operations = look.accepted(shows, site.propagation());
        operations.extend(open.into_iter().map(|request| Operation {
            request,
            verb: Verb::Create,
            progress: Progress::Succeeded,
        }));
        let is_marked = is_present;
        let observed = Observed { is_present, is_marked, operations, ..Observed::default() };
        // Whoever closes it leaves nothing that was there before.
        let facts = (has_open && !opened.is_left).then(|| json!({ IS_LEFT: true }));
        Ok(Seen { observed, facts, ..Seen::default() })
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let opened: Opened = read(TERMINATE, &call.object)?;
        let is_left = call.verb == Verb::Create;
        let request = if is_left {
            "nothing is open yet".to_owned()
        } else {
            format!("terminated: {}", terminate(site, &opened, call.lane).await?)
        };
        Ok(Answer { request, facts: Some(json!({ IS_LEFT: is_left })) })
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
    while let Some(item) = items.next().await {
        let session = item.map_err(|error| ApiError::of(LIST, &error))?;
        if opened.has(&session) {
            open.extend(session.session_id);
        }
    }
    Ok(open)
}

/// Terminates all that are open; how many.
async fn terminate(site: &Site, opened: &Opened, lane: Lane) -> Result<usize, ApiError> {
    let access = reach(site, opened, lane).await?;
    let open =
        open(&access, opened).await.map_err(|error| ApiError { leaves_doubt: false, ..error })?;
    for id in &open {
        let answer = access.ssm().terminate_session().session_id(id).send().await;
        match answer.map_err(|error| ApiError::of(TERMINATE, &error)) {
            Err(error) if error.code.as_deref() != Some(GONE) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(open.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_by_its_set_and_document() {
        let opened: Opened = read(
            LIST,
            &json!({
                "account": "111122223333",
                "region": "eu-west-1",
                "instance": "i-1",
                "document": "Shell",
                "set": "apono-ann",
            }),
        )
        .expect("sessions");
        let session = |role: &str, document: &str, status: SessionStatus| {
            let owner = format!("arn:aws:sts::111122223333:assumed-role/{role}/ann");
            Session::builder().owner(owner).document_name(document).status(status).build()
        };
        let ours = "AWSReservedSSO_apono-ann_0123456789abcdef";
        assert!(opened.has(&session(ours, "Shell", SessionStatus::Connected)));
        assert!(opened.has(&session(ours, "Shell", SessionStatus::Connecting)));
        assert!(opened.has(&session(ours, "Shell", SessionStatus::Disconnected)));
        assert!(!opened.has(&session(ours, "Shell", SessionStatus::Terminating)));
        assert!(!opened.has(&session(ours, "Port", SessionStatus::Connected)));
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
}
