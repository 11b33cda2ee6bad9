//! What the units of a grant need in AWS, once it is known who receives them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    mechanisms::{self, Mechanism},
    quotas,
    step::Ground,
};
use crate::{
    base::chance,
    model::{
        assignment::{InAccount, Principal},
        holding::Holder,
        ids::TargetId,
        refusal::Refusal,
        unit::UnitState,
    },
    store::{self, PgConnection, audited_units, grants::Known, holdings, targets, units},
};

/// Ties the units of a grant to their targets, in the order in which targets are locked. There is room for
/// them ([`refusal`]).
pub(super) async fn all(
    tx: &mut PgConnection,
    ground: &Ground,
    grant: &str,
    known: Known<'_>,
    openings: &[Vec<InAccount>],
    until: DateTime<Utc>,
) -> store::Result<()> {
    let held = &ground.held;
    let Known { principal, names, user_name } = known;
    let is_audited = ground.site.is_audited() && !user_name.is_empty();
    // An audit may be a little late.
    let seen_within = ground.engine.config.audit * 2;
    let mut objects = BTreeMap::new();
    let units = units::list(tx, &held.connector, &[grant.to_owned()]).await?;
    for (unit, opened) in units.into_iter().zip(openings) {
        units::set_openings(tx, &held.connector, (grant, unit.number), opened).await?;
        let whose = mechanisms::Unit {
            connector: &held.connector,
            integration: held.integration,
            grant,
            number: unit.number,
            principal,
            names,
        };
        let (mechanism, of) = (mechanisms::of(&unit.what.mechanism), (grant, unit.number));
        if mechanism.is_some_and(<dyn Mechanism>::can_be_tried) {
            units::to_try(tx, &held.connector, of).await?;
        }
        let recipient = (held.integration, principal);
        let audited = mechanism.and_then(|one| one.audited(&unit.what, recipient));
        if let Some(audited) = audited.filter(|_| is_audited) {
            let whole = (&held.connector, held.integration);
            audited_units::expect(tx, whole, of, user_name, &audited).await?;
        }
        let needed = mechanisms::objects(&unit.what, &whose).map_err(|detail| {
            store::Error::Inconsistent { table: "units", column: "plan", detail }
        })?;
        for object in needed {
            objects.insert((object.key.clone(), object.mechanism, unit.number), object);
        }
    }
    for ((.., number), object) in objects {
        let of = (&held.connector, held.integration);
        let at_rest = if object.is_ours_alone {
            holdings::at_rest(tx, of, &object, seen_within, until).await?
        } else {
            None
        };
        let held_so = if let Some(target) = at_rest {
            (target, UnitState::Active)
        } else {
            let fresh = TargetId(chance::uuid());
            (targets::ensure(tx, of, fresh, &object).await?, UnitState::Pending)
        };
        holdings::tie(tx, &held.connector, (grant, number), held_so, &object).await?;
    }
    Ok(())
}

/// Why there is no room for units by these plans, for somebody: one of their targets cannot hold what they
/// would put in, or AWS gives no more of them. None: there is. Whoever is tied later is counted later.
pub(super) async fn refusal(
    conn: &mut PgConnection,
    ground: &Ground,
    plans: &[(String, Value)],
    (principal, names): (&Principal, &[String]),
) -> store::Result<Option<Refusal>> {
    let held = &ground.held;
    let now = store::now(conn).await?;
    let mut shared: BTreeMap<(&str, String), Vec<Holder>> = BTreeMap::new();
    let mut counted = BTreeSet::new();
    for (number, (name, plan)) in (0..).zip(plans) {
        let Some(mechanism) = mechanisms::of(name) else { continue };
        let own = mechanism.own_set(plan, (held.integration, principal));
        if let Some(own) = own.filter(|own| counted.insert(own.clone())) {
            let full = quotas::full(conn, ground, &own).await?;
            if full.is_some() {
                return Ok(full);
            }
        }
        let unit = mechanisms::Unit {
            connector: &held.connector,
            integration: held.integration,
            grant: "",
            number,
            principal,
            names,
        };
        for object in mechanism.objects(plan, &unit).unwrap_or_default() {
            let Some(share) = object.share.clone() else { continue };
            let holders = match shared.entry((object.mechanism, object.key.clone())) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let of = (&held.connector, held.integration);
                    let target = holdings::target_of(conn, of, &object).await?;
                    unknown.insert(match target {
                        Some(id) => holdings::holders(conn, &held.connector, id).await?,
                        None => Vec::new(),
                    })
                }
            };
            holders.push(Holder::to_come(number, now, share));
        }
    }
    let unfit = shared
        .iter()
        .find_map(|((kind, _), holders)| mechanisms::kind(kind)?.fits(holders, now).err());
    Ok(unfit)
}
