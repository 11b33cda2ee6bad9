//! EC2 instances, with the state in which Session Manager sees them.
//!
//! An instance that Session Manager does not manage cannot be connected to, so the
//! reason is told where a person can act on it: stopped, no instance profile, a
//! profile without `AmazonSSMManagedInstanceCore`, never registered, connection lost.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Instance, InstanceStateName};
use aws_sdk_ssm::types::{InstanceInformationStringFilter, PingStatus};
use serde_json::{Value, json};

use super::{
    Collector, Ending, Grantable, Ground, Level, Page, ResourceType, Way, arn, attributes, here,
    statements::{beside, in_any},
    time,
};
use crate::{
    aws::ApiError,
    model::{
        failure::ReasonCode,
        proof::PageToken,
        refusal::{Refusal, RefusalCode},
        resource::{Resource, Tags},
        scope::Reach,
        statement::{Operator, Statement, allow},
    },
    store::resources::Stored,
};

const DESCRIBE_INSTANCES: &str = "ec2:DescribeInstances";
const DESCRIBE_INSTANCE_INFORMATION: &str = "ssm:DescribeInstanceInformation";
const GET_INSTANCE_PROFILE: &str = "iam:GetInstanceProfile";
const LIST_ATTACHED_ROLE_POLICIES: &str = "iam:ListAttachedRolePolicies";

const PAGE_INSTANCES: i32 = 200;
/// Instance ids that one filter of `DescribeInstanceInformation` may name.
const SSM_IDS_PER_CALL: usize = 50;
const SSM_CORE_POLICY: &str = "AmazonSSMManagedInstanceCore";
const SSM_STATE: &str = "ssm_state";
/// The document that holds an account's preferences for shells.
pub const PREFERENCES: &str = "SSM-SessionManagerRunShell";
/// AWS's document that forwards a port.
pub const FORWARDING: &str = "AWS-StartPortForwardingSession";

/// Reads instances.
pub(super) struct Instances;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-ec2-instance",
    display_name: "EC2 instance",
    permissions: PERMISSIONS,
    way_in: WAY_IN,
    attributes: &[
        ("image_id", "AMI: `ami-…`."),
        ("instance_profile", "ARN of its instance profile."),
        ("instance_type", "Type, such as `t3.micro`."),
        ("launch_time", "Last start, RFC 3339, UTC."),
        ("platform", "`Linux/UNIX`, `Windows`, …"),
        ("private_ip", "Private IPv4 address."),
        ("public_ip", "Public IPv4 address."),
        (
            SSM_STATE,
            "What Session Manager says: `managed`, `connection_lost`, `stopped`, `no_instance_profile`, `profile_lacks_ssm_core`, `never_registered`, `unreadable`.",
        ),
        ("state", "`pending`, `running`, `shutting-down`, `stopping`, `stopped`."),
        ("subnet_id", "Subnet: `subnet-…`."),
        ("vpc_id", "VPC: `vpc-…`."),
    ],
}];

const WAY_IN: Way = Way {
    console: "ec2/home?region={region}#InstanceDetails:instanceId={id}",
    command: "aws ec2 start-instances --region {region} --instance-ids {id}",
};

const PERMISSIONS: &[Grantable] = &[
    Grantable::of(
        "MANAGE",
        Level::Write,
        "Start, stop and reboot; one whose volumes have a customer's key starts only if the key's policy lets the person make grants",
        |on| {
            let actions = ["ec2:RebootInstances", "ec2:StartInstances", "ec2:StopInstances"];
            Ok(vec![allow(&actions).on([&on.arn])])
        },
    ),
    Grantable::of(
        "CONNECT",
        Level::Write,
        "A shell through Session Manager, by `aws ssm start-session` with the `--document-name` that the details say; one that is open at the end is terminated, and ends after 12 hours at most unless the integration says `account_session_document`",
        |on| session(on, &beside(on, "ssm", &format!("document/{PREFERENCES}"))),
    )
    .ending(Ending::Shells, Way {
        console: "systems-manager/session-manager/{id}?region={region}",
        command: "aws ssm start-session --region {region} --target {id} --document-name {document}",
    }),
    Grantable::of(
        "PORT_FORWARD",
        Level::Write,
        "A port of the instance through Session Manager, by `aws ssm start-session` with `--document-name AWS-StartPortForwardingSession`; one that is open at the end is closed",
        // The document is AWS's: no account.
        |on| {
            let document = format!("document/{FORWARDING}");
            session(on, &in_any(on, "ssm", &on.region, "", &document))
        },
    )
    .ending(Ending::Sessions(FORWARDING), Way {
        console: "",
        command: "aws ssm start-session --region {region} --target {id} --document-name AWS-StartPortForwardingSession --parameters portNumber=<port>,localPortNumber=<port>",
    }),
];

/// Allows sessions on an instance with one document, and to resume and end one's own. Where the preferences
/// name a key of the account the client asks KMS itself for a key of the session: whichever that is, for a
/// session on an instance alone.
///
/// Sources: "Sample IAM policies for Session Manager" (quick start for end users), "Allow a user to
/// end only sessions they started" and "Enforce a session document permission check" in the user
/// guide of AWS Systems Manager. A session's name begins with that of its user or carries the
/// user's id as a tag, by who has begun it; both mean one's own alone.
///
/// # Errors
///
/// When Session Manager does not manage the instance.
fn session(on: &Stored, document: &str) -> Result<Vec<Statement>, Refusal> {
    managed(on)?;
    let own = beside(on, "ssm", "session/${aws:userid}-*");
    let any = beside(on, "ssm", "session/*");
    let key = beside(on, "kms", "key/*");
    Ok(vec![
        allow(&["ssm:StartSession"]).on([on.arn.as_str(), document]).when(
            // Else a session without a document's name would begin unchecked.
            Operator::BoolIfExists,
            "ssm:SessionDocumentAccessCheck",
            ["true"],
        ),
        allow(&["ssm:ResumeSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"])
            .on([own]),
        allow(&["ssm:ResumeSession", "ssm:TerminateSession"]).on([any]).when(
            Operator::StringLike,
            "ssm:resourceTag/aws:ssmmessages:session-id",
            ["${aws:userid}"],
        ),
        // Not this instance alone, so that those of several are one statement; without a session such a key
        // opens nothing.
        allow(&["kms:GenerateDataKey"]).on([key]).when(
            Operator::StringLike,
            "kms:EncryptionContext:aws:ssm:TargetId",
            ["i-*"],
        ),
    ])
}

/// Whether Session Manager reaches an instance, else why not.
fn managed(on: &Stored) -> Result<(), Refusal> {
    let why = match on.attributes[SSM_STATE].as_str() {
        Some("managed") => return Ok(()),
        Some("connection_lost") => "SSM Agent has lost its connection; see that it runs",
        Some("stopped") => "it is stopped; start it",
        Some("no_instance_profile") => {
            "it has no instance profile; give it one whose role has AmazonSSMManagedInstanceCore, or turn on default host management"
        }
        Some("profile_lacks_ssm_core") => {
            "the role of its instance profile lacks AmazonSSMManagedInstanceCore; attach it"
        }
        Some("never_registered") => {
            "SSM Agent has never registered; install it and let it reach Systems Manager"
        }
        Some(_) | None => {
            let finding = format!("what Session Manager says of {} was not read", on.arn);
            return Err(Refusal::new(RefusalCode::ResourceUnfit, finding));
        }
    };
    let finding = format!("Session Manager does not reach {}: {why}", on.arn);
    Err(Refusal::new(RefusalCode::InstanceNotManaged, finding))
}

#[async_trait]
impl Collector for Instances {
    fn name(&self) -> &'static str {
        "ec2_instance"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[
            DESCRIBE_INSTANCES,
            DESCRIBE_INSTANCE_INFORMATION,
            GET_INSTANCE_PROFILE,
            LIST_ATTACHED_ROLE_POLICIES,
        ]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .ec2()
            .describe_instances()
            .max_results(PAGE_INSTANCES)
            .set_next_token(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(DESCRIBE_INSTANCES, &error))?;
        let next = PageToken::of(answer.next_token());
        // A terminated instance is shown for an hour; it is gone all the same.
        let instances: Vec<Instance> = answer
            .reservations
            .unwrap_or_default()
            .into_iter()
            .flat_map(|reservation| reservation.instances.unwrap_or_default())
            .filter(|instance| state(instance) != Some(&InstanceStateName::Terminated))
            .collect();
        let states = ssm_states(ground, &instances).await;
        let found = instances.iter().map(|instance| resource(ground, instance, &states));
        Page::of(DESCRIBE_INSTANCES, found, next)
    }
}

type SsmStates = HashMap<String, Result<&'static str, ReasonCode>>;

fn resource(ground: &Ground<'_>, instance: &Instance, states: &SsmStates) -> Option<Resource> {
    let id = instance.instance_id()?;
    let tags: Tags = instance
        .tags()
        .iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect();
    let (ssm_state, unread) = match states.get(id) {
        Some(Ok(state)) => (*state, BTreeMap::new()),
        Some(Err(reason)) => ("unreadable", BTreeMap::from([(SSM_STATE.to_owned(), *reason)])),
        None => ("never_registered", BTreeMap::new()),
    };
    let attributes = attributes([
        ("image_id", instance.image_id().map(Value::from)),
        (
            "instance_profile",
            instance.iam_instance_profile().and_then(|profile| profile.arn()).map(Value::from),
        ),
        ("instance_type", instance.instance_type().map(|kind| json!(kind.as_str()))),
        ("launch_time", time(instance.launch_time().copied())),
        ("platform", instance.platform_details().map(Value::from)),
        ("private_ip", instance.private_ip_address().map(Value::from)),
        ("public_ip", instance.public_ip_address().map(Value::from)),
        (SSM_STATE, Some(json!(ssm_state))),
        ("state", state(instance).map(|state| json!(state.as_str()))),
        ("subnet_id", instance.subnet_id().map(Value::from)),
        ("vpc_id", instance.vpc_id().map(Value::from)),
    ]);
    let name = tags.get("Name").filter(|name| !name.is_empty()).map_or(id, String::as_str);
    let found =
        here(ground, &TYPES[0], arn(ground, "ec2", &format!("instance/{id}")), name.to_owned());
    Some(Resource { tags, attributes, unread, ..found })
}

fn state(instance: &Instance) -> Option<&InstanceStateName> {
    instance.state().and_then(|state| state.name())
}

/// The Session Manager state of every instance of a page.
async fn ssm_states(ground: &Ground<'_>, instances: &[Instance]) -> SsmStates {
    let mut states = SsmStates::new();
    let ids: Vec<&str> = instances.iter().filter_map(Instance::instance_id).collect();
    for ids in ids.chunks(SSM_IDS_PER_CALL) {
        match registered(ground, ids).await {
            Ok(found) => states.extend(found.into_iter().map(|(id, state)| (id, Ok(state)))),
            Err(error) => {
                states.extend(ids.iter().map(|id| ((*id).to_owned(), Err(error.reason.code))));
            }
        }
    }
    let mut profiles: HashMap<&str, Result<bool, ReasonCode>> = HashMap::new();
    for instance in instances {
        let Some(id) = instance.instance_id().filter(|id| !states.contains_key(*id)) else {
            continue;
        };
        let profile = instance.iam_instance_profile().and_then(|profile| profile.arn());
        let unregistered = if state(instance) != Some(&InstanceStateName::Running) {
            Ok("stopped")
        } else if let Some(profile) = profile {
            if !profiles.contains_key(profile) {
                let has_core = has_ssm_core(ground, profile).await;
                profiles.insert(profile, has_core.map_err(|error| error.reason.code));
            }
            match profiles[profile] {
                Ok(true) => Ok("never_registered"),
                Ok(false) => Ok("profile_lacks_ssm_core"),
                Err(reason) => Err(reason),
            }
        } else {
            Ok("no_instance_profile")
        };
        states.insert(id.to_owned(), unregistered);
    }
    states
}

/// The instances among these that have registered with Session Manager.
async fn registered(
    ground: &Ground<'_>,
    ids: &[&str],
) -> Result<Vec<(String, &'static str)>, ApiError> {
    let filter = InstanceInformationStringFilter::builder()
        .key("InstanceIds")
        .set_values(Some(ids.iter().map(|id| (*id).to_owned()).collect()))
        .build()
        .expect("a filter with key and values is whole");
    let mut items = ground
        .access
        .ssm()
        .describe_instance_information()
        .filters(filter)
        .into_paginator()
        .items()
        .send();
    let mut found = Vec::with_capacity(ids.len());
    while let Some(item) = items.next().await {
        let item = item.map_err(|error| ApiError::of(DESCRIBE_INSTANCE_INFORMATION, &error))?;
        let state = match item.ping_status() {
            Some(PingStatus::Online) => "managed",
            _ => "connection_lost",
        };
        found.extend(item.instance_id.map(|id| (id, state)));
    }
    Ok(found)
}

/// Whether a role of the profile has the managed policy that Session Manager needs.
async fn has_ssm_core(ground: &Ground<'_>, profile_arn: &str) -> Result<bool, ApiError> {
    let iam = ground.access.iam();
    let name = profile_arn.rsplit('/').next().unwrap_or_default();
    let profile = iam
        .get_instance_profile()
        .instance_profile_name(name)
        .send()
        .await
        .map_err(|error| ApiError::of(GET_INSTANCE_PROFILE, &error))?;
    for role in profile
        .instance_profile()
        .map(aws_sdk_iam::types::InstanceProfile::roles)
        .unwrap_or_default()
    {
        let mut policies = iam
            .list_attached_role_policies()
            .role_name(role.role_name())
            .into_paginator()
            .items()
            .send();
        while let Some(policy) = policies.next().await {
            let policy =
                policy.map_err(|error| ApiError::of(LIST_ATTACHED_ROLE_POLICIES, &error))?;
            if policy.policy_name() == Some(SSM_CORE_POLICY) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            permission,
            statements::tests::{a_resource, said},
        },
        *,
    };

    const ARN: &str = "arn:aws:ec2:eu-west-1:111122223333:instance/i-1";

    fn an_instance(ssm_state: &str) -> Stored {
        a_resource(ARN, json!({ SSM_STATE: ssm_state }))
    }

    #[test]
    fn a_session_takes_the_instance_one_document_and_ones_own_sessions() {
        let on = an_instance("managed");
        let own = "ResumeSession TerminateSession OpenDataChannel on \
                   arn:aws:ssm:eu-west-1:111122223333:session/${aws:userid}-*";
        let key = "GenerateDataKey on arn:aws:kms:eu-west-1:111122223333:key/* when \
                   kms:EncryptionContext:aws:ssm:TargetId StringLike i-*";
        let tagged = "ResumeSession TerminateSession on arn:aws:ssm:eu-west-1:111122223333:session/* when \
                      ssm:resourceTag/aws:ssmmessages:session-id StringLike ${aws:userid}";
        for (asked, document) in [
            ("CONNECT", "eu-west-1:111122223333:document/SSM-SessionManagerRunShell"),
            ("PORT_FORWARD", "eu-west-1::document/AWS-StartPortForwardingSession"),
        ] {
            let start = format!(
                "StartSession on {ARN} arn:aws:ssm:{document} when \
                 ssm:SessionDocumentAccessCheck BoolIfExists true"
            );
            assert_eq!(said("aws-ec2-instance", asked, &on), [&start, own, tagged, key]);
        }
    }

    #[test]
    fn whoever_only_starts_and_stops_needs_no_session_manager() {
        assert_eq!(
            said("aws-ec2-instance", "MANAGE", &an_instance("stopped")),
            [format!("RebootInstances StartInstances StopInstances on {ARN}")]
        );
    }

    #[test]
    fn an_instance_that_session_manager_does_not_reach_is_refused_with_the_cause() {
        for (state, code, cause) in [
            ("connection_lost", RefusalCode::InstanceNotManaged, "lost its connection"),
            ("stopped", RefusalCode::InstanceNotManaged, "start it"),
            ("no_instance_profile", RefusalCode::InstanceNotManaged, "no instance profile"),
            ("profile_lacks_ssm_core", RefusalCode::InstanceNotManaged, "lacks Amazon"),
            ("never_registered", RefusalCode::InstanceNotManaged, "never registered"),
            ("unreadable", RefusalCode::ResourceUnfit, "was not read"),
        ] {
            for asked in ["CONNECT", "PORT_FORWARD"] {
                let permission = permission("aws-ec2-instance", asked).expect("a permission");
                let refused = permission.statements(&an_instance(state), asked);
                let refused = refused.expect_err("a refusal");
                assert_eq!(refused.code, code, "{state}");
                assert!(refused.finding.contains(cause), "{refused}");
            }
        }
    }
}
