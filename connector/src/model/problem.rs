//! Problems: reasons folded over the places where they show, in plain words.

use std::{collections::BTreeMap, str::FromStr};

use super::failure::{Reason, ReasonCode};

/// Places shown of each problem.
pub const EXAMPLES_MAX: usize = 5;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing: somebody decided so.
    Notice,
    /// Part of the inventory is not read.
    Warning,
    /// Nothing can be read.
    Error,
}

impl Severity {
    /// For metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One problem of an integration's last sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The code.
    pub code: ReasonCode,
    /// What tells it from others of its code.
    pub subject: String,
    /// In how many places it shows.
    pub count: i64,
    /// Some of the places.
    pub examples: Vec<String>,
}

/// Folds reasons by code and subject; each comes with the place where it showed.
#[must_use]
pub fn fold(reasons: impl IntoIterator<Item = (Reason, String)>) -> Vec<Folded> {
    let mut folded: BTreeMap<(ReasonCode, String), (i64, Vec<String>)> = BTreeMap::new();
    for (reason, place) in reasons {
        let (count, examples) = folded.entry((reason.code, reason.subject)).or_default();
        *count += 1;
        if examples.len() < EXAMPLES_MAX {
            examples.push(place);
        }
    }
    folded
        .into_iter()
        .map(|((code, subject), (count, examples))| Folded { code, subject, count, examples })
        .collect()
}

/// Puts problems of one code and subject together.
#[must_use]
pub fn merge(problems: impl IntoIterator<Item = Folded>) -> Vec<Folded> {
    let mut merged: BTreeMap<(ReasonCode, String), Folded> = BTreeMap::new();
    for problem in problems {
        match merged.get_mut(&(problem.code, problem.subject.clone())) {
            Some(there) => {
                there.count += problem.count;
                there.examples.extend(problem.examples);
                there.examples.truncate(EXAMPLES_MAX);
            }
            None => {
                merged.insert((problem.code, problem.subject.clone()), problem);
            }
        }
    }
    merged.into_values().collect()
}

/// What a code means to people.
pub struct Explanation {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

/// Explains a problem.
#[expect(clippy::too_many_lines, reason = "a table: one entry a code")]
#[must_use]
pub fn explain(code: ReasonCode, subject: &str) -> Explanation {
    use Severity::{Error, Notice, Warning};
    let (severity, cause, remedy) = match code {
        ReasonCode::OwnIdentityUnavailable => (
            Error,
            "The daemon has no AWS identity that AWS accepts.".to_owned(),
            "Give the host an AWS role (instance profile, ECS task role, IRSA, Pod Identity) or set a profile.".to_owned(),
        ),
        ReasonCode::ManagementRoleDenied => (
            Error,
            format!("The management role {subject} cannot be assumed."),
            "Deploy or update the CloudFormation stack in the management account with this connector's AponoConnectorId and ConnectorRoleArn.".to_owned(),
        ),
        ReasonCode::MemberRoleDenied => (
            Warning,
            format!("The member role {subject} cannot be assumed in some accounts."),
            "Check in the management account that the StackSet has a current stack instance in each of these accounts, or exclude their organizational unit.".to_owned(),
        ),
        ReasonCode::MemberRolePending => (
            Notice,
            format!("The member role {subject} is not there yet in accounts that are new."),
            "Nothing, for the first hour: the StackSet deploys to new accounts by itself.".to_owned(),
        ),
        ReasonCode::AccountMismatch => (
            Error,
            format!("A role led to another account than expected: {subject}."),
            "Correct the management role ARN, or delete the role and deploy the stack again; nothing was read through it.".to_owned(),
        ),
        ReasonCode::OrganizationMismatch => (
            Error,
            format!("The management role now belongs to another organization: {subject}."),
            "Connect that organization as a new integration; nothing was read through the role.".to_owned(),
        ),
        ReasonCode::CredentialsExpired => (
            Warning,
            format!("Credentials of {subject} ended during the sync and could not be renewed."),
            "Check that the role's trust policy still names this connector; the next sync tries again.".to_owned(),
        ),
        ReasonCode::ActionDenied => (
            Warning,
            format!("The role may not call {subject}."),
            "Update the stack and its StackSet to the template of this version.".to_owned(),
        ),
        ReasonCode::DeniedByScp => (
            Notice,
            "A service control policy forbids reading some places.".to_owned(),
            "Nothing, if that is meant; else exempt the apono- roles in the policy.".to_owned(),
        ),
        ReasonCode::RegionNotEnabled => (
            Notice,
            "Some of the chosen regions are not enabled in some accounts.".to_owned(),
            "Nothing, if that is meant; else enable the region in the account.".to_owned(),
        ),
        ReasonCode::NotCovered => (
            Notice,
            "Some places are no longer read.".to_owned(),
            "Nothing, if that is meant; what was found there is kept, marked stale.".to_owned(),
        ),
        ReasonCode::Throttled => (
            Warning,
            format!("AWS kept asking to slow down ({subject})."),
            "Nothing for now: the next sync tries again. If it stays, lower `aws.rate_share`, or make syncs rarer.".to_owned(),
        ),
        ReasonCode::Unreachable => (
            Warning,
            format!("AWS did not answer ({subject})."),
            "Check the way out: proxy, DNS, firewall, VPC endpoints. The next sync tries again.".to_owned(),
        ),
        ReasonCode::ServiceError => (
            Warning,
            format!("AWS answered with an error ({subject})."),
            "Nothing for now: the next sync tries again. If it stays, open a case with AWS.".to_owned(),
        ),
        ReasonCode::UnreadableAnswer => (
            Warning,
            format!("An answer of AWS could not be understood ({subject})."),
            "Check for a proxy that changes answers; else report it with the log line.".to_owned(),
        ),
        ReasonCode::RemovalHeld => (
            Warning,
            format!("So many resources of {subject} are missing that they are kept for now."),
            "Nothing, if they are really gone: after three syncs that agree they go, or after `resources release`. Else find out who emptied it.".to_owned(),
        ),
        ReasonCode::IdentityCenterMissing => (
            Warning,
            format!("There is no instance of IAM Identity Center in {subject}."),
            "Set sso_region to the region of the instance (`check` finds it), or choose no resource types of Identity Center.".to_owned(),
        ),
        ReasonCode::ExcludedOuGone => (
            Warning,
            format!("The excluded organizational unit {subject} is no longer in the organization."),
            "Remove it from the settings, or exclude the unit that took its place.".to_owned(),
        ),
        ReasonCode::AccountStateUnknown => (
            Warning,
            format!("AWS reports an account state that this version does not know: {subject}."),
            "Update the connector. Until then these accounts are neither read nor removed.".to_owned(),
        ),
        ReasonCode::AccountNoLongerExcluded => (
            Notice,
            "Accounts have moved out of an excluded organizational unit.".to_owned(),
            "Nothing, if they may be read: the next sync does. Else move them back, or exclude the unit that they are in now.".to_owned(),
        ),
        ReasonCode::AccessStuck => (
            Warning,
            "Access that was granted is not given, or not taken away, and has not been for a minute.".to_owned(),
            "See `grants list --stuck` for why; the connector tries for ever, every 15 minutes at least.".to_owned(),
        ),
        ReasonCode::AccessRecovering => (
            Error,
            "The database may have forgotten access: it was restored, or another server took over. No access is given or taken away.".to_owned(),
            "See `recovery` for what AWS has that the database does not know, and end it with `recovery end`.".to_owned(),
        ),
        ReasonCode::AuditUnread => {
            let (code, about) = subject.split_once(' ').unwrap_or((subject, ""));
            let why = code.parse().ok().filter(|code| *code != ReasonCode::AuditUnread);
            let remedy = match why {
                Some(ReasonCode::ActionDenied) if about.starts_with("s3:") => {
                    "Set the stack's parameters TrailBucketArn and TrailKmsKeyArn, and see what `check` says of TRAIL_BUCKET and TRAIL_FILE.".to_owned()
                }
                Some(ReasonCode::ActionDenied) if about.starts_with("sqs:") => {
                    "Set the stack's parameter TrailQueueArn, and see what `check` says of TRAIL_QUEUE.".to_owned()
                }
                None | Some(ReasonCode::ActionDenied) => {
                    "Set the stack's parameter SessionAudit to Enabled; if it is, look for a service control policy.".to_owned()
                }
                Some(code) => explain(code, about).remedy,
            };
            let cause = format!("What was done with access is not read ({subject}).");
            (Warning, cause, format!("{remedy} Reading resumes where it was."))
        }
        ReasonCode::LogFileUnreadable => (
            Warning,
            format!("A log file of the trail is passed over ({subject}): it cannot be read to its end, or S3 does not hand it out."),
            "Look whether something else writes into the trail's bucket, or archives what is in it; else report it with the log line.".to_owned(),
        ),
        ReasonCode::TrailQueueForeign => (
            Warning,
            format!("The queue of the trail tells of something else ({subject}); that is left in it."),
            "Have the trail's bucket notify a queue of its own, and set trail.queue_url to it.".to_owned(),
        ),
        ReasonCode::Internal => (
            Warning,
            format!("Reading failed inside the connector ({subject})."),
            "Report it with the log lines of the sync; the next sync tries again.".to_owned(),
        ),
    };
    Explanation { severity, cause, remedy }
}

/// The severity of a stored code; an unknown one (of a newer version) is a warning.
#[must_use]
pub fn severity(code: &str) -> Severity {
    ReasonCode::from_str(code).map_or(Severity::Warning, |code| explain(code, "").severity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fold_by_code_and_subject_and_keep_few_examples() {
        let reasons = (0..20).map(|n| {
            let subject = if n % 2 == 0 { "ec2:DescribeInstances" } else { "s3:ListAllMyBuckets" };
            (Reason::new(ReasonCode::ActionDenied, subject, "no"), format!("place {n}"))
        });
        let folded = fold(reasons);
        assert_eq!(folded.len(), 2);
        assert!(folded.iter().all(|p| p.count == 10 && p.examples.len() == EXAMPLES_MAX));
        let merged = merge(folded.iter().cloned().chain(folded.clone()));
        assert_eq!(merged.len(), 2);
        assert!(merged.iter().all(|p| p.count == 20 && p.examples.len() == EXAMPLES_MAX));
    }

    #[test]
    fn every_code_has_a_cause_and_a_remedy_in_sentences() {
        for code in ReasonCode::ALL {
            let explanation = explain(*code, "SUBJECT");
            for text in [explanation.cause, explanation.remedy] {
                assert!(text.ends_with('.'), "{code}: {text}");
            }
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
    }
}
