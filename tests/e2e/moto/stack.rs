//! The template of the management account, deployed on moto's CloudFormation. moto knows no
//! StackSets: that part is judged by cfn-lint, and by the simulator, which makes the members'
//! roles from it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use aws_sim::template;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::form_urlencoded;

use super::{MANAGEMENT, Moto};
use crate::harness::TEMPLATE;

const CONNECTOR_ID: &str = "5b7c0f4e-8a3c-4e0e-9f52-5a1d3d3f1b7a";
const HUB_ROLE: &str = "arn:aws:iam::999999999999:role/apono-hub";
const ROOT: &str = "r-ab12";

/// A call of CloudFormation, without its SDK, for which this is the only use.
fn call(moto: &Moto, parameters: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    let form = form.extend_pairs(parameters).finish();
    let mut stream = TcpStream::connect(moto.address).expect("moto");
    write!(
        stream,
        "POST / HTTP/1.0\r\nhost: localhost\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=AKIASEED/20260101/eu-west-1/cloudformation/aws4_request, SignedHeaders=host, Signature=none\r\n\r\n{form}",
        form.len()
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[tokio::test]
async fn the_management_stack_makes_its_role_and_tells_its_arn() {
    let moto = Moto::start().await;
    let created = call(
        &moto,
        &[
            ("Action", "CreateStack"),
            ("StackName", "apono-connector"),
            ("TemplateBody", TEMPLATE),
            ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
            ("Parameters.member.1.ParameterKey", "AponoConnectorId"),
            ("Parameters.member.1.ParameterValue", CONNECTOR_ID),
            ("Parameters.member.2.ParameterKey", "ConnectorRoleArn"),
            ("Parameters.member.2.ParameterValue", HUB_ROLE),
            ("Parameters.member.3.ParameterKey", "OrganizationalUnitId"),
            ("Parameters.member.3.ParameterValue", ROOT),
        ],
    );
    assert!(created.contains("<StackId>"), "{created}");
    let stack = call(&moto, &[("Action", "DescribeStacks"), ("StackName", "apono-connector")]);
    assert!(stack.contains("<StackStatus>CREATE_COMPLETE</StackStatus>"), "{stack}");
    let arn = format!("arn:aws:iam::{MANAGEMENT}:role/apono-connector-management");
    let output = format!(
        "<OutputKey>ManagementAccountRoleArnOutput</OutputKey><OutputValue>{arn}</OutputValue>"
    );
    assert!(stack.contains(&output), "{stack}");

    // The role is what the simulator reads out of the template and enforces.
    let rendered = template::render(TEMPLATE, CONNECTOR_ID, HUB_ROLE, ROOT, &[]);
    let rendered = rendered.expect("a template");
    let expected = &rendered.management[0];
    let iam = aws_sdk_iam::Client::new(&moto.config(MANAGEMENT, "us-east-1").await);
    let found = iam.get_role().role_name("apono-connector-management").send().await;
    let role = found.expect("a role").role.expect("a role");
    assert_eq!(role.arn(), arn);
    assert_eq!(role.max_session_duration(), Some(3600));
    assert_eq!(document(role.assume_role_policy_document()), expected.trust);
    let policies = iam.list_role_policies().role_name("apono-connector-management").send().await;
    let names = policies.expect("policies").policy_names;
    assert_eq!(names.len(), expected.policies.len());
    for (name, expected) in names.iter().zip(&expected.policies) {
        let policy = iam.get_role_policy().role_name("apono-connector-management");
        let policy = policy.policy_name(name).send().await.expect("a policy");
        assert_eq!(document(Some(policy.policy_document())), *expected);
    }
}

/// A policy document. moto writes the inline ones of a stack as Python does, which YAML reads.
fn document(text: Option<&str>) -> Value {
    let text = percent_decode_str(text.unwrap_or_default()).decode_utf8_lossy();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
