//! Why access is not granted, with what to do about it.

use std::{fmt, str::FromStr};

macro_rules! refusal_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $remedy:literal;)+) => {
        /// Why access is not granted. The texts are stable: they are stored and sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalCode {
            $($(#[$doc])* $variant,)+
        }

        impl RefusalCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What to do.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }
        }
    };
}

refusal_codes! {
    /// A rule beside the connector forbids it.
    Guardrail = "GUARDRAIL", "Ask for less, or have whoever runs the connector change the rule that is named.";
    /// Nobody of this name is in the identity store, or among the account's users.
    PrincipalUnknown = "PRINCIPAL_UNKNOWN", "Name a user or group of Identity Center as its directory does, or the ARN of a user of IAM; one that was provisioned just now shows after a while.";
    /// What was looked up is not what was named.
    PrincipalAmbiguous = "PRINCIPAL_AMBIGUOUS", "Name the user or group by its id in the identity store.";
    /// The user is disabled.
    PrincipalDisabled = "PRINCIPAL_DISABLED", "Enable the user in the identity provider first.";
    /// No such permission set was discovered.
    PermissionSetUnknown = "PERMISSION_SET_UNKNOWN", "Name one that `resources list 'type = aws-identity-center-permission-set'` shows; sync first if it is new.";
    /// No such resource was discovered.
    ResourceUnknown = "RESOURCE_UNKNOWN", "Name the ARN of one that `resources list` shows; sync first if it is new.";
    /// Nothing gives this permission on resources of this type.
    PermissionUnknown = "PERMISSION_UNKNOWN", "Name a permission that `resources types` shows for the type; in an account, name a permission set.";
    /// The resource is not of the kind on which it can be given, or too little is known of it.
    ResourceUnfit = "RESOURCE_UNFIT", "Ask for the resource that is named instead; where something was not read, see `problems` and sync.";
    /// Nobody has said that it may be granted.
    NotGrantable = "NOT_GRANTABLE", "Give it the tag that is named, or make it in that path, and sync; where other resources are wanted, set access.untagged = \"allow\" and widen the member role.";
    /// Session Manager does not reach the instance.
    InstanceNotManaged = "INSTANCE_NOT_MANAGED", "Do what is said, see that SSM Agent runs on the instance and reaches Systems Manager, and sync.";
    /// Database users cannot log in through IAM.
    IamAuthenticationOff = "IAM_AUTHENTICATION_OFF", "Enable IAM database authentication, give the database user rds_iam (PostgreSQL) or AWSAuthenticationPlugin (MySQL, MariaDB), and sync.";
    /// No database user is named, or none that could be.
    DatabaseUserUnfit = "DATABASE_USER_UNFIT", "Name a database user behind the permission, as in CONNECT/app_ro; letters, digits and _ - . @, at most 63.";
    /// It cannot be given to such a recipient.
    RecipientUnfit = "RECIPIENT_UNFIT", "Name a recipient of the kind that can receive it: a user, not a group; of Identity Center, or of IAM in the same account.";
    /// The group is another directory's.
    GroupExternal = "GROUP_EXTERNAL", "Change the group at the identity provider that it comes from, or grant a permission set instead.";
    /// No such account was discovered.
    AccountUnknown = "ACCOUNT_UNKNOWN", "Name an account that `accounts list` shows; sync first if it is new.";
    /// The account is left out by the settings.
    AccountExcluded = "ACCOUNT_EXCLUDED", "Take its organizational unit off excluded_ou_ids, or ask for another account.";
    /// The person's policy in the account holds no more.
    PolicyFull = "POLICY_FULL", "Wait for another grant of the same person in the account to end, ask for fewer resources, or to a user of Identity Center grant a permission set instead.";
    /// The account is suspended or being closed.
    AccountNotActive = "ACCOUNT_NOT_ACTIVE", "Ask for another account, or have AWS reactivate this one.";
    /// The management account.
    ManagementAccount = "MANAGEMENT_ACCOUNT", "Ask for another account; where it is wanted, set access.management_account = \"allow\", and ManagementAccountAccess=Enabled in the stack.";
    /// The settings name no region of Identity Center, or there is no instance.
    IdentityCenterMissing = "IDENTITY_CENTER_MISSING", "Set sso_region to the region of the Identity Center instance.";
    /// The role may not do it.
    NotAllowed = "NOT_ALLOWED", "Update the stack with the mechanism's parameter Enabled, as the README lists it; if it is, look for a service control policy.";
    /// AWS takes no more of it.
    QuotaExceeded = "QUOTA_EXCEEDED", "Have the quota raised that is named, where AWS raises it, or remove what is not needed.";
    /// AWS did not tell.
    NotAnswered = "NOT_ANSWERED", "Try again; `problems` and `check` say why AWS does not answer.";
    /// What it is about is gone from AWS.
    NotThere = "NOT_THERE", "Check that permission set, account and recipient still exist, and sync.";
    /// AWS does not take the request.
    Invalid = "INVALID", "Read what AWS said; if it is no help, report it with the daemon's log.";
    /// Somebody else removed it.
    RemovedByOthers = "REMOVED_BY_OTHERS", "Find out who removed it, and grant it anew; access.on_removal = \"restore\" makes the connector restore it.";
    /// It was ended before it came.
    RevokedBefore = "REVOKED_BEFORE", "Nothing: a revoke with allow_missing came before the grant. Use another grant_id for new access.";
    /// The integration is switched off.
    IntegrationDisabled = "INTEGRATION_DISABLED", "Enable the integration first.";
    /// The integration is being removed.
    IntegrationDeleting = "INTEGRATION_DELETING", "Nothing: the integration is being removed.";
    /// The database may have forgotten what was granted.
    Recovering = "RECOVERING", "See `recovery` for what became of the access that the database has forgotten; an admin ends it with `recovery end`.";
    /// The database would be lost with the container.
    StateNotKept = "STATE_NOT_KEPT", "Mount a volume at state_directory, or set DATABASE_URL: ends of access must outlive the container.";
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RefusalCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.iter().copied();
        all.find(|code| code.as_str() == text).ok_or_else(|| format!("unknown refusal {text:?}"))
    }
}

/// Why access is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: RefusalCode,
    /// What was found.
    pub finding: String,
}

impl Refusal {
    /// The database may have forgotten what was granted.
    #[must_use]
    pub fn recovering() -> Self {
        let finding = "the database was restored, or another server took over";
        Self::new(RefusalCode::Recovering, finding)
    }

    /// A refusal.
    pub fn new(code: RefusalCode, finding: impl Into<String>) -> Self {
        Self { code, finding: finding.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.code, self.finding, self.code.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_and_has_a_remedy_in_sentences() {
        for code in RefusalCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!(code.remedy().ends_with('.'), "{code}");
        }
    }
}
