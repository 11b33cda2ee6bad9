//! Who the recipient of a grant is, and what the grant needs for them in AWS: looked up once, before
//! anything is done.
//!
//! Whatever is not certain, forbidden by a rule under another name of the recipient, or opens what must
//! not be opened, refuses the whole grant; what AWS does not tell is asked again.

use std::time::Duration;

use chrono::TimeDelta;

use super::{
    mechanisms::{self, Error},
    principals::{self, Found},
    rules::{self, Asked},
    step::{Ground, renew_if_ended},
    tie,
};
use crate::{
    base::backoff::Backoff,
    model::{
        assignment::InAccount,
        grant::Recipient,
        ids::AccountId,
        organization::Coverage,
        refusal::{Refusal, RefusalCode},
        unit::UnitState,
    },
    store::{
        self, PgConnection,
        acts::{self, New},
        grants::{self, Grant, Known},
        identity_centers::{self, Held},
        integrations,
        lookups::{self, Lookup, Told},
        organization, units,
    },
};

/// After a lookup that failed.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(1), max: Duration::from_mins(5) };

/// Finds out who somebody is, and what each of the plans would open beside what it says.
async fn find(
    ground: &Ground,
    recipient: &Recipient,
    plans: &[(String, serde_json::Value)],
) -> Result<(Found, Vec<Vec<InAccount>>), Error> {
    let Ground { engine, site, .. } = ground;
    let spared = site.management_account();
    if let Some(user) = recipient.iam_user() {
        is_member(ground, user.account()).await?;
    }
    let found = principals::find(site, recipient).await?;
    let mut openings = Vec::with_capacity(plans.len());
    for (name, plan) in plans {
        let mechanism = mechanisms::of(name).ok_or_else(|| Error::Unknown(name.clone()))?;
        let opened = mechanism.openings(site, plan).await?;
        let is_spared = !engine.config.management_account;
        if is_spared && opened.iter().any(|one| one.account == *spared) {
            let finding = format!("it would open the management account {spared}");
            return Err(Error::Refused(Refusal::new(RefusalCode::ManagementAccount, finding)));
        }
        openings.push(opened);
    }
    Ok((found, openings))
}

/// No account is reached for a user of IAM but one that is crawled, and no role of the management account.
async fn is_member(ground: &Ground, id: &AccountId) -> Result<(), Error> {
    let Ground { engine, site, held } = ground;
    let refused = |code, finding| Err(Error::Refused(Refusal::new(code, finding)));
    if id == site.management_account() {
        let finding = format!("{id} is the management account, in which IAM is not changed");
        return refused(RefusalCode::RecipientUnfit, finding);
    }
    let mut conn = engine.db.conn().await?;
    let found = organization::account(&mut conn, &held.connector, held.integration, id).await?;
    match found {
        Some(found) if found.coverage == Coverage::Crawled => Ok(()),
        _ => refused(RefusalCode::AccountUnknown, format!("the account {id} is not crawled")),
    }
}

/// Finds out who the recipient of a grant is, and ties the grant's units to their targets.
pub(super) async fn tie(ground: &Ground, grant: &Grant) -> store::Result<()> {
    let Ground { engine, held, .. } = ground;
    let mut conn = engine.db.conn().await?;
    let is_over = grant.until() <= store::now(&mut conn).await?;
    let units = units::list(&mut conn, &held.connector, std::slice::from_ref(&grant.id)).await?;
    drop(conn);
    let plans: Vec<_> =
        units.into_iter().map(|unit| (unit.what.mechanism, unit.what.plan)).collect();
    let found =
        if is_over { None } else { Some(find(ground, &grant.request.recipient, &plans).await) };
    let mut tx = engine.db.begin().await?;
    identity_centers::lock(&mut tx, held).await?;
    let Some(now_is) = grants::lock(&mut tx, &held.connector, &grant.id).await? else {
        return Ok(());
    };
    if now_is.is_looked_up {
        return Ok(());
    }
    let now = store::now(&mut tx).await?;
    if now_is.until() <= now {
        move_all(&mut tx, held, &grant.id, UnitState::Ended, None).await?;
        grants::end_lookup(&mut tx, &held.connector, &grant.id, None).await?;
        return tx.commit().await;
    }
    let (Found { principal, names, user_name }, openings) = match found {
        None => return Ok(()),
        Some(Ok((found, openings))) => {
            let forbidden = forbidden(&mut tx, ground, &now_is, (&found, &openings)).await?;
            if let Some(refusal) = forbidden {
                return refuse(tx, held, &grant.id, &refusal).await;
            }
            (found, openings)
        }
        Some(Err(Error::Refused(refusal))) => {
            return refuse(tx, held, &grant.id, &refusal).await;
        }
        Some(Err(error)) => {
            if let Error::Aws(error) = &error {
                renew_if_ended(ground, error).await;
                if let Some(refusal) = error.refusal() {
                    return refuse(tx, held, &grant.id, &refusal).await;
                }
            }
            let failures = u32::try_from(grant.lookup_failures).unwrap_or_default();
            let wait = AFTER_FAILURE.after(failures.saturating_add(1));
            let again = now + TimeDelta::from_std(wait).unwrap_or_default();
            let (at, trouble) = (again.min(now_is.until()), error.to_string());
            grants::postpone_lookup(&mut tx, &held.connector, &grant.id, at, &trouble).await?;
            return tx.commit().await;
        }
    };
    let whose = (&principal, names.as_slice());
    if let Some(refusal) = tie::refusal(&mut tx, ground, &plans, whose).await? {
        return refuse(tx, held, &grant.id, &refusal).await;
    }
    let known = Known { principal: &principal, names: &names, user_name: &user_name };
    tie::all(&mut tx, ground, &grant.id, known, &openings, now_is.until()).await?;
    grants::end_lookup(&mut tx, &held.connector, &grant.id, Some(known)).await?;
    let act = New {
        grant: &grant.id,
        verb: "RECIPIENT",
        actor: acts::CONNECTOR,
        object: "",
        detail: &format!("{} is {principal}", grant.request.recipient),
    };
    acts::note(&mut tx, &held.connector, act).await?;
    tx.commit().await
}

/// Why a rule forbids a grant for the recipient by another of its names: a rule about somebody
/// holds however a caller names them.
async fn forbidden(
    tx: &mut PgConnection,
    ground: &Ground,
    grant: &Grant,
    (found, openings): (&Found, &[Vec<InAccount>]),
) -> store::Result<Option<Refusal>> {
    let (engine, connector) = (&ground.engine, &ground.held.connector);
    let Some(of) = integrations::get(tx, connector, grant.integration).await? else {
        let finding = "the integration is gone";
        return Ok(Some(Refusal::new(RefusalCode::IntegrationDeleting, finding)));
    };
    let length_s = (grant.expires_at - grant.created_at).num_seconds();
    for unit in units::list(tx, connector, std::slice::from_ref(&grant.id)).await? {
        let account = &unit.what.account;
        let found_account = organization::account(tx, connector, of.id, account).await?;
        let Some(account) = found_account else {
            let finding = format!("the account {account} is gone");
            return Ok(Some(Refusal::new(RefusalCode::AccountUnknown, finding)));
        };
        for name in &found.names {
            let asked = Asked {
                of: &of,
                request: &grant.request,
                recipient: name,
                account: &account,
                on: rules::on(&unit.what),
                length_s,
            };
            if let Some(refusal) = rules::refusal(&engine.guard, asked) {
                return Ok(Some(refusal));
            }
        }
    }
    let openings = openings.iter().flatten().cloned().collect();
    let asked = (&of, &grant.request);
    rules::opened(tx, &engine.guard, asked, &found.names, &openings, length_s).await
}

/// Tells a caller who somebody is, as far as that can be told now.
pub(super) async fn answer(ground: &Ground, lookup: &Lookup) -> store::Result<()> {
    let found = find(ground, &lookup.recipient, &lookup.plans).await;
    let told = |(found, openings): (Found, Vec<Vec<InAccount>>)| {
        let openings = openings.into_iter().flatten().collect();
        Told { principal: found.principal, names: found.names, openings, lacking: None }
    };
    let found = found.map(told).map_err(|error| match error {
        Error::Refused(refusal) => refusal,
        Error::Aws(error) => error
            .refusal()
            .unwrap_or_else(|| Refusal::new(RefusalCode::NotAnswered, error.to_string())),
        Error::Store(_) | Error::Unknown(_) => {
            Refusal::new(RefusalCode::NotAnswered, error.to_string())
        }
    });
    let mut conn = ground.engine.db.conn().await?;
    let found = match found {
        Ok(told) => {
            let whose = (&told.principal, told.names.as_slice());
            let lacking = tie::refusal(&mut conn, ground, &lookup.plans, whose).await?;
            Ok(Told { lacking, ..told })
        }
        Err(refusal) => Err(refusal),
    };
    lookups::answer(&mut conn, &ground.held.connector, lookup.id, &found).await
}

async fn refuse(
    mut tx: store::Tx,
    held: &Held,
    grant: &str,
    refusal: &Refusal,
) -> store::Result<()> {
    move_all(&mut tx, held, grant, UnitState::Failed, Some(refusal)).await?;
    grants::end_lookup(&mut tx, &held.connector, grant, None).await?;
    tx.commit().await
}

/// Moves all units of a grant on that has no targets yet.
async fn move_all(
    tx: &mut PgConnection,
    held: &Held,
    grant: &str,
    to: UnitState,
    refusal: Option<&Refusal>,
) -> store::Result<()> {
    for unit in units::list(tx, &held.connector, &[grant.to_owned()]).await? {
        let states = (unit.state, to);
        units::set_state(tx, &held.connector, (grant, unit.number), states, refusal).await?;
    }
    let detail = refusal.map_or_else(|| to.to_string(), |refusal| format!("{to}: {refusal}"));
    let (verb, actor) = ("STATE", acts::CONNECTOR);
    acts::note(tx, &held.connector, New { grant, verb, actor, object: "", detail: &detail }).await
}
