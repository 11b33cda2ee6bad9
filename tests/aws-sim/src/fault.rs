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
    /// The connection is cut without an answer, before the call is carried out.
    Reset,
    /// The call is carried out, and then the connection is cut without an answer.
    Cut,
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
    /// IAM action: `ec2:DescribeInstances`; `*` at its end stands for anything: `sso:*`.
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

    /// Only calls that need this action, or one that begins as it does before a `*`.
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
            && names(&self.action, &call.action())
            && self.with_token.is_none_or(|with| with == call.token().is_some())
            && self.page.is_none_or(|page| page == call.page_number())
    }
}

/// Whether a rule names an action: by its text, by its beginning before a `*`, or by being
/// empty, which names all.
pub(crate) fn names(rule: &str, action: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(beginning) => action.starts_with(beginning),
        None => rule.is_empty() || rule == action,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    fn call(service: &str, operation: &str) -> Call {
        Call {
            service: service.to_owned(),
            region: "eu-west-1".to_owned(),
            access_key: String::new(),
            operation: operation.to_owned(),
            form: BTreeMap::new(),
            json: Value::Null,
            path: String::new(),
            bucket: String::new(),
        }
    }

    #[test]
    fn a_fault_of_a_beginning_strikes_every_action_that_begins_so() {
        let other = call("ec2", "DescribeInstances");
        for operation in ["CreateAccountAssignment", "ListInstances"] {
            let mut faults = [Fault::new(Effect::Cut).on("sso:*").times(1)];
            assert!(strike(&mut faults, "111111111111", &other).is_none());
            let struck = strike(&mut faults, "111111111111", &call("sso", operation));
            assert!(matches!(struck, Some(Effect::Cut)), "{struck:?}");
            let again = strike(&mut faults, "111111111111", &call("sso", operation));
            assert!(again.is_none(), "{again:?}");
        }
    }

    #[test]
    fn a_rule_names_actions_by_text_by_beginning_or_all() {
        let action = "sso:CreateAccountAssignment";
        for rule in ["", "*", "sso:*", "sso:Create*", action] {
            assert!(names(rule, action), "{rule}");
        }
        for rule in ["sso:Delete*", "sso:CreateAccount", "sts:*", "*Assignment"] {
            assert!(!names(rule, action), "{rule}");
        }
    }
}
