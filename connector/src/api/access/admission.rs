//! What may be granted: held against the inventory and the guardrails, and stored whole or not
//! at all.

use chrono::{DateTime, TimeDelta, Utc};
use tonic::Status;

use super::super::{Api, auth::Caller, status};
use crate::{
    access::{
        mechanisms::{self, Wish},
        rules::{self, Asked},
    },
    model::{
        grant::{LENGTH_MAX, Recipient, Request, Wanted},
        ids::{AccountId, ConnectorId, IntegrationId},
        organization::Coverage,
        refusal::{Refusal, RefusalCode},
    },
    store::{
        self, PgConnection, Tx,
        acts::New,
        grants::Grant,
        integrations::Integration,
        organization::{self, Account},
        units::{self, What},
    },
};

impl Api {
    /// Stores a grant, unless it is there already. Whether it is.
    pub(super) async fn admit(
        &self,
        caller: &Caller,
        connector: &ConnectorId,
        id: &str,
        request: &Request,
    ) -> Result<bool, Status> {
        let mut tx = self.db.begin().await.map_err(unanswered)?;
        let before = async {
            store::wishes::lock_id(&mut tx, connector, id).await?;
            let there = store::grants::get(&mut tx, connector, id).await?;
            Ok((there, store::wishes::is_revoked_before(&mut tx, connector, id).await?))
        };
        let (there, is_revoked) = before.await.map_err(unanswered)?;
        if let Some(there) = there {
            let differences = request.difference(&there.request);
            if differences.is_empty() {
                return Ok(true);
            }
            return Err(status::grant_differs(id, &differences));
        }
        if is_revoked {
            let finding = "it was revoked before it came";
            return Err(refuse(RefusalCode::RevokedBefore, "grant_id", finding).into());
        }
        if !self.limits.state_is_kept {
            let finding = "the database is lost when this container ends";
            return Err(refuse(RefusalCode::StateNotKept, "", finding).into());
        }
        refuse_recovering(&mut tx, connector).await?;
        let integration = IntegrationId(request.integration);
        let of = open(&mut tx, connector, integration, &request.recipient).await?;
        let now = store::now(&mut tx).await.map_err(unanswered)?;
        let Some(end) = request.end.of(now) else {
            return Err(status::bad_request("end", not_ahead(now)));
        };
        let mut units = Vec::with_capacity(request.units.len());
        for wanted in &request.units {
            let length_s = (end - now).num_seconds();
            units.push(self.unit(&mut tx, &of, (request, &[]), wanted, length_s).await?);
        }
        refuse_twice(&units)?;
        let stored = async {
            store::grants::insert(&mut tx, connector, id, request, end).await?;
            units::insert(&mut tx, connector, id, &units).await?;
            let detail = store::json("grants", "request", request)?.to_string();
            let (verb, actor) = ("GRANTED", &caller.actor());
            let act = New { grant: id, verb, actor, object: "", detail: &detail };
            store::acts::note(&mut tx, connector, act).await?;
            tx.commit().await
        };
        stored.await.map_err(unanswered)?;
        Ok(false)
    }

    /// Moves the end of a grant that has not ended.
    pub(super) async fn move_end(
        &self,
        caller: &Caller,
        connector: &ConnectorId,
        id: &str,
        end: DateTime<Utc>,
    ) -> Result<(), Status> {
        status::refuse_nul("grant_id", id)?;
        let mut tx = self.db.begin().await.map_err(unanswered)?;
        let locked = async {
            store::wishes::lock_id(&mut tx, connector, id).await?;
            let grant = store::grants::lock(&mut tx, connector, id).await?;
            Ok((grant, store::now(&mut tx).await?))
        };
        let (grant, now) = locked.await.map_err(unanswered)?;
        let grant = grant.ok_or_else(|| status::not_found("grant", id))?;
        refuse_recovering(&mut tx, connector).await?;
        if grant.until() <= now {
            return Err(status::precondition(
                "GRANT_ENDED",
                format!("grant {id:?} has ended; grant anew with another grant_id"),
            ));
        }
        if end <= now || end - grant.created_at > LENGTH_MAX {
            return Err(status::bad_request("expire_time", not_ahead(now)));
        }
        if end > grant.expires_at {
            self.allow_longer(&mut tx, connector, &grant, end).await?;
        }
        let moved = async {
            store::wishes::move_end(&mut tx, connector, &grant, end).await?;
            let detail = format!("from {} to {}", grant.expires_at.to_rfc3339(), end.to_rfc3339());
            let (verb, actor) = ("EXTENDED", &caller.actor());
            let act = New { grant: id, verb, actor, object: "", detail: &detail };
            store::acts::note(&mut tx, connector, act).await?;
            tx.commit().await
        };
        moved.await.map_err(unanswered)
    }

    /// Gives up what a grant that is over has left in AWS.
    pub(super) async fn give_up(
        &self,
        caller: &Caller,
        connector: &ConnectorId,
        id: &str,
        reason: &str,
    ) -> Result<(), Status> {
        status::refuse_nul("grant_id", id)?;
        let mut tx = self.db.begin().await.map_err(unanswered)?;
        let locked = async {
            store::wishes::lock_id(&mut tx, connector, id).await?;
            let grant = store::grants::lock(&mut tx, connector, id).await?;
            Ok((grant, store::now(&mut tx).await?))
        };
        let (grant, now) = locked.await.map_err(unanswered)?;
        let grant = grant.ok_or_else(|| status::not_found("grant", id))?;
        if now < grant.until() {
            let message = format!("grant {id:?} is live; revoke it first");
            return Err(status::precondition("GRANT_LIVE", message));
        }
        let forgotten = async {
            let units = units::forget(&mut tx, connector, id).await?;
            let (verb, actor) = ("FORGOTTEN", &caller.actor());
            let act = New { grant: id, verb, actor, object: "", detail: reason };
            store::acts::note(&mut tx, connector, act).await?;
            Ok(units)
        };
        if forgotten.await.map_err(unanswered)? == 0 {
            let message = format!("nothing of grant {id:?} is left");
            return Err(status::precondition("GRANT_ENDED", message));
        }
        tx.commit().await.map_err(unanswered)
    }

    /// Asks the guardrails for the whole time, from the grant's start.
    async fn allow_longer(
        &self,
        tx: &mut Tx,
        connector: &ConnectorId,
        grant: &Grant,
        end: DateTime<Utc>,
    ) -> Result<(), Status> {
        let of = open(tx, connector, grant.integration, &grant.request.recipient).await?;
        let length_s = (end - grant.created_at).num_seconds();
        for wanted in &grant.request.units {
            let asked = (&grant.request, grant.names.as_slice());
            self.unit(tx, &of, asked, wanted, length_s).await?;
        }
        let units = units::list(tx, connector, std::slice::from_ref(&grant.id)).await;
        let units = units.map_err(Denied::Unanswered)?;
        let openings = units.into_iter().flat_map(|unit| unit.openings).collect();
        let (asked, names) = ((&of, &grant.request), grant.names.as_slice());
        let opened = rules::opened(tx, &self.guard, asked, names, &openings, length_s).await;
        if let Some(refusal) = opened.map_err(Denied::Unanswered)? {
            return Err(Denied::Refused(refusal, "expire_time").into());
        }
        Ok(())
    }

    /// The account, if something may be granted there.
    fn allowed(
        &self,
        of: &Integration,
        id: &AccountId,
        found: Option<Account>,
    ) -> Result<Account, Denied> {
        let refuse = |code, what: &str| {
            let finding = format!("the account {id} {what}");
            Err(refuse(code, "units.account_id", finding))
        };
        if *id == of.management_account && !self.limits.management_account {
            return refuse(RefusalCode::ManagementAccount, "is the management account");
        }
        let Some(account) = found else {
            return refuse(RefusalCode::AccountUnknown, "was not discovered");
        };
        match account.coverage {
            Coverage::Crawled => Ok(account),
            Coverage::Excluded | Coverage::Announced => {
                refuse(RefusalCode::AccountExcluded, "lies in an excluded organizational unit")
            }
            Coverage::Outside => {
                refuse(RefusalCode::AccountExcluded, "lies outside of root_or_ou_id")
            }
            Coverage::Inactive | Coverage::UnknownState => {
                refuse(RefusalCode::AccountNotActive, &format!("is {}", account.state))
            }
            Coverage::Gone => refuse(RefusalCode::AccountUnknown, "is gone from the organization"),
        }
    }

    /// Checks one unit against the inventory and the guardrails, by every name of the recipient
    /// that is known.
    pub(super) async fn unit(
        &self,
        conn: &mut PgConnection,
        of: &Integration,
        (request, names): (&Request, &[String]),
        wanted: &Wanted,
        length_s: i64,
    ) -> Result<What, Denied> {
        let (account, what) = match wanted {
            Wanted::InAccount { account, permission_set } => {
                if request.recipient.iam_user().is_some() {
                    let finding =
                        "a permission set is assigned to users and groups of Identity Center";
                    return Err(refuse(RefusalCode::RecipientUnfit, "recipient", finding));
                }
                self.in_account(conn, of, account, permission_set).await?
            }
            Wanted::On { resource, permission } => {
                let asked = (resource.as_str(), permission.as_str());
                self.on_resource(conn, of, &request.recipient, asked, length_s).await?
            }
        };
        let (account, on) = (&account, rules::on(&what));
        let names = names.iter().map(String::as_str);
        for recipient in names.chain([request.recipient.name()]) {
            let asked = Asked { of, request, recipient, account, on, length_s };
            if let Some(refusal) = rules::refusal(&self.guard, asked) {
                return Err(Denied::Refused(refusal, ""));
            }
        }
        Ok(what)
    }

    /// A permission set in an account.
    async fn in_account(
        &self,
        conn: &mut PgConnection,
        of: &Integration,
        id: &AccountId,
        named: &str,
    ) -> Result<(Account, What), Denied> {
        let read = async {
            let account = organization::account(conn, &of.connector, of.id, id).await?;
            let set = store::permission_sets::find(conn, &of.connector, of.id, named).await?;
            Ok((account, set))
        };
        let (account, set) = read.await.map_err(Denied::Unanswered)?;
        let account = self.allowed(of, id, account)?;
        let set = set.ok_or_else(|| {
            let finding = format!("no permission set {named:?} was discovered");
            refuse(RefusalCode::PermissionSetUnknown, "units.permission_set", finding)
        })?;
        let (mechanism, plan) = mechanisms::plan_assignment(id, &set);
        let what = What {
            account: id.clone(),
            resource: String::new(),
            resource_type: "aws-account".to_owned(),
            resource_name: account.name.clone(),
            permission: set.name,
            mechanism: mechanism.to_owned(),
            session_seconds: plan.session_seconds(),
            plan: plan.plan,
        };
        Ok((account, what))
    }

    /// A permission on a resource.
    async fn on_resource(
        &self,
        conn: &mut PgConnection,
        of: &Integration,
        recipient: &Recipient,
        (arn, permission): (&str, &str),
        length_s: i64,
    ) -> Result<(Account, What), Denied> {
        let found = store::resources::get(conn, &of.connector, of.id, arn).await;
        let found = found.map_err(Denied::Unanswered)?.ok_or_else(|| {
            let finding = format!("no resource {arn:?} was discovered");
            refuse(RefusalCode::ResourceUnknown, "units.resource", finding)
        })?;
        if found.stale_reason.as_deref() == Some("NOT_COVERED") {
            let finding = format!("{} is not among the integration's resource_types", found.kind);
            return Err(refuse(RefusalCode::ResourceUnknown, "units.resource", finding));
        }
        let mechanism = mechanisms::giving(&found.kind, permission, recipient, &of.settings);
        let mechanism =
            mechanism.map_err(|refusal| Denied::Refused(refusal, "units.permission"))?;
        let withheld = mechanism.withheld(&found).filter(|_| !self.limits.untagged);
        if let Some(finding) = withheld {
            return Err(refuse(RefusalCode::NotGrantable, "units.resource", finding));
        }
        let length = TimeDelta::seconds(length_s);
        let plan = mechanism.plan(&Wish { of, on: &found, permission, recipient, length });
        let plan = plan.map_err(|refusal| Denied::Refused(refusal, "units"))?;
        let id = found.account_id.parse::<AccountId>().map_err(|error| {
            refuse(RefusalCode::AccountUnknown, "units.resource", error.to_string())
        })?;
        let account = organization::account(conn, &of.connector, of.id, &id).await;
        let account = account.map_err(Denied::Unanswered)?.ok_or_else(|| {
            let finding = format!("the account {id} of {arn} was not discovered");
            refuse(RefusalCode::AccountUnknown, "units.resource", finding)
        })?;
        let what = What {
            account: id,
            resource: found.arn,
            resource_type: found.kind,
            resource_name: found.name,
            permission: permission.to_owned(),
            mechanism: mechanism.name().to_owned(),
            session_seconds: plan.session_seconds(),
            plan: plan.plan,
        };
        Ok((account, what))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn unanswered(error: store::Error) -> Status {
    status::store(&error)
}

fn not_ahead(now: DateTime<Utc>) -> String {
    let (now, days) = (now.to_rfc3339(), LENGTH_MAX.num_days());
    format!(
        "is not ahead of {now}, or the grant would last more than {days} days; use a time to come"
    )
}

/// An integration in which something may be granted, held as it is until the transaction ends.
async fn open(
    tx: &mut Tx,
    connector: &ConnectorId,
    id: IntegrationId,
    recipient: &Recipient,
) -> Result<Integration, Status> {
    let of = store::integrations::hold(tx, connector, id).await.map_err(unanswered)?;
    let of = of.ok_or_else(|| status::not_found("integration", &id.to_string()))?;
    refuse_closed(&of, recipient)?;
    Ok(of)
}

/// Nothing is granted by a database that may have forgotten something.
pub(super) async fn refuse_recovering(
    conn: &mut PgConnection,
    connector: &ConnectorId,
) -> Result<(), Denied> {
    let asked = store::memory::is_recovering(conn, connector).await;
    if asked.map_err(Denied::Unanswered)? {
        return Err(Denied::Refused(Refusal::recovering(), ""));
    }
    Ok(())
}

/// Why something is not granted.
pub(super) enum Denied {
    /// A rule or the inventory does not allow it, about a field of the request.
    Refused(Refusal, &'static str),
    /// The database.
    Unanswered(store::Error),
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Refused(refusal, field) => status::refused(&refusal, field),
            Denied::Unanswered(error) => status::store(&error),
        }
    }
}

fn refuse(code: RefusalCode, field: &'static str, finding: impl Into<String>) -> Denied {
    Denied::Refused(Refusal::new(code, finding), field)
}

/// Nothing is granted where an integration does not take it.
pub(super) fn refuse_closed(of: &Integration, recipient: &Recipient) -> Result<(), Denied> {
    let name = &of.settings.name;
    if of.deleting_at.is_some() {
        let finding = format!("the integration {name} is being removed");
        return Err(refuse(RefusalCode::IntegrationDeleting, "integration", finding));
    }
    if !of.enabled {
        let finding = format!("the integration {name} is disabled");
        return Err(refuse(RefusalCode::IntegrationDisabled, "integration", finding));
    }
    if of.settings.sso_region.is_none() && recipient.iam_user().is_none() {
        let finding = format!("the integration {name} has no sso_region");
        return Err(refuse(RefusalCode::IdentityCenterMissing, "integration", finding));
    }
    Ok(())
}

/// One set by its name and by its ARN is the same.
fn refuse_twice(units: &[What]) -> Result<(), Status> {
    for (at, unit) in units.iter().enumerate() {
        let is_same = |other: &What| other.mechanism == unit.mechanism && other.plan == unit.plan;
        if units[..at].iter().any(is_same) {
            let on = if unit.resource.is_empty() { unit.account.as_str() } else { &unit.resource };
            let reason = format!("hold {} on {on} twice; remove one", unit.permission);
            return Err(status::bad_request("units", reason));
        }
    }
    Ok(())
}
