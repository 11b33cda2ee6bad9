//! What a rule may look at, and how Cedar sees it.

use std::error::Error;

use cedar_policy::{
    Context, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};

/// What receives access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person.
    User,
    /// A group of people.
    Group,
    /// A user of IAM.
    IamUser,
}

/// What a permission is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On<'a> {
    /// A permission set in the account.
    PermissionSet {
        /// Its name.
        name: &'a str,
    },
    /// Anything else.
    Resource {
        /// Its ARN.
        arn: &'a str,
        /// Its type.
        kind: &'a str,
        /// Its name.
        name: &'a str,
        /// What may be done there.
        permission: &'a str,
    },
}

/// What is asked for, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Name of the integration.
    pub integration: &'a str,
    /// What receives the access.
    pub recipient: Kind,
    /// Who: an e-mail address, a user name, a display name, an id, an ARN, as the caller named it.
    pub recipient_name: &'a str,
    /// Account id.
    pub account: &'a str,
    /// Name of the account.
    pub account_name: &'a str,
    /// Ids of the units that the account is in, from the root down.
    pub ous: &'a [String],
    /// What is asked for.
    pub on: On<'a>,
    /// Whole length of the grant, from its start to its end.
    pub duration_s: i64,
    /// Why; rules see it without the blanks around it.
    pub reason: &'a str,
    /// Who asks, in the words of the control plane.
    pub requester: &'a str,
    /// Who approved, in the words of the control plane.
    pub approver: &'a str,
}

impl Question<'_> {
    /// The question in Cedar's form, in the words of the schema.
    pub(super) fn request(&self, schema: &Schema) -> Result<Request, Box<dyn Error>> {
        let recipient = match self.recipient {
            Kind::User => "User",
            Kind::Group => "Group",
            Kind::IamUser => "IamUser",
        };
        let request = Request::new(
            entity(recipient, self.recipient_name)?,
            entity("Action", "grant")?,
            match self.on {
                On::PermissionSet { name } => entity("PermissionSet", name)?,
                On::Resource { arn, .. } => entity("Resource", arn)?,
            },
            self.context()?,
            Some(schema),
        )?;
        Ok(request)
    }

    fn context(&self) -> Result<Context, Box<dyn Error>> {
        let (permission, kind, name) = match self.on {
            On::PermissionSet { name } => (name, "aws-account", self.account_name),
            On::Resource { kind, name, permission, .. } => (permission, kind, name),
        };
        let pairs = [
            ("account", text(self.account)),
            ("account_name", text(self.account_name)),
            ("approver", text(self.approver)),
            ("duration_s", RestrictedExpression::new_long(self.duration_s)),
            ("integration", text(self.integration)),
            ("ous", RestrictedExpression::new_set(self.ous.iter().map(|ou| text(ou)))),
            ("permission", text(permission)),
            ("reason", text(self.reason.trim())),
            ("recipient", text(self.recipient_name)),
            ("requester", text(self.requester)),
            ("resource_name", text(name)),
            ("resource_type", text(kind)),
        ];
        Ok(Context::from_pairs(pairs.map(|(key, value)| (key.to_owned(), value)))?)
    }
}

fn entity(kind: &str, id: &str) -> Result<EntityUid, Box<dyn Error>> {
    let kind: EntityTypeName = kind.parse()?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}
