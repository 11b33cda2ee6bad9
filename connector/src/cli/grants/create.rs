//! Granting access, and waiting until it is there.

use anyhow::{bail, ensure};
use apono_connector_proto::v1::{
    AccessUnit, Grant, GrantRequest, GrantState, UnitState, ValidateGrantRequest, grant_request,
    validate_grant_request,
};

use super::{
    Api,
    asked::{EndFlags, RecipientFlags, label, labels, unit},
    follow::{WaitFlags, wait},
    show,
};
use crate::{
    base::chance,
    cli::{
        connect::Client,
        output::{STEP_HEADINGS, step_row},
    },
};

#[derive(Debug, clap::Args)]
#[command(mut_group("recipient", |group| group.required(true)))]
pub(in crate::cli) struct Create {
    /// Id of the grant, so that it can be asked for again; none: one is made up and printed.
    #[arg(value_name = "ID")]
    grant: Option<String>,
    /// Integration, id or name.
    #[arg(long, value_name = "NAME")]
    integration: String,
    #[command(flatten)]
    recipient: RecipientFlags,
    /// What: an account and the name or ARN of a permission set, or PERMISSION@ARN for a resource, as
    /// `resources types` and `resources list` show them; may be given more than once.
    #[arg(
        long = "unit",
        value_name = "ACCOUNT/PERMISSION_SET",
        required = true,
        value_parser = unit
    )]
    units: Vec<AccessUnit>,
    #[command(flatten)]
    end: EndFlags,
    /// Why, for those who look at it later.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who asks for it.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    requester: String,
    /// Who approved it.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    approver: String,
    /// A label; may be given more than once.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Tries it step by step, and grants nothing.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    #[command(flatten)]
    waiting: WaitFlags,
}

impl Create {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = Api::new(client.way.clone());
        let (waiting, dry_run) = (self.waiting, self.dry_run);
        let request = self.request(client)?;
        if dry_run {
            let answer = api.validate_grant(tried(request)).await?.into_inner();
            client.print(&answer, &STEP_HEADINGS, answer.steps.iter().map(step_row))?;
            ensure!(answer.is_valid, "this grant would be refused");
            return Ok(());
        }
        let grant_id = request.grant_id.clone();
        let mut answer = api.grant(request).await?.into_inner();
        if answer.existed {
            eprintln!("it was granted before");
        }
        if waiting.wait {
            let last = wait(&mut api, client, &grant_id, *waiting.timeout, is_settled).await?;
            if let Some(last) = last {
                answer.grant = Some(last);
            }
        }
        show::answer(client, &answer, answer.grant.as_ref())?;
        match &answer.grant {
            Some(grant) if waiting.wait => verdict(grant, waiting),
            Some(_) | None => Ok(()),
        }
    }

    fn request(self, client: &Client) -> anyhow::Result<GrantRequest> {
        let grant_id = self.grant.unwrap_or_else(|| {
            if self.dry_run {
                return String::new();
            }
            let made_up = chance::uuid().to_string();
            // Before the call: whoever hears no answer to it asks again with the same id.
            eprintln!("the grant's id is {made_up}");
            made_up
        });
        Ok(GrantRequest {
            connector_id: client.connector_id.clone(),
            integration: self.integration,
            grant_id,
            recipient: self.recipient.recipient(),
            units: self.units,
            end: Some(self.end.end()?),
            reason: self.reason,
            requester: self.requester,
            approver: self.approver,
            labels: labels(self.labels)?,
        })
    }
}

/// The same, only tried.
fn tried(request: GrantRequest) -> ValidateGrantRequest {
    let end = request.end.map(|end| match end {
        grant_request::End::ExpireTime(time) => validate_grant_request::End::ExpireTime(time),
        grant_request::End::Duration(length) => validate_grant_request::End::Duration(length),
    });
    ValidateGrantRequest {
        connector_id: request.connector_id,
        integration: request.integration,
        recipient: request.recipient,
        units: request.units,
        end,
        reason: request.reason,
        requester: request.requester,
        approver: request.approver,
    }
}

/// Whether waiting for access makes no sense any more.
fn is_settled(state: GrantState) -> bool {
    match state {
        GrantState::Active | GrantState::Ending | GrantState::Ended | GrantState::Failed => true,
        GrantState::Pending | GrantState::Unspecified => false,
    }
}

/// An error unless all that was asked for is there.
fn verdict(grant: &Grant, waiting: WaitFlags) -> anyhow::Result<()> {
    let units = grant.units.len();
    let failed = grant.units.iter().filter(|unit| unit.state() == UnitState::Failed).count();
    match grant.state() {
        GrantState::Active => {
            ensure!(failed == 0, "{failed} of {units} units cannot be granted");
            Ok(())
        }
        GrantState::Failed => bail!("no unit could be granted"),
        GrantState::Ending | GrantState::Ended => bail!("the grant is over"),
        GrantState::Pending | GrantState::Unspecified => bail!(
            "it is not active after {}; the daemon goes on with it (`grants watch {}`)",
            waiting.timeout,
            grant.id
        ),
    }
}

#[cfg(test)]
mod tests {
    use apono_connector_proto::v1::GrantUnit;

    use super::*;

    fn waited(state: GrantState, units: &[UnitState]) -> bool {
        let units = units
            .iter()
            .map(|state| GrantUnit { state: (*state).into(), ..Default::default() })
            .collect();
        let grant = Grant { state: state.into(), units, ..Default::default() };
        let waiting = WaitFlags { wait: true, timeout: std::time::Duration::from_mins(5).into() };
        verdict(&grant, waiting).is_ok()
    }

    #[test]
    fn waiting_succeeds_only_when_every_unit_is_active() {
        assert!(waited(GrantState::Active, &[UnitState::Active]));
        assert!(!waited(GrantState::Active, &[UnitState::Active, UnitState::Failed]));
        assert!(!waited(GrantState::Pending, &[UnitState::Active, UnitState::Pending]));
        assert!(!waited(GrantState::Failed, &[UnitState::Failed]));
        assert!(!waited(GrantState::Ended, &[UnitState::Ended]));
    }
}
