//! Roles, read from the CloudFormation templates that customers deploy.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

/// A role that a template makes.
#[derive(Clone, Debug)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Trust policy.
    pub trust: Value,
    /// Inline policies.
    pub policies: Vec<Value>,
}

/// A management template, rendered with its parameters.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Roles of the management account.
    pub management: Vec<Role>,
    /// Roles that the StackSet plants.
    pub member: Vec<Role>,
    /// The unit below which the StackSet plants them.
    pub unit: String,
}

/// Renders the management template as CloudFormation would.
///
/// # Errors
///
/// When it is no template, or refers to something that it does not have.
pub fn render(
    template: &str,
    connector_id: &str,
    connector_role_arn: &str,
    unit: &str,
) -> anyhow::Result<Deployment> {
    let parameters = Map::from_iter([
        ("AponoConnectorId".to_owned(), Value::from(connector_id)),
        ("ConnectorRoleArn".to_owned(), Value::from(connector_role_arn)),
        ("OrganizationalUnitId".to_owned(), Value::from(unit)),
        ("AWS::Region".to_owned(), Value::from("us-east-1")),
    ]);
    let template = parse(template)?;
    let mut member = Vec::new();
    for resource in resources(&template, "AWS::CloudFormation::StackSet") {
        let properties = resolve(&resource["Properties"], &parameters)?;
        let handed: Map<String, Value> = properties["Parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| {
                let key = p["ParameterKey"].as_str().unwrap_or_default().to_owned();
                (key, p["ParameterValue"].clone())
            })
            .collect();
        let body = properties["TemplateBody"].as_str().context("a StackSet has a TemplateBody")?;
        member.extend(roles(&parse(body)?, &handed)?);
    }
    Ok(Deployment { management: roles(&template, &parameters)?, member, unit: unit.to_owned() })
}

fn parse(text: &str) -> anyhow::Result<Value> {
    serde_saphyr::from_str(text).context("failed to read the template")
}

fn resources<'a>(template: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let resources = template["Resources"].as_object().into_iter().flatten();
    resources.map(|(_, resource)| resource).filter(move |resource| resource["Type"] == kind)
}

fn roles(template: &Value, parameters: &Map<String, Value>) -> anyhow::Result<Vec<Role>> {
    resources(template, "AWS::IAM::Role")
        .map(|resource| {
            let properties = resolve(&resource["Properties"], parameters)?;
            let policies = properties["Policies"].as_array().into_iter().flatten();
            Ok(Role {
                name: properties["RoleName"].as_str().context("a role has a name")?.to_owned(),
                trust: properties["AssumeRolePolicyDocument"].clone(),
                policies: policies.map(|policy| policy["PolicyDocument"].clone()).collect(),
            })
        })
        .collect()
}

/// Replaces `Ref`; other functions are not used in what we read.
fn resolve(value: &Value, parameters: &Map<String, Value>) -> anyhow::Result<Value> {
    Ok(match value {
        Value::Object(object) => {
            if let (1, Some(name)) = (object.len(), object.get("Ref").and_then(Value::as_str)) {
                return parameters
                    .get(name)
                    .cloned()
                    .with_context(|| format!("no parameter {name}"));
            }
            let mut resolved = Map::new();
            for (key, value) in object {
                if key.starts_with("Fn::") {
                    bail!("{key} is not understood");
                }
                resolved.insert(key.clone(), resolve(value, parameters)?);
            }
            Value::Object(resolved)
        }
        Value::Array(list) => Value::Array(
            list.iter().map(|value| resolve(value, parameters)).collect::<Result<_, _>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}
