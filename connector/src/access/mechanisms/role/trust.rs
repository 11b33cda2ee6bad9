//! The statement that lets a person into a role, in the role's trust policy.
//!
//! AWS knows no condition for a change of that policy, so one change at a time is made in a role, by what
//! was read right before, and none while one whose answer was lost may still arrive; every other statement is
//! written back as it was. IAM shows a change a little later
//! than it was made; a change that does not show by then is made again, which comes to the same.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::{
    Answer, Call, Kind, Look, Seen,
    iam::{self, GONE, SHOWS_WITHIN, once},
    read,
};
use crate::{
    access::site::Site,
    aws::{Access, ApiError},
    model::{
        failure::{Failure, Lane},
        holding::Holder,
        ids::AccountId,
        object::Object,
        policy_document,
        share::{Content, Shares},
        target::{Observed, Origin, Verb},
        trust_document::{self, ASSUME, CHARACTERS_MAX, Entry},
    },
};

pub(super) const GET: &str = "iam:GetRole";
pub(super) const UPDATE: &str = "iam:UpdateAssumeRolePolicy";

/// Statements in trust policies.
pub(super) struct Statements;

const NAME: &str = "aws-iam-trust-statement";

const PASSING: [&str; 2] = ["ConcurrentModification", GONE];

#[derive(Serialize, Deserialize)]
struct Statement {
    role: String,
    account: String,
    sid: String,
    /// The end that we wrote last; none: there is none of ours.
    #[serde(default)]
    written: Option<DateTime<Utc>>,
    /// It cannot be taken out: it is gone when it has ended.
    #[serde(default)]
    is_left: bool,
}

/// What is there.
#[derive(Default, Serialize, Deserialize)]
struct Body {
    /// The statement of our name, or nothing.
    statement: Value,
    /// The others.
    others: Value,
}

/// The statement of a unit in a role.
pub(super) fn object(role: &str, entry: &Entry) -> Object {
    Object {
        mechanism: NAME,
        place: format!("trust/{role}"),
        key: format!("{role}/{}", entry.sid),
        object: json!({ "role": role, "account": entry.account, "sid": entry.sid }),
        stage: 0,
        is_ours_alone: false,
        share: Some(json!(entry)),
    }
}

#[async_trait]
impl Kind for Statements {
    fn name(&self) -> &'static str {
        NAME
    }

    fn writes_all_of_a_place(&self) -> bool {
        true
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let wanted: Statement = read(GET, look.object)?;
        let access = reach(site, &wanted.role, lane).await?;
        let document = document(&access, &wanted.role).await?;
        let document = document.unwrap_or_default();
        let is_over = |ours: &&Value| trust_document::end(ours).is_some_and(|end| end <= look.now);
        let ours = trust_document::find(&document, &wanted.sid);
        let ours = ours.filter(|ours| !(wanted.is_left && is_over(ours)));
        let end = ours.and_then(trust_document::end);
        let shows = |_: &str, verb| match verb {
            Verb::Create => end.is_some() && end == wanted.written,
            Verb::Delete => ours.is_none(),
        };
        let observed = Observed {
            // Where it was ours, it goes with ours.
            is_present: ours.is_some()
                || (look.target.origin != Some(Origin::Made)
                    && trust_document::admits_account(&document, &wanted.account)),
            is_marked: ours.is_some(),
            operations: look.accepted(shows, SHOWS_WITHIN),
            ..Observed::default()
        };
        let others = trust_document::without(&document, &wanted.sid);
        let body = Body { statement: ours.cloned().unwrap_or_default(), others };
        Ok(Seen { observed, body: json!(body), facts: None })
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let wanted: Statement = read(UPDATE, &call.object)?;
        let access = reach(site, &wanted.role, call.lane).await?;
        let before = document(&access, &wanted.role)
            .await
            .map_err(|error| ApiError { leaves_doubt: false, ..error })?;
        let Some(before) = before else {
            let words = format!("{} is not there", wanted.role);
            return Err(ApiError::answered(UPDATE, GONE, &words, 404));
        };
        // IAM may show an older policy than it did before; whoever writes that back undoes what was
        // changed since.
        let seen: Body = read(UPDATE, &call.before)?;
        if seen.others != trust_document::without(&before, &wanted.sid) {
            let words =
                format!("the trust policy of {} has changed since it was looked at", wanted.role);
            let changed = ApiError::answered(UPDATE, "Changed", &words, 409);
            return Err(ApiError { failure: Failure::Retry { after: None }, ..changed });
        }
        let after = match call.verb {
            Verb::Create => trust_document::with(&before, &call.after),
            Verb::Delete => trust_document::without(&before, &wanted.sid),
        };
        let done = match fits(&wanted.role, &before, &after, call.verb) {
            Ok(()) => update(&access, &wanted.role, &after).await,
            Err(error) => Err(error),
        };
        let end = trust_document::find(&before, &wanted.sid).and_then(trust_document::end);
        let is_over = call.verb == Verb::Delete && end.is_some_and(|end| end <= call.now);
        match done {
            Ok(done) => {
                let written = trust_document::end(&call.after);
                let written = written.filter(|_| call.verb == Verb::Create);
                Ok(done.telling(json!({ "written": written, "is_left": false })))
            }
            // It lets nobody in, and will not come out by being tried again.
            Err(error) if is_over && error.is_final() => Ok(Answer::left(&error)),
            Err(error) => Err(error),
        }
    }

    fn shares(
        &self,
        body: &Value,
        holders: &[Holder],
        now: DateTime<Utc>,
    ) -> Result<Shares, ApiError> {
        let Body { statement, .. } = read(GET, body)?;
        let Some((entry, until)) = wanted(holders, now)? else { return Ok(Shares::default()) };
        // What the account is admitted by is not ours.
        let is_until = |end| trust_document::is_same(&statement, &entry.statement(end));
        if statement.is_null() || is_until(until) {
            return Ok(Shares::default());
        }
        let end = trust_document::end(&statement).unwrap_or_default();
        let is_shorter = now < end && is_until(end);
        let lacking = if is_shorter { Vec::new() } else { (0..holders.len()).collect() };
        Ok(Shares { content: Content::Stale, lacking })
    }

    fn body(&self, holders: &[Holder], now: DateTime<Utc>) -> Value {
        // What cannot be read was told by `shares`.
        let wanted = wanted(holders, now).unwrap_or_default();
        wanted.map_or(Value::Null, |(entry, until)| entry.statement(until))
    }
}

/// Writes the trust policy of a role.
async fn update(access: &Access, role: &str, document: &Value) -> Result<Answer, ApiError> {
    let update = access.iam().update_assume_role_policy().role_name(name(role));
    let update = update.policy_document(document.to_string());
    let answer = Answer::of(UPDATE, update.customize().config_override(once()).send().await);
    answer.map_err(|error| iam::passing(error, &PASSING))
}

/// The statement of the unit that holds it, and until when.
fn wanted(
    holders: &[Holder],
    now: DateTime<Utc>,
) -> Result<Option<(Entry, DateTime<Utc>)>, ApiError> {
    let live = holders.iter().find(|holder| holder.is_live(now));
    let share = live.and_then(|holder| Some((holder.share.as_ref()?, holder.until)));
    share.map(|(share, until)| Ok((read(UPDATE, share)?, until))).transpose()
}

/// Whether IAM would take a policy, as far as that is known.
fn fits(role: &str, before: &Value, after: &Value, verb: Verb) -> Result<(), ApiError> {
    let dead = trust_document::dead_principals(before);
    if !dead.is_empty() {
        let words = format!(
            "the trust policy of {role} names {}, who are not there any more; take them out, since IAM takes no policy that names them",
            dead.join(", ")
        );
        return Err(ApiError::answered(UPDATE, "MalformedPolicyDocument", &words, 400));
    }
    if verb == Verb::Create && trust_document::denies_all(before) {
        let words = format!("the trust policy of {role} denies {ASSUME} to everybody");
        return Err(ApiError::answered(UPDATE, "Denied", &words, 400));
    }
    let characters = policy_document::characters(after);
    if verb == Verb::Create && characters > CHARACTERS_MAX {
        let words = format!(
            "the trust policy of {role} would have {characters} characters, and IAM takes {CHARACTERS_MAX}"
        );
        return Err(ApiError::answered(UPDATE, "LimitExceeded", &words, 400));
    }
    Ok(())
}

/// The way to the account of a role.
async fn reach(site: &Site, role: &str, lane: Lane) -> Result<std::sync::Arc<Access>, ApiError> {
    let account = role.split(':').nth(4).unwrap_or_default();
    let account: AccountId = read(GET, &json!(account))?;
    site.member(&account, lane).await
}

fn name(role: &str) -> &str {
    role.rsplit('/').next().unwrap_or_default()
}

/// The trust policy of a role; none: there is no such role.
async fn document(access: &Access, role: &str) -> Result<Option<Value>, ApiError> {
    let answer = access.iam().get_role().role_name(name(role)).send().await;
    let found = match answer.map_err(|error| ApiError::of(GET, &error)) {
        Ok(found) => found.role,
        Err(error) if error.code.as_deref() == Some(GONE) => return Ok(None),
        Err(error) => return Err(error),
    };
    let written = found.as_ref().and_then(|role| role.assume_role_policy_document());
    let unreadable = |error: serde_json::Error| {
        ApiError::answered(GET, "", &format!("the trust policy of {role}: {error}"), 400)
    };
    iam::document(written).map(Some).map_err(unreadable)
}
