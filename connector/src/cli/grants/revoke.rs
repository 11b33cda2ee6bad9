//! Ending grants: one, or all that fit.

use std::io::IsTerminal as _;

use anyhow::{bail, ensure};
use apono_connector_proto::v1::{
    Grant, GrantState, ListGrantsRequest, Recipient, RevokeAllRequest, RevokeRequest,
    recipient::Who,
};
use clap::ArgGroup;

use super::{
    Api,
    asked::{RECIPIENT_ARGS, RecipientFlags, account},
    follow::{WaitFlags, is_over, wait},
    lists, show,
};
use crate::cli::{
    connect::Client,
    output::{Format, say, shown},
};

/// Grants that are looked at before a person is asked whether to end them.
const COUNTED_MAX: usize = 1000;
/// Grants that are named then.
const NAMED_MAX: usize = 20;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Revoke {
    /// Id of the grant.
    #[arg(value_name = "ID")]
    grant: String,
    /// A grant that is not known is no error; one that comes later with this id is refused.
    #[arg(long)]
    allow_missing: bool,
    /// Why, for those who look at it later.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    waiting: WaitFlags,
}

impl Revoke {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = Api::new(client.way.clone());
        let (grant_id, waiting) = (self.grant, self.waiting);
        let request = RevokeRequest {
            connector_id: client.connector_id.clone(),
            grant_id: grant_id.clone(),
            allow_missing: self.allow_missing,
            reason: self.reason,
        };
        let mut answer = api.revoke(request).await?.into_inner();
        if answer.grant.is_none() && client.format == Format::Table {
            say!("{grant_id} was not known; from now on a grant with this id is refused");
            return Ok(());
        }
        if waiting.wait && answer.grant.is_some() {
            let last = wait(&mut api, client, &grant_id, *waiting.timeout, is_over).await?;
            if let Some(last) = last {
                answer.grant = Some(last);
            }
        }
        show::answer(client, &answer, answer.grant.as_ref())?;
        match &answer.grant {
            Some(grant) if waiting.wait && !is_over(grant.state()) => bail!(
                "it has not ended after {}; the daemon goes on with it (`grants watch {grant_id}`)",
                waiting.timeout
            ),
            Some(_) | None => Ok(()),
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which")
    .required(true)
    .multiple(true)
    .args(["integration", "account", "everything"])
    .args(RECIPIENT_ARGS))]
pub(in crate::cli) struct RevokeAll {
    /// Only of this integration, id or name.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    integration: String,
    #[command(flatten)]
    recipient: RecipientFlags,
    /// Only grants with a unit in this account; all of their units end.
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
    /// All grants of the connector.
    #[arg(long, conflicts_with_all = ["integration", "account", "recipient"])]
    everything: bool,
    /// Why, for those who look at it later.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

impl RevokeAll {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = Api::new(client.way.clone());
        let request = RevokeAllRequest {
            connector_id: client.connector_id.clone(),
            integration: self.integration,
            recipient: self.recipient.recipient(),
            account_id: self.account.unwrap_or_default(),
            everything: self.everything,
            reason: self.reason,
        };
        if !self.yes {
            confirm(&mut api, &request).await?;
        }
        let answer = api.revoke_all(request).await?.into_inner();
        if answer.grant_ids.is_empty() && client.format == Format::Table {
            say!("no live grant fits");
            return Ok(());
        }
        let rows = answer.grant_ids.iter().map(|id| vec![id.clone()]);
        client.print(&answer, &["ended"], rows)
    }
}

/// Shows which grants would end, as far as can be seen from here, and asks.
async fn confirm(api: &mut Api, request: &RevokeAllRequest) -> anyhow::Result<()> {
    ensure!(std::io::stdin().is_terminal(), "there is no terminal to ask on; say --yes");
    let listed = ListGrantsRequest {
        connector_id: request.connector_id.clone(),
        integration: request.integration.clone(),
        ..Default::default()
    };
    let (grants, is_cut) = lists::grants(api, listed, COUNTED_MAX).await?;
    let meant: Vec<&Grant> = grants.iter().filter(|grant| is_meant(grant, request)).collect();
    for grant in meant.iter().take(NAMED_MAX) {
        let who = show::recipient(grant.recipient.as_ref());
        let line = format!("  {}  {who}  {}", grant.id, show::what(grant)).replace('\n', "\\n");
        eprintln!("{}", shown(&line));
    }
    if meant.len() > NAMED_MAX {
        eprintln!("  and {} more", meant.len() - NAMED_MAX);
    }
    if request.recipient.is_some() {
        eprintln!("grants that name the same recipient in another way end, too");
    }
    let at_least = if is_cut { "at least " } else { "" };
    let question = match meant.len() {
        1 => format!("End {at_least}1 live grant?"),
        count => format!("End {at_least}{count} live grants?"),
    };
    let is_sure = inquire::Confirm::new(&question).with_default(false).prompt()?;
    ensure!(is_sure, "nothing was ended");
    Ok(())
}

/// Whether a grant is live and fits, as far as a client can tell: the daemon decides.
fn is_meant(grant: &Grant, request: &RevokeAllRequest) -> bool {
    let is_live = match grant.state() {
        GrantState::Pending | GrantState::Active | GrantState::Unspecified => true,
        GrantState::Ending | GrantState::Ended | GrantState::Failed => false,
    };
    let account = request.account_id.as_str();
    is_live
        && request.recipient.as_ref().is_none_or(|recipient| receives(grant, recipient))
        && (account.is_empty() || grant.units.iter().any(|unit| unit.account_id == account))
}

fn receives(grant: &Grant, recipient: &Recipient) -> bool {
    let is_principal = match &recipient.who {
        Some(Who::UserId(id) | Who::GroupId(id) | Who::IamUserArn(id)) => *id == grant.principal_id,
        Some(Who::UserEmail(_) | Who::UserName(_) | Who::GroupName(_)) | None => false,
    };
    is_principal || grant.recipient.as_ref() == Some(recipient)
}

#[cfg(test)]
mod tests {
    use apono_connector_proto::v1::GrantUnit;

    use super::*;

    #[test]
    fn live_grants_of_the_account_and_the_recipient_are_meant() {
        let recipient = |who| Some(Recipient { who: Some(who) });
        let unit = GrantUnit { account_id: "222222222222".to_owned(), ..Default::default() };
        let grant = Grant {
            state: GrantState::Active.into(),
            recipient: recipient(Who::UserEmail("ann@example.com".to_owned())),
            principal_id: "u-1".to_owned(),
            units: vec![unit],
            ..Default::default()
        };
        let all = RevokeAllRequest { everything: true, ..Default::default() };
        assert!(is_meant(&grant, &all));
        let over = Grant { state: GrantState::Ending.into(), ..grant.clone() };
        assert!(!is_meant(&over, &all));
        for (who, is_hers) in [("u-1", true), ("u-2", false)] {
            let recipient = recipient(Who::UserId(who.to_owned()));
            let of_one = RevokeAllRequest { recipient, ..Default::default() };
            assert_eq!(is_meant(&grant, &of_one), is_hers, "{who}");
        }
        let account_id = "333333333333".to_owned();
        assert!(!is_meant(&grant, &RevokeAllRequest { account_id, ..Default::default() }));
    }
}
