//! Trying a grant without granting: the same checks, step by step, and who the recipient is.

use std::{fmt::Write as _, time::Duration};

use apono_connector_proto::v1::ValidateGrantResponse;
use chrono::TimeDelta;
use tonic::Status;

use super::{
    super::{Api, status, words},
    admission::{Denied, refuse_closed, refuse_recovering},
};
use crate::{
    access::mechanisms::{self, UNBOUNDED_S},
    access::rules,
    base::{backoff::Backoff, chance, clock},
    model::{
        assignment::InAccount,
        details::SESSION_MAX,
        grant::Request,
        refusal::Refusal,
        validation::{Outcome, Step},
    },
    store::{
        self,
        integrations::Integration,
        lookups::{self, Lookup, Told},
        permission_sets,
        units::What,
    },
};

/// What is opened is named up to so many.
const OPENS_SHOWN: usize = 50;
/// The longest that a caller waits for AWS, whatever its deadline.
const WAIT_MAX: Duration = Duration::from_mins(1);
const BETWEEN_LOOKS: Backoff =
    Backoff { first: Duration::from_millis(50), max: Duration::from_secs(1) };

impl Api {
    /// What a grant would meet.
    pub(super) async fn try_grant(
        &self,
        of: &Integration,
        request: &Request,
    ) -> Result<ValidateGrantResponse, Status> {
        let mut steps = Vec::new();
        let (mut principal_id, mut tail) = (String::new(), TimeDelta::zero());
        let mut conn = self.conn().await?;
        let open = match refuse_closed(of, &request.recipient) {
            Ok(()) => refuse_recovering(&mut conn, &of.connector).await,
            denied => denied,
        };
        drop(conn);
        let is_open = match open {
            Ok(()) => {
                let name = &of.settings.name;
                steps.push(Step::passed("INTEGRATION", format!("{name} takes grants")));
                true
            }
            Err(denied) => {
                steps.push(failed("INTEGRATION", denied)?);
                false
            }
        };
        let units = self.try_units(of, request, &mut steps).await?;
        for unit in &units {
            tail = tail.max(TimeDelta::seconds(unit.session_seconds.into()));
        }
        if is_open {
            match self.look_up(of, request, &units).await? {
                Ok(told) => {
                    let found = format!("{} is {}", request.recipient, told.principal);
                    steps.push(Step::passed("RECIPIENT", found));
                    told.principal.id().clone_into(&mut principal_id);
                    steps.extend(self.opens(of, request, &told).await?);
                    steps.extend(told.lacking.iter().map(|lacking| refused("ROOM", lacking)));
                }
                Err(refusal) => steps.push(refused("RECIPIENT", &refusal)),
            }
            steps.push(self.queue(of).await?);
        } else {
            let why = "the integration takes no grants";
            steps.extend(["RECIPIENT", "QUEUE"].map(|code| Step::skipped(code, why)));
        }
        let is_self_ending = !units.is_empty() && units.iter().all(mechanisms::is_self_ending);
        let tail = if tail.is_zero() { SESSION_MAX } else { tail };
        let is_unbounded = units.iter().any(|unit| unit.session_seconds == UNBOUNDED_S);
        let ending = if is_self_ending {
            "the access ends by itself at its second, in open sessions too; one that is revoked before goes on".to_owned()
        } else {
            "the connector removes the access at its end; sessions that have begun go on".to_owned()
        };
        let opens_sessions = units.iter().any(|unit| !unit.plan["sessions"].is_null());
        let ending = if opens_sessions && !is_unbounded {
            format!(
                "the access ends by itself at its second; a shell that is open then is terminated by the connector, and ends within {} minutes if that is gone",
                tail.num_minutes()
            )
        } else if is_unbounded {
            "the access ends by itself at its second; a session on an instance that is open then is terminated by the connector, a connection to a database stays open until it is closed".to_owned()
        } else {
            format!("{ending} for {} minutes at most", tail.num_minutes())
        };
        steps.push(Step::passed("ENDING", ending));
        Ok(ValidateGrantResponse {
            is_valid: steps.iter().all(|step| step.outcome != Outcome::Failed),
            steps: steps.into_iter().map(words::step).collect(),
            principal_id,
            is_self_ending,
            session_tail: (!is_unbounded).then(|| words::duration(tail.num_milliseconds())),
        })
    }

    /// The end, and each unit; those that can be granted.
    async fn try_units(
        &self,
        of: &Integration,
        request: &Request,
        steps: &mut Vec<Step>,
    ) -> Result<Vec<What>, Status> {
        let mut conn = self.conn().await?;
        let now = store::now(&mut conn).await.map_err(|error| status::store(&error))?;
        let Some(end) = request.end.of(now) else {
            let finding = "the end is not ahead, or too far";
            steps.push(Step::failed("END", finding, "Use a time to come."));
            let why = "guardrails ask for how long";
            steps.extend(request.units.iter().map(|_| Step::skipped("UNIT", why)));
            return Ok(Vec::new());
        };
        steps.push(Step::passed("END", format!("it ends at {}", end.to_rfc3339())));
        let mut good = Vec::new();
        for wanted in &request.units {
            let length_s = (end - now).num_seconds();
            match self.unit(&mut conn, of, (request, &[]), wanted, length_s).await {
                Ok(unit) => {
                    let what = [&unit.resource_name, &unit.resource].map(String::as_str);
                    let on = what.into_iter().rfind(|text| !text.is_empty()).unwrap_or_default();
                    let finding = format!(
                        "{} on {on} in {} is known, and no guardrail forbids it",
                        unit.permission, unit.account
                    );
                    steps.push(Step::passed("UNIT", finding));
                    good.push(unit);
                }
                Err(denied) => steps.push(failed("UNIT", denied)?),
            }
        }
        Ok(good)
    }

    /// Writes the question, wakes the engine, and waits for the row.
    async fn look_up(
        &self,
        of: &Integration,
        request: &Request,
        units: &[What],
    ) -> Result<Result<Told, Refusal>, Status> {
        let plans = units.iter().map(|unit| (unit.mechanism.clone(), unit.plan.clone())).collect();
        let recipient = request.recipient.clone();
        let lookup = Lookup { id: chance::uuid(), recipient, plans };
        let mut conn = self.conn().await?;
        lookups::insert(&mut conn, &of.connector, of.id, &lookup)
            .await
            .map_err(|error| status::store(&error))?;
        drop(conn);
        self.wishes.poke();
        let answer = async {
            for looks in 1.. {
                let mut conn = self.conn().await?;
                let found = lookups::answered(&mut conn, &of.connector, lookup.id)
                    .await
                    .map_err(|error| status::store(&error))?;
                if let Some(found) = found {
                    return Ok(found);
                }
                drop(conn);
                clock::sleep(BETWEEN_LOOKS.after(looks)).await;
            }
            Err(status::not_in_time("validation"))
        };
        tokio::time::timeout(WAIT_MAX, answer)
            .await
            .unwrap_or_else(|_| Err(status::not_in_time("validation")))
    }

    /// What would be opened beside what is asked for, and whether it may be.
    async fn opens(
        &self,
        of: &Integration,
        request: &Request,
        told: &Told,
    ) -> Result<Option<Step>, Status> {
        if told.openings.is_empty() {
            return Ok(None);
        }
        let unanswered = |error| status::store(&error);
        let mut conn = self.conn().await?;
        let now = store::now(&mut conn).await.map_err(unanswered)?;
        let length_s = request.end.of(now).map_or(0, |end| (end - now).num_seconds());
        let (asked, names) = ((of, request), told.names.as_slice());
        let refusal =
            rules::opened(&mut conn, &self.guard, asked, names, &told.openings, length_s).await;
        if let Some(refusal) = refusal.map_err(unanswered)? {
            return Ok(Some(refused("OPENS", &refusal)));
        }
        let mut opened = Vec::new();
        for InAccount { account, permission_set: arn } in told.openings.iter().take(OPENS_SHOWN) {
            let set = permission_sets::find(&mut conn, &of.connector, of.id, arn).await;
            let name = set.map_err(unanswered)?.map_or_else(|| arn.clone(), |set| set.name);
            opened.push(format!("{name} in {account}"));
        }
        let mut finding = format!("it also opens {}", opened.join(", "));
        if told.openings.len() > opened.len() {
            let _ = write!(finding, ", and {} more", told.openings.len() - opened.len());
        }
        Ok(Some(Step::passed("OPENS", finding)))
    }

    /// What AWS would work on before.
    async fn queue(&self, of: &Integration) -> Result<Step, Status> {
        let mut conn = self.conn().await?;
        let (running, waiting) = store::backlog::in_instance(&mut conn, &of.connector, of.id)
            .await
            .map_err(|error| status::store(&error))?;
        Ok(Step::passed(
            "QUEUE",
            format!(
                "AWS works on {running} changes of ours and {waiting} wait; of assignments it takes {} at once, and one in an account",
                self.limits.assignments_at_once
            ),
        ))
    }
}

fn refused(code: &str, refusal: &Refusal) -> Step {
    let finding = format!("{}: {}", refusal.code, refusal.finding);
    Step::failed(code, finding, refusal.code.remedy())
}

fn failed(code: &str, denied: Denied) -> Result<Step, Status> {
    match denied {
        Denied::Refused(refusal, _) => Ok(refused(code, &refusal)),
        Denied::Unanswered(_) => Err(denied.into()),
    }
}
