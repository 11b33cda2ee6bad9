//! What AWS gives so many of: counted before one more is made, so that a grant is refused with advice
//! and not half made.

use super::{Quotas, step::Ground};
use crate::{
    model::{
        assignment::InAccount,
        ids::AccountId,
        refusal::{Refusal, RefusalCode},
    },
    store::{
        self, PgConnection,
        quotas::{self, Counts},
    },
};

/// Why a permission set of ours cannot be assigned in an account; none: there is room.
pub(super) async fn full(
    tx: &mut PgConnection,
    ground: &Ground,
    own: &InAccount,
) -> store::Result<Option<Refusal>> {
    let InAccount { account, permission_set } = own;
    let of = (&ground.held.connector, ground.held.integration);
    let counts = quotas::counts(tx, of, permission_set, account).await?;
    let finding = lacking(&counts, &ground.engine.config.quotas, account);
    Ok(finding.map(|finding| Refusal::new(RefusalCode::QuotaExceeded, finding)))
}

/// What there is no room for.
fn lacking(counts: &Counts, quotas: &Quotas, account: &AccountId) -> Option<String> {
    let is_full = |is_there: bool, there_are: i64, most: u32| !is_there && there_are >= most.into();
    let Quotas { sets, sets_in_account, roles_in_account } = *quotas;
    if is_full(counts.has_set, counts.sets, sets) {
        return Some(format!(
            "the instance of Identity Center has {} permission sets, and AWS gives {sets} (access.permission_sets_max)",
            counts.sets
        ));
    }
    if is_full(counts.is_in_account, counts.sets_in_account, sets_in_account) {
        return Some(format!(
            "{account} has {} permission sets, and AWS gives {sets_in_account} (access.permission_sets_in_account_max)",
            counts.sets_in_account
        ));
    }
    if is_full(counts.is_in_account, counts.roles_in_account, roles_in_account) {
        return Some(format!(
            "{account} has {} roles, and AWS gives {roles_in_account} (access.roles_in_account_max)",
            counts.roles_in_account
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_is_refused_where_there_is_no_room_and_what_is_there_is_not_counted_again() {
        let quotas = Quotas { sets: 3, sets_in_account: 2, roles_in_account: 4 };
        let account = "111122223333".parse().expect("an account");
        let room = Counts {
            sets: 2,
            has_set: false,
            sets_in_account: 1,
            roles_in_account: 3,
            is_in_account: false,
        };
        let names = |counts: Counts| {
            let finding = lacking(&counts, &quotas, &account)?;
            finding.rsplit('(').next().map(|name| name.trim_end_matches(')').to_owned())
        };
        assert_eq!(names(room), None);
        let full = Some("access.permission_sets_max".to_owned());
        assert_eq!(names(Counts { sets: 3, ..room }), full);
        assert_eq!(names(Counts { sets: 3, has_set: true, ..room }), None);
        let full = Some("access.permission_sets_in_account_max".to_owned());
        assert_eq!(names(Counts { sets_in_account: 2, ..room }), full);
        let full = Some("access.roles_in_account_max".to_owned());
        assert_eq!(names(Counts { roles_in_account: 4, ..room }), full);
        let there = Counts { sets_in_account: 2, roles_in_account: 4, is_in_account: true, ..room };
        assert_eq!(names(there), None);
    }
}
