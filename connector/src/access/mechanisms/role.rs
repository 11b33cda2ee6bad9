//! Assuming a role of IAM, for one person, until one second.
//!
//! It is generated access to the role ([`super::generated`]): a statement in the person's policy. Both sides
//! must allow it, so a statement in the role's trust policy lets the person in, unless that policy leaves it
//! to the account anyway. It stands at stage 0 and goes last; that the person's own statement is gone
//! before it is enough to end the access.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Error, GRANTABLE, IS_GRANTABLE, Kind, Mechanism, On, Permission, Plan, Portal, Right, To, Unit,
    Wish,
    generated::{self, GENERATED},
    read,
};
use crate::{
    access::site::Site,
    aws::ApiError,
    catalog::Ending,
    model::{
        assignment::{InAccount, Principal},
        details::Details,
        ids::IntegrationId,
        object::Object,
        refusal::Refusal,
        trust_document::Entry,
    },
    store::{audited_units::Audited, resources::Stored as Resource, units::What},
};

mod trust;

/// Assuming roles.
pub(super) static ROLES: &dyn Mechanism = &Roles;

struct Roles;

/// What is to be allowed, and the role.
#[derive(Serialize, Deserialize)]
struct Planned {
    generated: Value,
    role: String,
}

const ROLE: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/any";
const OUR_ROLES: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/apono-*";
const RESERVED_ROLES: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-reserved/*";
const SERVICE_ROLES: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/*";

const MEMBER_RIGHTS: &[Right] = &[
    Right { name: "Look", actions: &[trust::GET], on: On::Everything, when: &[], to: To::Look },
    Right {
        name: "Change",
        actions: &[trust::UPDATE],
        on: On::AllBut(&[OUR_ROLES, RESERVED_ROLES, SERVICE_ROLES], ROLE),
        when: &[IS_GRANTABLE],
        to: To::Change,
    },
];

#[async_trait]
impl Mechanism for Roles {
    fn name(&self) -> &'static str {
        "aws-iam-role-assumption"
    }

    fn title(&self) -> &'static str {
        "RoleAssumption"
    }

    fn description(&self) -> &'static str {
        "Let people assume IAM roles that are tagged apono:grantable=true; with GeneratedAccess"
    }

    fn member_rights(&self) -> &'static [Right] {
        MEMBER_RIGHTS
    }

    fn kinds(&self) -> &'static [&'static dyn Kind] {
        &[&trust::Statements]
    }

    fn permissions(&self, kind: &str) -> Vec<Permission> {
        generated::permissions(kind, |ending| ending == Ending::Hour)
    }

    fn withheld(&self, on: &Resource) -> Option<String> {
        let (tag, value) = GRANTABLE;
        let is_tagged = on.tags[tag] == value;
        (!is_tagged).then(|| format!("{} has not the tag {tag}={value}", on.arn))
    }

    fn plan(&self, wish: &Wish<'_>) -> Result<Plan, Refusal> {
        let plan = GENERATED.plan(wish)?;
        let planned = Planned { generated: plan.plan, role: wish.on.arn.clone() };
        Ok(Plan { plan: json!(planned), session: plan.session })
    }

    fn objects(&self, plan: &Value, unit: &Unit<'_>) -> Result<Vec<Object>, ApiError> {
        let Planned { generated, role } = read(trust::GET, plan)?;
        let mut objects = GENERATED.objects(&generated, unit)?;
        let account = role.split(":role/").next().unwrap_or_default().to_owned();
        let own = self.own_set(plan, (unit.integration, unit.principal));
        let number = unit.number.to_string();
        let entry = Entry {
            sid: Entry::sid_of(&[unit.connector.as_str(), unit.grant, &number]),
            account,
            set: own.map(|own| own.permission_set).unwrap_or_default(),
            session: unit.principal.id().to_owned(),
        };
        objects.push(trust::object(&role, &entry));
        Ok(objects)
    }

    fn own_set(&self, plan: &Value, whose: (IntegrationId, &Principal)) -> Option<InAccount> {
        let Planned { generated, .. } = read(trust::GET, plan).ok()?;
        GENERATED.own_set(&generated, whose)
    }

    async fn openings(&self, site: &Site, plan: &Value) -> Result<Vec<InAccount>, Error> {
        let Planned { generated, .. } = read(trust::GET, plan)?;
        GENERATED.openings(site, &generated).await
    }

    fn can_be_tried(&self) -> bool {
        true
    }

    async fn denials(
        &self,
        site: &Site,
        plan: &Value,
        whose: (IntegrationId, &Principal),
    ) -> Result<Vec<String>, ApiError> {
        let Planned { generated, .. } = read(trust::GET, plan)?;
        GENERATED.denials(site, &generated, whose).await
    }

    fn audited(&self, what: &What, whose: (IntegrationId, &Principal)) -> Option<Audited> {
        let Planned { generated, .. } = read(trust::GET, &what.plan).ok()?;
        GENERATED.audited(&What { plan: generated, ..what.clone() }, whose)
    }

    fn details(
        &self,
        what: &What,
        whose: (IntegrationId, &Principal),
        portal: Option<Portal<'_>>,
    ) -> Details {
        GENERATED.details(what, whose, portal)
    }
}
