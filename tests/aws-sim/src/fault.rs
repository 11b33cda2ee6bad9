//! Faults by rule: where, how often, and what happens.

use std::time::Duration;

use chrono::TimeDelta;

use crate::{answer::Refusal, request::Call};

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Effect {
    /// It is refused.
    Refuse(Refusal),
    /// It is refused as the service throttles.
    Throttle,
    /// A service control policy denies it.
    DenyByScp,
    /// The connection is cut without an answer.
    Reset,
    /// No answer comes, ever.
    Hang,
    /// The answer comes late.
    Delay(Duration),
    /// So much time has passed by the time it arrives: sessions may have ended.
    TimePasses(TimeDelta),
}

/// A rule. Empty texts match everything.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Account of the caller.
    pub account: String,
    /// Region.
    pub region: String,
    /// IAM action: `ec2:DescribeInstances`.
    pub action: String,
    /// Only calls with a page token (true), or without (false).
    pub with_token: Option<bool>,
    /// Only this page of a list, from 1.
    pub page: Option<usize>,
    /// Matching calls that pass before it begins.
    pub after: u32,
    /// How often it happens; none: for ever.
    pub times: Option<u32>,
    /// What happens.
    pub effect: Effect,
}

impl Fault {
    /// A fault of every call, for ever; narrow it with the other methods.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self {
            account: String::new(),
            region: String::new(),
            action: String::new(),
            with_token: None,
            page: None,
            after: 0,
            times: None,
            effect,
        }
    }

    /// Only calls that need this action.
    #[must_use]
    pub fn on(mut self, action: &str) -> Self {
        action.clone_into(&mut self.action);
        self
    }

    /// Only calls from this account.
    #[must_use]
    pub fn in_account(mut self, account: &str) -> Self {
        account.clone_into(&mut self.account);
        self
    }

    /// Only calls to this region.
    #[must_use]
    pub fn in_region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// Only pages after the first.
    #[must_use]
    pub fn on_later_pages(mut self) -> Self {
        self.with_token = Some(true);
        self
    }

    /// Only this page of a list, from 1.
    #[must_use]
    pub fn on_page(mut self, page: usize) -> Self {
        self.page = Some(page);
        self
    }

    /// Only after so many matching calls have passed.
    #[must_use]
    pub fn after(mut self, calls: u32) -> Self {
        self.after = calls;
        self
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn matches(&self, account: &str, call: &Call) -> bool {
        let matches = |rule: &str, found: &str| rule.is_empty() || rule == found;
        matches(&self.account, account)
            && matches(&self.region, &call.region)
            && matches(&self.action, &call.action())
            && self.with_token.is_none_or(|with| with == call.token().is_some())
            && self.page.is_none_or(|page| page == call.page_number())
    }
}

/// The first fault that a call meets; it is used up by that.
pub(crate) fn strike(faults: &mut [Fault], account: &str, call: &Call) -> Option<Effect> {
    let fault =
        faults.iter_mut().find(|fault| fault.times != Some(0) && fault.matches(account, call))?;
    if fault.after > 0 {
        fault.after -= 1;
        return None;
    }
    if let Some(times) = &mut fault.times {
        *times -= 1;
    }
    Some(fault.effect.clone())
}
