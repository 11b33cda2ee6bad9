//! Whether the rules of an organization deny what was given: IAM is asked once, a while after it has become
//! active, by when the policy counts. What it finds is a warning; that it does not answer is nothing.

use tracing::debug;

use super::{mechanisms, step::Ground};
use crate::{
    base::chain::Chain,
    store::{self, grants, units},
};

/// Actions that a warning names.
const NAMED_MAX: usize = 10;

/// Tries a unit, which nobody tries again.
pub(super) async fn run(ground: &Ground, (grant, number): (&str, i16)) -> store::Result<()> {
    let connector = &ground.held.connector;
    let mut conn = ground.engine.db.conn().await?;
    let found = grants::get(&mut conn, connector, grant).await?;
    let units = units::list(&mut conn, connector, &[grant.to_owned()]).await?;
    drop(conn);
    let unit = units.into_iter().find(|unit| unit.number == number);
    let principal = found.and_then(|found| found.principal);
    let (Some(unit), Some(principal)) = (unit, principal) else { return Ok(()) };
    let Some(mechanism) = mechanisms::of(&unit.what.mechanism) else { return Ok(()) };
    let whose = (ground.held.integration, &principal);
    match mechanism.denials(&ground.site, &unit.what.plan, whose).await {
        Ok(denied) if denied.is_empty() => Ok(()),
        Ok(denied) => {
            let warning = warning(&denied);
            let mut conn = ground.engine.db.conn().await?;
            units::warn(&mut conn, connector, (grant, number), &warning).await
        }
        Err(error) => {
            debug!(error = %Chain(&error), "unit {number} of {grant} could not be tried");
            Ok(())
        }
    }
}

fn warning(denied: &[String]) -> String {
    let named = denied[..denied.len().min(NAMED_MAX)].join(", ");
    let more = denied.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "policies of the organization may deny {named}{more}; ask whoever writes its service control policies"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_some_actions_and_how_many_more() {
        let many: Vec<String> = (0..12).map(|number| format!("s3:Action{number}")).collect();
        let said = warning(&many);
        assert!(said.contains("s3:Action9 and 2 more; ask"), "{said}");
        assert!(warning(&many[..1]).contains("may deny s3:Action0; ask"));
    }
}
