//! What the permissions of several types share: ARNs beside a resource, and the use of the key
//! that encrypts it.

use crate::{
    model::statement::{Operator, Statement, allow},
    store::resources::Stored,
};

/// Attribute of whatever is encrypted with a key of the customer's.
pub(super) const KMS_KEY: &str = "kms_key";

/// What reading takes of the key that encrypts a resource.
pub(super) const DECRYPT: &[&str] = &["kms:Decrypt"];
/// What writing takes of it; the services decrypt what they encrypt.
pub(super) const ENCRYPT: &[&str] = &["kms:Decrypt", "kms:GenerateDataKey"];

/// Allows actions on a resource.
pub(super) fn on_it(on: &Stored, actions: &[&[&str]]) -> Statement {
    allow(&actions.concat()).on([&on.arn])
}

/// The ARN of something in the partition, the region and the account of a resource.
pub(super) fn beside(on: &Stored, service: &str, resource: &str) -> String {
    in_any(on, service, &on.region, &on.account_id, resource)
}

/// The ARN of something in the partition of a resource.
pub(super) fn in_any(
    on: &Stored,
    service: &str,
    region: &str,
    account: &str,
    resource: &str,
) -> String {
    format!("arn:{}:{service}:{region}:{account}:{resource}", partition(on))
}

fn partition(on: &Stored) -> &str {
    on.arn.split(':').nth(1).unwrap_or_default()
}

/// Allows the use of the key that encrypts a resource, through its service alone; none where
/// it is no key of the customer's. A key is told as whoever set it wrote it: by its id or ARN,
/// or by the name or ARN of an alias.
///
/// Everyone in the account who may use the service may use AWS's own keys (`alias/aws/…`).
pub(super) fn key_use(on: &Stored, service: &str, actions: &[&str]) -> Option<Statement> {
    let told = on.attributes[KMS_KEY].as_str()?;
    // Some services take any text, so a queue must not be able to name every key.
    if !told.bytes().all(|b| b.is_ascii_alphanumeric() || b":/_-".contains(&b)) {
        return None;
    }
    let own = beside(on, "kms", "");
    let (place, name) = told.rsplit_once(':').unwrap_or((own.trim_end_matches(':'), told));
    let statement = match name.strip_prefix("alias/") {
        Some(alias) if alias.starts_with("aws/") => return None,
        // A statement cannot be about an alias, but about the keys that have it.
        Some(_) => allow(actions).on([format!("{place}:key/*")]).when(
            Operator::AnyStringEquals,
            "kms:ResourceAliases",
            [name],
        ),
        None => allow(actions).on([format!("{place}:key/{}", name.trim_start_matches("key/"))]),
    };
    let via = format!("{service}.{}.amazonaws.com", on.region);
    // AWS does not say how China's are written.
    let china = (partition(on) == "aws-cn").then(|| format!("{via}.cn"));
    Some(statement.when(Operator::StringEquals, "kms:ViaService", [via].into_iter().chain(china)))
}

/// What the tests of permissions take.
#[cfg(test)]
pub(super) mod tests {
    use std::fmt::Write as _;

    use chrono::DateTime;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::catalog;

    /// A resource in eu-west-1 of 111122223333.
    pub(in crate::catalog) fn a_resource(arn: &str, attributes: Value) -> Stored {
        Stored {
            integration_id: Uuid::nil(),
            arn: arn.to_owned(),
            kind: String::new(),
            account_id: "111122223333".to_owned(),
            region: "eu-west-1".to_owned(),
            name: String::new(),
            tags: json!({}),
            attributes,
            unread: json!({}),
            first_seen_at: DateTime::UNIX_EPOCH,
            changed_at: DateTime::UNIX_EPOCH,
            gone_at: None,
            revision: 1,
            missing_reads: 0,
            fresh_at: None,
            stale_reason: None,
        }
    }

    /// The statements of a permission, one a line: actions without their service, resources,
    /// conditions.
    pub(in crate::catalog) fn said(kind: &str, asked: &str, on: &Stored) -> Vec<String> {
        let permission = catalog::permission(kind, asked).expect("a permission");
        let statements = permission.statements(on, asked).expect("statements");
        statements.iter().map(line).collect()
    }

    fn line(statement: &Statement) -> String {
        let actions: Vec<&str> = statement
            .actions
            .iter()
            .map(|action| action.split_once(':').expect("service and name").1)
            .collect();
        let mut line = format!("{} on {}", actions.join(" "), statement.resources.join(" "));
        for condition in &statement.conditions {
            let (key, values) = (&condition.key, condition.values.join(" "));
            let _ = write!(line, " when {key} {} {values}", condition.operator.as_str());
        }
        line
    }

    #[test]
    fn a_key_is_used_through_the_service_alone_however_it_is_named() {
        let use_of = |key: &str| {
            let queue =
                a_resource("arn:aws:sqs:eu-west-1:111122223333:q", json!({ "kms_key": key }));
            key_use(&queue, "sqs", &["kms:Decrypt"]).as_ref().map(line)
        };
        let via = "when kms:ViaService StringEquals sqs.eu-west-1.amazonaws.com";
        let own = "arn:aws:kms:eu-west-1:111122223333:key";
        let of_another = "arn:aws:kms:eu-west-1:444455556666:key/1234-abcd";
        assert_eq!(use_of("1234-abcd"), Some(format!("Decrypt on {own}/1234-abcd {via}")));
        assert_eq!(use_of(of_another), Some(format!("Decrypt on {of_another} {via}")));
        let by_alias = format!(
            "Decrypt on {own}/* when kms:ResourceAliases ForAnyValue:StringEquals alias/a/b {via}"
        );
        let by_alias = Some(by_alias);
        assert_eq!(use_of("alias/a/b"), by_alias);
        assert_eq!(use_of("arn:aws:kms:eu-west-1:111122223333:alias/a/b"), by_alias);
    }

    #[test]
    fn no_key_is_given_that_is_awss_own_or_every_one() {
        for key in [
            json!("alias/aws/sqs"),
            json!("arn:aws:kms:eu-west-1:111122223333:alias/aws/sqs"),
            json!("*"),
            json!("arn:aws:kms:*:*:key/*"),
            json!("${aws:PrincipalTag/key}"),
            json!(null),
        ] {
            let queue =
                a_resource("arn:aws:sqs:eu-west-1:111122223333:q", json!({ "kms_key": key }));
            assert_eq!(key_use(&queue, "sqs", &["kms:Decrypt"]), None, "{key}");
        }
    }

    #[test]
    fn a_service_in_china_is_named_in_both_ways() {
        let queue =
            a_resource("arn:aws-cn:sqs:eu-west-1:111122223333:q", json!({ "kms_key": "1" }));
        let statement = key_use(&queue, "sqs", &["kms:Decrypt"]).expect("a statement");
        assert_eq!(statement.resources, ["arn:aws-cn:kms:eu-west-1:111122223333:key/1"]);
        let values = &statement.conditions[0].values;
        assert_eq!(values, &["sqs.eu-west-1.amazonaws.com", "sqs.eu-west-1.amazonaws.com.cn"]);
    }
}
