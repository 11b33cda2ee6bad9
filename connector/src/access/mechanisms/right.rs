//! What a mechanism may do in AWS: from it the templates and the policies are made.

/// A right that a mechanism needs.
#[derive(Debug)]
pub struct Right {
    /// Its name, beside the mechanism's title.
    pub name: &'static str,
    /// The IAM actions.
    pub actions: &'static [&'static str],
    /// On what.
    pub on: On,
    /// Where.
    pub when: &'static [When],
    /// For what.
    pub to: To,
}

/// What a right is about, in the words of CloudFormation: `${AWS::Partition}`, `${AWS::AccountId}`.
#[derive(Clone, Copy, Debug)]
pub enum On {
    /// Everything.
    Everything,
    /// Everything but these; one that is meant, to be tried.
    AllBut(&'static [&'static str], &'static str),
    /// These alone.
    Only(&'static [&'static str]),
}

/// A condition of a right.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// The condition key.
    pub key: &'static str,
    /// Its value; none: the connector's id.
    pub value: Option<&'static str>,
    /// Whether the value is a pattern of ARNs.
    pub is_like: bool,
}

impl When {
    /// The request, or what it is about, names this connector.
    pub(super) const fn by_connector(key: &'static str) -> Self {
        Self { key, value: None, is_like: false }
    }

    /// It has this value.
    pub(super) const fn text(key: &'static str, value: &'static str) -> Self {
        Self { key, value: Some(value), is_like: false }
    }

    /// How the value is tested.
    #[must_use]
    pub fn test(self) -> &'static str {
        if self.is_like { "ArnLike" } else { "StringEquals" }
    }

    /// It is an ARN of this pattern.
    pub(super) const fn like(key: &'static str, value: &'static str) -> Self {
        Self { key, value: Some(value), is_like: true }
    }
}

/// What a right is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Seeing what is there.
    Look,
    /// Giving access and taking it away.
    Change,
    /// The same in the management account, which is a choice of its own: it could change the role itself.
    ChangeManagementAccount,
}
