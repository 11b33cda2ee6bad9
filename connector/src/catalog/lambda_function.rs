//! Lambda functions.

use async_trait::async_trait;
use aws_sdk_lambda::types::FunctionConfiguration;
use serde_json::json;

use super::{
    Collector, Grantable, Ground, Level, Page, ResourceType, Way, attributes, here, name_of,
    statements::{DECRYPT, key_use},
    tags,
};
use crate::{
    aws::ApiError,
    model::{
        proof::PageToken,
        resource::Resource,
        scope::Reach,
        statement::{Statement, allow},
    },
    store::resources::Stored,
};

const LIST_FUNCTIONS: &str = "lambda:ListFunctions";

/// The most that a page may hold.
const PAGE_FUNCTIONS: i32 = 50;

/// Reads functions.
pub(super) struct Functions;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-lambda-function",
    display_name: "Lambda function",
    permissions: PERMISSIONS,
    way_in: WAY_IN,
    attributes: &[
        ("architectures", "`arm64`, `x86_64`."),
        ("description", "What its owner says about it."),
        (
            "kms_key",
            "ARN of the key that encrypts its environment variables; absent: Lambda's own.",
        ),
        ("last_modified", "When its code or settings changed last, as Lambda writes it."),
        ("memory_mib", "Memory in MiB."),
        ("package", "`Zip` or `Image`."),
        ("role", "ARN of the role that it runs as."),
        ("runtime", "Runtime, such as `python3.13`."),
        ("timeout_s", "Time-out in seconds."),
        ("vpc_id", "VPC: `vpc-…`."),
    ],
}];

// What else one could do with a function runs as its role, so there is no more.
const WAY_IN: Way = Way {
    console: "lambda/home?region={region}#/functions/{name}",
    command: "aws lambda get-function --region {region} --function-name {name}",
};

const PERMISSIONS: &[Grantable] = &[
    Grantable::of("INVOKE", Level::Write, "Invoke it, in any version, not through its URL", |on| {
        Ok(vec![with_versions(on, &["lambda:InvokeFunction"])])
    }),
    Grantable::of(
        "READ_ONLY",
        Level::Read,
        "Read its code, its settings with environment variables, and its policy",
        |on| {
            let key = key_use(on, "lambda", DECRYPT);
            Ok([with_versions(on, READ)].into_iter().chain(key).collect())
        },
    ),
];

const READ: &[&str] = &[
    "lambda:GetAlias",
    "lambda:GetFunction",
    "lambda:GetFunctionConcurrency",
    "lambda:GetFunctionConfiguration",
    "lambda:GetFunctionEventInvokeConfig",
    "lambda:GetFunctionUrlConfig",
    "lambda:GetPolicy",
    "lambda:ListAliases",
    "lambda:ListFunctionEventInvokeConfigs",
    "lambda:ListFunctionUrlConfigs",
    "lambda:ListTags",
    "lambda:ListVersionsByFunction",
];

fn with_versions(on: &Stored, actions: &[&str]) -> Statement {
    allow(actions).on([on.arn.clone(), format!("{}:*", on.arn)])
}

#[async_trait]
impl Collector for Functions {
    fn name(&self) -> &'static str {
        "lambda_function"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_FUNCTIONS, tags::GET_RESOURCES]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .lambda()
            .list_functions()
            .max_items(PAGE_FUNCTIONS)
            .set_marker(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_FUNCTIONS, &error))?;
        let next = PageToken::of(answer.next_marker());
        let found = answer.functions.unwrap_or_default();
        let found = found.into_iter().map(|one| function(ground, one));
        let mut page = Page::of(LIST_FUNCTIONS, found, next)?;
        tags::fill(ground.access, &mut page.resources).await;
        Ok(page)
    }
}

fn function(ground: &Ground<'_>, found: FunctionConfiguration) -> Option<Resource> {
    let architectures: Vec<&str> =
        found.architectures().iter().map(aws_sdk_lambda::types::Architecture::as_str).collect();
    let attributes = attributes([
        ("architectures", Some(json!(architectures))),
        (
            "description",
            found.description().filter(|text| !text.is_empty()).map(|text| json!(text)),
        ),
        ("kms_key", found.kms_key_arn().filter(|arn| !arn.is_empty()).map(|arn| json!(arn))),
        ("last_modified", found.last_modified().map(|time| json!(time))),
        ("memory_mib", found.memory_size().map(|size| json!(size))),
        ("package", found.package_type().map(|kind| json!(kind.as_str()))),
        ("role", found.role().map(|role| json!(role))),
        ("runtime", found.runtime().map(|runtime| json!(runtime.as_str()))),
        ("timeout_s", found.timeout().map(|seconds| json!(seconds))),
        (
            "vpc_id",
            found
                .vpc_config()
                .and_then(|vpc| vpc.vpc_id())
                .filter(|id| !id.is_empty())
                .map(|id| json!(id)),
        ),
    ]);
    let arn = found.function_arn?;
    let name = name_of(found.function_name, &arn);
    Some(Resource { attributes, ..here(ground, &TYPES[0], arn, name) })
}

#[cfg(test)]
mod tests {
    use super::super::statements::tests::{a_resource, said};
    use super::*;

    #[test]
    fn a_function_is_invoked_or_read_in_any_version() {
        let arn = "arn:aws:lambda:eu-west-1:111122223333:function:bill";
        let key = "arn:aws:kms:eu-west-1:111122223333:key/1";
        let function = a_resource(arn, json!({ "kms_key": key }));
        let said = |asked| said("aws-lambda-function", asked, &function);
        assert_eq!(said("INVOKE"), [format!("InvokeFunction on {arn} {arn}:*")]);
        assert_eq!(
            said("READ_ONLY"),
            [
                format!(
                    "GetAlias GetFunction GetFunctionConcurrency GetFunctionConfiguration \
                     GetFunctionEventInvokeConfig GetFunctionUrlConfig GetPolicy ListAliases \
                     ListFunctionEventInvokeConfigs ListFunctionUrlConfigs ListTags \
                     ListVersionsByFunction on {arn} {arn}:*"
                ),
                format!(
                    "Decrypt on {key} when kms:ViaService StringEquals lambda.eu-west-1.amazonaws.com"
                ),
            ]
        );
    }
}
