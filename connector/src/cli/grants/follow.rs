//! Following a grant: for people to see, and for commands to wait.
//!
//! A stream that is cut off, because the daemon stops or the way to it breaks, is asked for
//! again: its first message is the grant as it is by then, so that nothing is missed but what
//! came and went in between.

use std::{error::Error as _, ops::ControlFlow, time::Duration};

use apono_connector_proto::v1::{
    Grant, GrantState, GrantUnit, UnitState, WatchGrantRequest, WatchGrantResponse,
};
use indicatif::ProgressBar;
use prost_types::Timestamp;
use tonic::{Code, Status};

use super::{Api, show};
use crate::{
    base::{backoff::Backoff, clock},
    cli::{
        connect::Client,
        output::{Format, failure, json_line, say, shown, time, word},
    },
};

/// How often a stream is asked for again when it is cut off soon each time: about half a minute.
const RECONNECTS_MAX: u32 = 5;
const RECONNECT: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(15) };
/// A stream that lasted so long was a good one: after it, counting begins anew.
const GOOD_STREAM_SECONDS: i64 = 60;
/// Between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// Waiting for what was asked to be done in AWS.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct WaitFlags {
    /// Waits until it is done in AWS, and fails when it cannot be.
    #[arg(long)]
    pub(super) wait: bool,
    /// How long to wait at most: 5m, 90s.
    #[arg(long, value_name = "DURATION", default_value = "5m", requires = "wait")]
    pub(super) timeout: humantime::Duration,
}

/// Prints what changes, until the grant has ended.
pub(super) async fn watch(client: &Client, grant_id: &str) -> anyhow::Result<()> {
    let mut api = Api::new(client.way.clone());
    let mut before: Option<Grant> = None;
    follow(&mut api, client, grant_id, |message| {
        let Some(grant) = &message.grant else { return Ok(ControlFlow::Continue(())) };
        match client.format {
            Format::Json => say!("{}", json_line(message)?),
            Format::Table => {
                for line in news(before.as_ref(), grant) {
                    say!("{line}");
                }
            }
        }
        before = Some(grant.clone());
        Ok(go_on_unless(is_over(grant.state())))
    })
    .await
}

/// Waits until `is_done`, or until the time is up: then the state is another. Returns the grant as
/// it was seen last; none: nothing was seen in time.
pub(super) async fn wait(
    api: &mut Api,
    client: &Client,
    grant_id: &str,
    timeout: Duration,
    is_done: fn(GrantState) -> bool,
) -> anyhow::Result<Option<Grant>> {
    let bar = match client.format {
        Format::Table => ProgressBar::new_spinner(),
        Format::Json => ProgressBar::hidden(),
    };
    bar.enable_steady_tick(TICK);
    let mut last: Option<Grant> = None;
    let following = follow(api, client, grant_id, |message| {
        let Some(grant) = &message.grant else { return Ok(ControlFlow::Continue(())) };
        bar.set_message(progress(grant));
        last = Some(grant.clone());
        Ok(go_on_unless(is_done(grant.state())))
    });
    let in_time = tokio::time::timeout(timeout, following).await;
    bar.finish_and_clear();
    if let Ok(ended) = in_time {
        ended?;
    }
    Ok(last)
}

fn go_on_unless(is_done: bool) -> ControlFlow<()> {
    if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Whether nothing happens to a grant any more.
pub(super) fn is_over(state: GrantState) -> bool {
    match state {
        GrantState::Ended | GrantState::Failed => true,
        GrantState::Pending | GrantState::Active | GrantState::Ending | GrantState::Unspecified => {
            false
        }
    }
}

/// Shows each message to `seen`, until it breaks off or the grant is over.
async fn follow(
    api: &mut Api,
    client: &Client,
    grant_id: &str,
    mut seen: impl FnMut(&WatchGrantResponse) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let mut failures = 0;
    loop {
        let began = clock::now();
        let error = match read(api, client, grant_id, &mut seen).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if (clock::now() - began).num_seconds() >= GOOD_STREAM_SECONDS {
            failures = 0;
        }
        failures += 1;
        if failures > RECONNECTS_MAX || !is_cut_off(&error) {
            return Err(error);
        }
        eprintln!("cut off, asking again: {}", shown(&failure(&error)));
        clock::sleep(RECONNECT.after(failures)).await;
    }
}

/// Reads one stream.
async fn read(
    api: &mut Api,
    client: &Client,
    grant_id: &str,
    seen: &mut impl FnMut(&WatchGrantResponse) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let request = WatchGrantRequest {
        connector_id: client.connector_id.clone(),
        grant_id: grant_id.to_owned(),
    };
    let mut messages = api.watch_grant(request).await?.into_inner();
    let mut state = GrantState::Unspecified;
    while let Some(message) = messages.message().await? {
        if let Some(grant) = &message.grant {
            state = grant.state();
        }
        if seen(&message)?.is_break() {
            return Ok(());
        }
    }
    if is_over(state) {
        return Ok(());
    }
    Err(Status::unavailable("the daemon ended the stream before the grant had ended").into())
}

/// Whether the daemon stops, or the way to it broke: what the daemon itself says has no source.
fn is_cut_off(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Status>()
        .is_some_and(|status| status.code() == Code::Unavailable || status.source().is_some())
}

/// How far a grant is: `pending, 1 of 3 units active`.
fn progress(grant: &Grant) -> String {
    let active = grant.units.iter().filter(|unit| unit.state() == UnitState::Active).count();
    format!("{}, {active} of {} units active", show::state(grant), grant.units.len())
}

/// A line for each unit that is not as it was before; if it is something else, one line.
fn news(before: Option<&Grant>, grant: &Grant) -> Vec<String> {
    if before == Some(grant) {
        return Vec::new();
    }
    let now = Timestamp { seconds: clock::now().timestamp(), nanos: 0 };
    let mut lines = Vec::new();
    for unit in &grant.units {
        let old = before.and_then(|before| before.units.iter().find(|old| is_same(old, unit)));
        if old == Some(unit) {
            continue;
        }
        let has_moved = old.is_none_or(|old| old.state != unit.state);
        let at = if has_moved { unit.state_time.as_ref() } else { None };
        let note = match show::note(unit) {
            note if note.is_empty() => note,
            note => format!(" ({note})"),
        };
        let state = word(unit.state().as_str_name(), "UNIT_STATE_");
        let what = format!("{}  {state}{note}", show::unit(unit));
        lines.push(line(at.unwrap_or(&now), grant, &what));
    }
    if lines.is_empty() {
        lines.push(line(&now, grant, &show::what(grant)));
    }
    lines
}

fn line(at: &Timestamp, grant: &Grant, what: &str) -> String {
    let is_open = match grant.state() {
        GrantState::Pending | GrantState::Active | GrantState::Unspecified => true,
        GrantState::Ending | GrantState::Ended | GrantState::Failed => false,
    };
    let ends = match &grant.expire_time {
        Some(expire_time) if is_open => format!("  ends {}", show::distance(expire_time)),
        Some(_) | None => String::new(),
    };
    // On one line, whatever strangers wrote.
    let line = format!("{}  {}  {what}{ends}", time(Some(at)), show::state(grant));
    line.replace('\n', "\\n")
}

/// Whether it is the same unit, in whatever state.
fn is_same(one: &GrantUnit, other: &GrantUnit) -> bool {
    one.account_id == other.account_id
        && one.permission_set_arn == other.permission_set_arn
        && (&one.resource, &one.permission) == (&other.resource, &other.permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(account: &str, state: UnitState) -> GrantUnit {
        GrantUnit {
            account_id: account.to_owned(),
            permission_set: "ReadOnly".to_owned(),
            state: state.into(),
            state_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            ..Default::default()
        }
    }

    fn grant(state: GrantState, units: Vec<GrantUnit>) -> Grant {
        Grant { state: state.into(), units, ..Default::default() }
    }

    #[test]
    fn only_units_that_changed_are_told() {
        let pending = unit("222222222222", UnitState::Pending);
        let active = unit("222222222222", UnitState::Active);
        let other = unit("333333333333", UnitState::Active);
        let before = grant(GrantState::Pending, vec![pending, other.clone()]);
        assert_eq!(news(None, &before).len(), 2);
        assert!(news(Some(&before), &before).is_empty());
        let after = grant(GrantState::Active, vec![active, other]);
        let told = news(Some(&before), &after);
        assert_eq!(told, ["2027-01-15T08:00:00Z  active  222222222222/ReadOnly  active"]);
    }

    #[test]
    fn an_extension_is_one_line() {
        let before = grant(GrantState::Active, vec![unit("222222222222", UnitState::Active)]);
        let end = Timestamp { seconds: clock::now().timestamp() + 7200, nanos: 0 };
        let after = Grant { expire_time: Some(end), ..before.clone() };
        let told = news(Some(&before), &after);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("ends in "), "{told:?}");
    }

    #[test]
    fn a_stream_is_asked_for_again_only_when_it_was_cut_off() {
        assert!(is_cut_off(&Status::unavailable("the daemon stops; watch again").into()));
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert!(is_cut_off(&broken.into()));
        assert!(!is_cut_off(&Status::not_found("no such grant").into()));
        assert!(!is_cut_off(&anyhow::anyhow!("something else")));
    }
}
