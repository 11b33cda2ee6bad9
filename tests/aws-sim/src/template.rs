//! Roles, read from the CloudFormation templates that customers deploy.
//!
//! Of CloudFormation it knows what the templates use: parameters with defaults, conditions
//! that compare texts, `Ref`, `Fn::Sub` of a plain text, roles, policies that are added to
//! roles, and StackSets. `Fn::GetAtt` is left as it stands; whatever else it does not know
//! is an error.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

use crate::text::Text;

/// The account of a stack, where nobody tells it.
pub(crate) const UNKNOWN_ACCOUNT: &str = "000000000000";

/// A role, such as a template makes.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Trust policy.
    pub trust: Value,
    /// Inline policies.
    pub policies: Vec<Value>,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
}

impl Role {
    /// The same where its stack knows the account.
    #[must_use]
    pub(crate) fn in_account(&self, account: &str) -> Self {
        let named = |policy: &Value| {
            let named = policy.to_string().replace(UNKNOWN_ACCOUNT, account);
            serde_json::from_str(&named).expect("a policy")
        };
        Self { policies: self.policies.iter().map(named).collect(), ..self.clone() }
    }
}

/// A management template, rendered with its parameters.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Roles of the management account.
    pub management: Vec<Role>,
    /// Roles that the StackSet plants.
    pub member: Vec<Role>,
    /// The roles that it plants in the account that reads the trail, which is named beside them.
    pub reader: Option<(String, Vec<Role>)>,
    /// Managed policies that it plants, by name, in the path `/`.
    pub member_policies: Vec<(String, Value)>,
    /// The unit below which the StackSet plants them.
    pub unit: String,
}

/// What `Ref` and `${…}` find, by name.
type Names = Map<String, Value>;

/// Renders the management template as CloudFormation would. `choices` are further parameters
/// by name, and pseudo parameters: the account is unknown (twelve zeros) unless
/// `AWS::AccountId` is among them. Parameters that are not given have their defaults.
///
/// # Errors
///
/// When it is no template, refers to something that it does not have, or lacks a parameter
/// that was chosen.
pub fn render(
    template: &str,
    connector_id: &str,
    connector_role_arn: &str,
    unit: &str,
    choices: &[(&str, &str)],
) -> anyhow::Result<Deployment> {
    let template = parse(template)?;
    for (name, _) in choices {
        let is_declared = name.starts_with("AWS::") || !template["Parameters"][*name].is_null();
        ensure!(is_declared, "the template has no parameter {name}");
    }
    let partition = connector_role_arn.split(':').nth(1).unwrap_or("aws");
    let mut given = pseudo(partition);
    for (name, value) in [
        ("AponoConnectorId", connector_id),
        ("ConnectorRoleArn", connector_role_arn),
        ("OrganizationalUnitId", unit),
    ]
    .iter()
    .chain(choices)
    {
        given.insert((*name).to_owned(), Value::from(*value));
    }
    let names = with_defaults(&template, given);
    let (mut member, mut member_policies, mut reader) = (Vec::new(), Vec::new(), None);
    for (_, properties) in made(&template, "AWS::CloudFormation::StackSet", &names)? {
        let mut given = pseudo(partition);
        for parameter in properties["Parameters"].as_array().into_iter().flatten() {
            let key = parameter["ParameterKey"].as_str().unwrap_or_default();
            given.insert(key.to_owned(), parameter["ParameterValue"].clone());
        }
        let body = properties["TemplateBody"].as_str().context("a StackSet has a TemplateBody")?;
        let body = parse(body)?;
        let names = with_defaults(&body, given);
        for (id, policy) in made(&body, "AWS::IAM::ManagedPolicy", &names)? {
            let name = policy["ManagedPolicyName"].as_str();
            let name = name.with_context(|| format!("{id} has no name"))?.to_owned();
            member_policies.push((name, policy["PolicyDocument"].clone()));
        }
        if let Some(id) =
            names.get("TrailAccountId").and_then(Value::as_str).filter(|id| !id.is_empty())
        {
            let mut there = names.clone();
            there.insert("AWS::AccountId".to_owned(), Value::from(id));
            reader = Some((id.to_owned(), roles(&body, there)?));
        }
        member.extend(roles(&body, names)?);
    }
    let management = roles(&template, names)?;
    Ok(Deployment { management, member, reader, member_policies, unit: unit.to_owned() })
}

fn parse(text: &str) -> anyhow::Result<Value> {
    serde_saphyr::from_str(text).context("failed to read the template")
}

/// What a stack knows of itself.
fn pseudo(partition: &str) -> Names {
    [
        ("AWS::AccountId", UNKNOWN_ACCOUNT),
        ("AWS::Partition", partition),
        ("AWS::Region", "us-east-1"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Value::from(value)))
    .collect()
}

/// What was given, and the defaults of the parameters that were not.
fn with_defaults(template: &Value, given: Names) -> Names {
    let mut names = given;
    for (name, declared) in template["Parameters"].as_object().into_iter().flatten() {
        let Some(value) = names.get(name).or_else(|| declared.get("Default")) else { continue };
        let value = text(value);
        let is_list = declared["Type"] == "CommaDelimitedList";
        let value = if is_list {
            Value::Array(value.split(',').map(|item| Value::from(item.trim())).collect())
        } else {
            Value::from(value)
        };
        names.insert(name.clone(), value);
    }
    names
}

/// Values of parameters are texts, however YAML reads them.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The resources of a kind whose conditions hold: their names in the template, and their
/// properties.
fn made<'a>(
    template: &'a Value,
    kind: &str,
    names: &Names,
) -> anyhow::Result<Vec<(&'a str, Value)>> {
    let mut made = Vec::new();
    for (name, resource) in template["Resources"].as_object().into_iter().flatten() {
        if resource["Type"] == kind && holds(template, &resource["Condition"], names)? {
            made.push((name.as_str(), resolve(&resource["Properties"], names)?));
        }
    }
    Ok(made)
}

/// Whether a condition of a template holds. None always does.
fn holds(template: &Value, condition: &Value, names: &Names) -> anyhow::Result<bool> {
    let Some(name) = condition.as_str() else { return Ok(true) };
    is_met(template, &template["Conditions"][name], names)
        .with_context(|| format!("the condition {name} is not understood"))
}

fn is_met(template: &Value, meant: &Value, names: &Names) -> anyhow::Result<bool> {
    if meant["Condition"].is_string() {
        return holds(template, &meant["Condition"], names);
    }
    if let Some([one]) = meant["Fn::Not"].as_array().map(Vec::as_slice) {
        return Ok(!is_met(template, one, names)?);
    }
    if let Some(all) = meant["Fn::And"].as_array() {
        let mut all = all.iter().map(|one| is_met(template, one, names));
        return all.try_fold(true, |so_far, one| Ok(so_far && one?));
    }
    if let Some(some) = meant["Fn::Or"].as_array() {
        let mut some = some.iter().map(|one| is_met(template, one, names));
        return some.try_fold(false, |so_far, one| Ok(so_far || one?));
    }
    let sides = &meant["Fn::Equals"];
    let Some([one, other]) = sides.as_array().map(Vec::as_slice) else {
        bail!("{meant} is none");
    };
    Ok(text(&resolve(one, names)?) == text(&resolve(other, names)?))
}

/// The roles of a template, with the policies that it adds to them. `Ref` of a role is its
/// name.
fn roles(template: &Value, mut names: Names) -> anyhow::Result<Vec<Role>> {
    let mut roles = Vec::new();
    for (id, properties) in made(template, "AWS::IAM::Role", &names)? {
        let name = properties["RoleName"].as_str().context("a role has a name")?;
        let policies = properties["Policies"].as_array().into_iter().flatten();
        names.insert(id.to_owned(), Value::from(name));
        roles.push(Role {
            name: name.to_owned(),
            trust: properties["AssumeRolePolicyDocument"].clone(),
            policies: policies.map(|policy| policy["PolicyDocument"].clone()).collect(),
            tags: BTreeMap::new(),
        });
    }
    for (id, properties) in made(template, "AWS::IAM::Policy", &names)? {
        let named = properties["Roles"].as_array().with_context(|| format!("{id} has no roles"))?;
        for name in named {
            let role = roles.iter_mut().find(|role: &&mut Role| *name == role.name);
            let role = role.with_context(|| format!("{id} is for {name}, which is no role"))?;
            role.policies.push(properties["PolicyDocument"].clone());
        }
    }
    Ok(roles)
}

/// Replaces `Ref` and `Fn::Sub`.
fn resolve(value: &Value, names: &Names) -> anyhow::Result<Value> {
    Ok(match value {
        Value::Object(object) => {
            let mut fields = object.iter();
            if let (Some((function, argument)), None) = (fields.next(), fields.next()) {
                match (function.as_str(), argument.as_str()) {
                    ("Ref", Some(name)) => return Ok(find(names, name)?.clone()),
                    ("Fn::Sub", Some(text)) => return Ok(Value::from(substitute(text, names)?)),
                    ("Fn::GetAtt", _) => return Ok(value.clone()),
                    _ => {}
                }
            }
            let mut resolved = Map::new();
            for (key, value) in object {
                if key.starts_with("Fn::") {
                    bail!("{key} is not understood");
                }
                resolved.insert(key.clone(), resolve(value, names)?);
            }
            Value::Object(resolved)
        }
        Value::Array(list) => {
            Value::Array(list.iter().map(|value| resolve(value, names)).collect::<Result<_, _>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}

/// Replaces `${Name}`; `${!Name}` stands for `${Name}` itself.
fn substitute(text: &str, names: &Names) -> anyhow::Result<String> {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) =
            after.split_once('}').with_context(|| format!("a brace is not closed in {text}"))?;
        made.push_str(before);
        if let Some(literal) = name.strip_prefix('!') {
            made.push_str("${");
            made.push_str(literal);
            made.push('}');
        } else {
            let value = find(names, name)?.as_str();
            made.push_str(value.with_context(|| format!("{name} is no text in {text}"))?);
        }
        rest = after;
    }
    made.push_str(rest);
    Ok(made)
}

fn find<'a>(names: &'a Names, name: &str) -> anyhow::Result<&'a Value> {
    names.get(name).with_context(|| format!("no parameter {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Parameters:
  AponoConnectorId:
    Type: String
  GrantsAccess:
    Type: String
    Default: "no"
  GrantsMore:
    Type: String
    Default: "no"
  MoreAccounts:
    Type: CommaDelimitedList
    Default: "222222222222, 333333333333"
Conditions:
  HasAccess:
    Fn::Equals:
      - Ref: GrantsAccess
      - "yes"
  HasMore:
    Fn::Equals:
      - Ref: GrantsMore
      - "yes"
  HasAccessAndMore:
    Fn::And:
      - Condition: HasAccess
      - Condition: HasMore
Resources:
  MoreAccess:
    Type: AWS::IAM::Policy
    Condition: HasAccessAndMore
    Properties:
      PolicyName: more
      PolicyDocument:
        Statement: []
      Roles:
        - Ref: ManagementRole
  Access:
    Type: AWS::IAM::Policy
    Condition: HasAccess
    Properties:
      PolicyName: access
      PolicyDocument:
        Statement:
          - Effect: Allow
            Action: sso:CreateAccountAssignment
            NotResource:
              Fn::Sub: "arn:${AWS::Partition}:sso:::account/${AWS::AccountId}"
          - Effect: Deny
            Action: "*"
            Resource:
              Ref: MoreAccounts
      Roles:
        - Ref: ManagementRole
  ManagementRole:
    Type: AWS::IAM::Role
    Properties:
      RoleName:
        Fn::Sub: "connector-${AponoConnectorId}-${!literal}"
      AssumeRolePolicyDocument:
        Statement: []
        Of:
          Fn::GetAtt: [Other, Arn]
      Policies:
        - PolicyName: discovery
          PolicyDocument:
            Statement: []
"#;

    fn rendered(choices: &[(&str, &str)]) -> anyhow::Result<Vec<Role>> {
        let arn = "arn:aws-cn:iam::999999999999:role/hub";
        render(TEMPLATE, "id", arn, "r-a1b2", choices).map(|deployment| deployment.management)
    }

    #[test]
    fn a_resource_is_made_only_if_its_condition_holds() {
        let roles = rendered(&[]).expect("a template");
        assert_eq!(roles.len(), 1);
        assert_eq!(roles[0].name, "connector-id-${literal}");
        assert_eq!(roles[0].policies.len(), 1);
        assert_eq!(roles[0].trust["Of"]["Fn::GetAtt"][1], "Arn");
        for (choices, policies) in [
            (vec![("GrantsAccess", "yes")], 2),
            (vec![("GrantsMore", "yes")], 1),
            (vec![("GrantsAccess", "yes"), ("GrantsMore", "yes")], 3),
        ] {
            let roles = rendered(&choices).expect("a template");
            assert_eq!(roles[0].policies.len(), policies, "{choices:?}");
        }
    }

    #[test]
    fn a_policy_is_added_to_its_role_with_what_the_stack_knows() {
        let access = |choices: &[(&str, &str)]| {
            let roles = rendered(choices).expect("a template");
            roles[0].policies[1]["Statement"].clone()
        };
        let statement = access(&[("GrantsAccess", "yes")]);
        assert_eq!(statement[0]["NotResource"], "arn:aws-cn:sso:::account/000000000000");
        assert_eq!(statement[1]["Resource"][1], "333333333333");
        let statement = access(&[
            ("GrantsAccess", "yes"),
            ("MoreAccounts", "444444444444"),
            ("AWS::AccountId", "111111111111"),
        ]);
        assert_eq!(statement[0]["NotResource"], "arn:aws-cn:sso:::account/111111111111");
        assert_eq!(statement[1]["Resource"][0], "444444444444");
    }

    #[test]
    fn a_choice_that_the_template_does_not_have_is_refused() {
        let error = rendered(&[("GrantAccess", "yes")]).expect_err("an unknown parameter");
        assert_eq!(error.to_string(), "the template has no parameter GrantAccess");
    }
}
