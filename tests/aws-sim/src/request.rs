//! What a client asks for, whatever the protocol.

use std::collections::BTreeMap;

use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::reference;

/// A call, read from an HTTP request.
#[derive(Clone, Debug)]
pub struct Call {
    /// Service, as the signature names it: `ec2`.
    pub service: String,
    /// Region, as the signature names it.
    pub region: String,
    /// Access key, as the signature names it.
    pub access_key: String,
    /// Operation: `DescribeInstances`.
    pub operation: String,
    /// Parameters of query protocols, and query parameters of S3.
    pub form: BTreeMap<String, String>,
    /// Body of JSON protocols.
    pub json: Value,
    /// Path of the address.
    pub path: String,
    /// Bucket of an S3 call; empty: none.
    pub bucket: String,
}

impl Call {
    /// Reads a call; none: it is not signed, or in no protocol of AWS.
    #[must_use]
    pub fn read(parts: &Parts, body: &[u8]) -> Option<Self> {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let scope = header("authorization")?.split("Credential=").nth(1)?.split(',').next()?;
        let mut scope = scope.split('/');
        let (access_key, _date) = (scope.next()?.to_owned(), scope.next()?);
        let (region, service) = (scope.next()?.to_owned(), scope.next()?.to_owned());
        let mut form = decode_form(parts.uri.query().unwrap_or_default());
        let mut json = Value::Null;
        let path = decode(parts.uri.path().trim_end_matches('/'));
        let mut bucket = String::new();
        let operation = if let Some(target) = header("x-amz-target") {
            json = serde_json::from_slice(body).ok()?;
            target.rsplit('.').next()?.to_owned()
        } else if service == "s3" {
            bucket = decode(parts.uri.path().trim_start_matches('/').split('/').next()?);
            s3_operation(&form, &bucket, &path)
        } else if matches!(service.as_str(), "eks" | "lambda") {
            rest_operation(&service, &path).to_owned()
        } else {
            form.extend(decode_form(std::str::from_utf8(body).ok()?));
            form.get("Action")?.clone()
        };
        Some(Self { service, region, access_key, operation, form, json, path, bucket })
    }

    /// The IAM action that the call needs.
    #[must_use]
    pub fn action(&self) -> String {
        reference::action(&self.service, &self.operation)
    }

    /// The name of the file that an S3 call is about; empty: none.
    #[must_use]
    pub fn key(&self) -> &str {
        let path = self.path.trim_start_matches('/').strip_prefix(&self.bucket);
        path.unwrap_or_default().trim_start_matches('/')
    }

    /// What the call changes, for the journal, as the call names it:
    /// `account/permission-set-id/principal-id` of an assignment; of a membership `group-id/user-id`
    /// when it is made, and its id when it is removed; the ARN of a customer managed policy, or its
    /// path and name when it is made; the name of a role; of a user of IAM the name, and what is put in
    /// or taken out; the id of a permission set, or its name when it is made; the
    /// id of a session of Session Manager; the name of a document; empty: nothing that is told apart.
    #[must_use]
    pub fn object(&self) -> String {
        match (self.service.as_str(), self.operation.as_str()) {
            ("sso", "CreateAccountAssignment" | "DeleteAccountAssignment") => {
                let set = self.text("PermissionSetArn").rsplit('/').next().unwrap_or_default();
                format!("{}/{set}/{}", self.text("TargetId"), self.text("PrincipalId"))
            }
            ("identitystore", "CreateGroupMembership") => {
                format!("{}/{}", self.text("GroupId"), self.member())
            }
            ("identitystore", "DeleteGroupMembership") => self.text("MembershipId").to_owned(),
            ("iam", "CreatePolicy") => {
                let form = |name: &str| self.form.get(name).map(String::as_str);
                let path = form("Path").unwrap_or("/");
                format!("{path}{}", form("PolicyName").unwrap_or_default())
            }
            (
                "iam",
                "CreatePolicyVersion"
                | "DeletePolicy"
                | "DeletePolicyVersion"
                | "TagPolicy"
                | "UntagPolicy",
            ) => self.form.get("PolicyArn").cloned().unwrap_or_default(),
            ("iam", operation) if self.form.contains_key("UserName") && !is_look(operation) => {
                let named = ["UserName", "GroupName", "PolicyArn", "PolicyName"];
                let named = named.iter().filter_map(|name| self.form.get(*name).cloned());
                named.collect::<Vec<_>>().join("/")
            }
            ("iam", "UpdateAssumeRolePolicy") => {
                self.form.get("RoleName").cloned().unwrap_or_default()
            }
            ("ssm", "TerminateSession") => self.text("SessionId").to_owned(),
            ("ssm", "CreateDocument" | "DeleteDocument" | "UpdateDocumentDefaultVersion") => {
                self.text("Name").to_owned()
            }
            ("sso", "CreatePermissionSet") => self.text("Name").to_owned(),
            ("sso", operation) if !is_look(operation) => {
                let named = [self.text("PermissionSetArn"), self.text("ResourceArn")].concat();
                named.rsplit('/').next().unwrap_or_default().to_owned()
            }
            _ => String::new(),
        }
    }

    /// The id of the user that a call names as a member; empty: none.
    #[must_use]
    pub fn member(&self) -> &str {
        self.json["MemberId"]["UserId"].as_str().unwrap_or_default()
    }

    /// A text parameter of a JSON call.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.json.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number among the parameters of a query call or an address.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<usize> {
        self.form.get(name)?.parse().ok()
    }

    /// The members of a list parameter of a query call: `Filter.1.Value.1`, ….
    #[must_use]
    pub fn members(&self, prefix: &str) -> Vec<&str> {
        (1..).map_while(|at| self.form.get(&format!("{prefix}.{at}"))).map(String::as_str).collect()
    }

    /// The page token that came with the call.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        let json = self.json.get("NextToken").and_then(Value::as_str);
        json.or_else(|| self.form.get("NextToken").map(String::as_str))
            .or_else(|| self.form.get("continuation-token").map(String::as_str))
            .or_else(|| self.form.get("nextToken").map(String::as_str))
            .or_else(|| self.form.get("Marker").map(String::as_str))
    }

    /// Which page of a list it asks for, from 1.
    #[must_use]
    pub fn page_number(&self) -> usize {
        let number = self.token().and_then(|token| token.rsplit('.').next());
        number.and_then(|number| usize::from_str_radix(number, 16).ok()).unwrap_or(1)
    }
}

/// Whether an operation changes nothing, by its name.
fn is_look(operation: &str) -> bool {
    ["Describe", "Get", "List"].iter().any(|verb| operation.starts_with(verb))
}

/// The operation of a service that tells it by the path.
fn rest_operation(service: &str, path: &str) -> &'static str {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (service, segments.as_slice()) {
        ("eks", ["clusters"]) => "ListClusters",
        ("eks", ["clusters", _]) => "DescribeCluster",
        ("lambda", ["2015-03-31", "functions"]) => "ListFunctions",
        _ => "Unknown",
    }
}

fn s3_operation(form: &BTreeMap<String, String>, bucket: &str, path: &str) -> String {
    let operation = if bucket.is_empty() {
        "ListBuckets"
    } else if path.trim_start_matches('/') != bucket {
        "GetObject"
    } else if form.contains_key("notification") {
        "GetBucketNotification"
    } else if form.contains_key("tagging") {
        "GetBucketTagging"
    } else if form.contains_key("encryption") {
        "GetBucketEncryption"
    } else if form.contains_key("location") {
        "GetBucketLocation"
    } else {
        "ListObjectsV2"
    };
    operation.to_owned()
}

fn decode_form(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
