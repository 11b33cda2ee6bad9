//! Lambda functions.

use async_trait::async_trait;
use aws_sdk_lambda::types::FunctionConfiguration;
use serde_json::json;

use super::{Collector, Ground, Page, ResourceType, attributes, here, name_of, tags};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach},
};

const LIST_FUNCTIONS: &str = "lambda:ListFunctions";

/// The most that a page may hold.
const PAGE_FUNCTIONS: i32 = 50;

/// Reads functions.
pub(super) struct Functions;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-lambda-function",
    display_name: "Lambda function",
    attributes: &[
        ("architectures", "`arm64`, `x86_64`."),
        ("description", "What its owner says about it."),
        ("last_modified", "When its code or settings changed last, as Lambda writes it."),
        ("memory_mib", "Memory in MiB."),
        ("package", "`Zip` or `Image`."),
        ("role", "ARN of the role that it runs as."),
        ("runtime", "Runtime, such as `python3.13`."),
        ("timeout_s", "Time-out in seconds."),
        ("vpc_id", "VPC: `vpc-…`."),
    ],
}];

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
