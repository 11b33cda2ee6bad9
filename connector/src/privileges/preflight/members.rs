//! Can the member role be assumed, where, and by whom?

use futures::{StreamExt as _, stream};

use super::{Preflight, Report};
use crate::{
    aws::{Access, sessions::Kind},
    model::{arn::MEMBER_ROLE_NAME, failure::Reason, ids::AccountId, problem, validation::Step},
};

const CODE: &str = "MEMBER_ROLES";
/// Accounts that are tried; in a larger organization, as many evenly spread ones.
const TRIED_MAX: usize = 500;
/// Of them at once.
const AT_ONCE: usize = 16;
/// Accounts that are named.
const NAMED_MAX: usize = 5;

impl Preflight<'_> {
    pub(super) async fn members(
        &self,
        management: &AccountId,
        crawled: &[AccountId],
        report: Report<'_>,
    ) {
        let members: Vec<&AccountId> = crawled.iter().filter(|id| *id != management).collect();
        let stride = members.len().div_ceil(TRIED_MAX).max(1);
        let chosen: Vec<Access> =
            members.iter().step_by(stride).map(|id| self.member(id)).collect();
        let tried: Vec<Tried> = stream::iter(chosen).map(open).buffered(AT_ONCE).collect().await;
        report(summary(&tried, members.len()));
        if let Some((access, _)) = tried.iter().find(|(_, refused)| refused.is_none()) {
            report(self.external_id("MEMBER_EXTERNAL_ID", access.role()).await);
            report(self.member_actions(access).await);
            if let Some(step) = self.audit_actions("MEMBER_AUDIT", access).await {
                report(step);
            }
        }
    }

    fn member(&self, account: &AccountId) -> Access {
        let partition = self.settings.management_role_arn.partition();
        self.access(partition.role(account, MEMBER_ROLE_NAME), Kind::Member)
    }
}

/// An account's role, and why it could not be assumed.
type Tried = (Access, Option<Reason>);

async fn open(access: Access) -> Tried {
    // What was cached may be from before somebody changed the trust policy.
    access.renew().await;
    let refused = access.open().await.err().map(|error| error.meaning().reason);
    (access, refused)
}

fn summary(tried: &[Tried], of: usize) -> Step {
    let refused: Vec<(&AccountId, &Reason)> =
        tried.iter().filter_map(|(at, reason)| Some((at.account(), reason.as_ref()?))).collect();
    let good = tried.len() - refused.len();
    let mut finding =
        format!("{MEMBER_ROLE_NAME} can be assumed in {good} of {} member accounts", tried.len());
    if tried.len() < of {
        finding = format!("{finding} that were tried, of {of}");
    }
    let Some((_, first)) = refused.first() else { return Step::passed(CODE, finding) };
    let named: Vec<&str> = refused.iter().take(NAMED_MAX).map(|(id, _)| id.as_str()).collect();
    let more = if refused.len() > NAMED_MAX { ", …" } else { "" };
    let remedy = problem::explain(first.code, &first.subject).remedy;
    Step::warning(CODE, format!("{finding}; not in {}{more}", named.join(", ")), remedy)
}
