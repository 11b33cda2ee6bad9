//! The CloudFormation templates say what the code declares.

use std::{collections::BTreeSet, fs};

use aws_sim::{
    Context, policy as judge,
    reference::{self, access_level},
    template::{self, Role},
};
use connector::{
    access::mechanisms::To,
    catalog,
    model::{arn::Partition, policy_document},
    privileges::{self, Stand, policy, templates, trail::NAMED},
};

use serde_json::{Value, json};

use super::files::top;

const ROLE: &str = "arn:aws:iam::999999999999:role/apono-hub";

fn read(name: &str) -> String {
    fs::read_to_string(top().join("deploy/cloudformation").join(name)).expect("a template")
}

fn actions(roles: &[Role]) -> BTreeSet<String> {
    roles
        .iter()
        .flat_map(|role| &role.policies)
        .flat_map(|policy| policy["Statement"].as_array().expect("statements"))
        .flat_map(|statement| statement["Action"].as_array().expect("actions"))
        .map(|action| action.as_str().expect("an action").to_owned())
        .collect()
}

#[test]
fn the_roles_may_do_what_the_code_declares_and_nothing_else() {
    let rendered =
        template::render(&read("management.yaml"), "id", ROLE, "r-a1b2", &[]).expect("a template");
    let declared = privileges::discovery(catalog::type_ids());
    let texts =
        |actions: BTreeSet<&str>| actions.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(actions(&rendered.management), texts(declared.management));
    assert_eq!(actions(&rendered.member), texts(declared.member));
}

#[test]
fn the_templates_are_those_that_the_code_makes() {
    let types = catalog::type_ids();
    for (name, made) in [
        ("management.yaml", templates::management(&types)),
        ("member.yaml", templates::member(&types)),
    ] {
        assert!(
            read(name) == made,
            "deploy/cloudformation/{name} is old; `make templates` writes it"
        );
    }
}

#[test]
fn who_chooses_few_types_gives_few_actions() {
    let declared = privileges::discovery(["aws-ec2-instance", "aws-s3-bucket"]);
    let services = |actions: &BTreeSet<&'static str>| -> BTreeSet<&'static str> {
        actions.iter().filter_map(|action| action.split(':').next()).collect()
    };
    // IAM: for instance profiles, and to ask what the roles may do.
    assert_eq!(services(&declared.member), ["ec2", "iam", "s3", "ssm"].into());
    let others = ["organizations", "sso"];
    assert_eq!(
        services(&declared.management),
        ["ec2", "iam", "s3", "ssm"].into_iter().chain(others).collect()
    );
    assert!(!declared.member.contains("iam:GetAccountAuthorizationDetails"));
    let rendered = template::render(
        &templates::management(&["aws-ec2-instance", "aws-s3-bucket"]),
        "id",
        ROLE,
        "r-a1b2",
        &[],
    );
    let rendered = rendered.expect("a template");
    assert_eq!(
        actions(&rendered.member),
        declared.member.iter().map(ToString::to_string).collect()
    );
}

#[test]
fn every_declared_action_exists_and_only_lists_or_reads() {
    let declared = privileges::discovery(catalog::type_ids());
    for action in declared.management.union(&declared.member) {
        let level = reference::access_level(action);
        assert!(matches!(level, Some("List" | "Read")), "{action}: {level:?}");
    }
}

#[test]
fn each_mechanism_adds_what_it_declares_and_assignments_spare_the_management_account() {
    let plain =
        template::render(&read("management.yaml"), "id", ROLE, "r-a1b2", &[]).expect("a template");
    for choice in privileges::choices() {
        let choices = [(choice.title, "Enabled"), ("AWS::AccountId", "111111111111")];
        let with = template::render(&read("management.yaml"), "id", ROLE, "r-a1b2", &choices);
        let with = with.expect("a template");
        let stand = Stand { partition: Partition::Aws, account: "111111111111", connector: "id" };
        let declared = [
            (privileges::in_management(&choice, stand, true), &plain.management, &with.management),
            (privileges::in_members(&choice, stand), &plain.member, &with.member),
        ];
        for (declared, plain, with) in declared {
            let added = actions(with).difference(&actions(plain)).cloned().collect();
            let declared: BTreeSet<String> = declared
                .into_iter()
                .flat_map(|statement| statement.actions)
                .map(str::to_owned)
                .filter(|action| !actions(plain).contains(action))
                .collect();
            assert_eq!(declared, added, "{}", choice.name);
        }
        let policies = with.management.iter().flat_map(|role| &role.policies);
        for statement in policies.flat_map(|p| p["Statement"].as_array().expect("statements")) {
            let changes = statement["Action"].as_array().expect("actions").iter().any(|action| {
                let level = reference::access_level(action.as_str().expect("an action"));
                !matches!(level, Some("List" | "Read"))
            });
            let is_sso = statement["Action"].to_string().contains("\"sso:");
            let spares = statement["NotResource"].to_string().contains(spared());
            let named = statement["Resource"].as_array();
            let is_elsewhere = named.is_some_and(|arns| {
                let starts = ["arn:aws:sso:::permissionSet/", "arn:aws:sso:::instance/"];
                let arns = arns.iter().filter_map(|arn| arn.as_str());
                arns.into_iter().all(|arn| starts.iter().any(|start| arn.starts_with(start)))
            });
            assert!(!(changes && is_sso) || spares || is_elsewhere, "{statement}");
        }
        // Unless somebody wants it, in the ways that are enabled.
        let and = ("ManagementAccountAccess", "Enabled");
        let statements = |choices: &[(&str, &str)]| {
            let with = template::render(&read("management.yaml"), "id", ROLE, "r-a1b2", choices);
            let policies = with.expect("a template").management;
            let policies = policies.into_iter().flat_map(|role| role.policies);
            policies.filter(|p| p["Statement"][0]["Resource"][0] == spared()).count()
        };
        let is_a_choice = choice.rights.iter().any(|right| right.to == To::ChangeManagementAccount);
        assert_eq!(statements(&[choices[0], choices[1], and]), usize::from(is_a_choice));
        assert_eq!(statements(&[choices[0], choices[1]]), 0);
        assert_eq!(statements(&[choices[1], and]), 0);
    }
}

#[test]
fn a_trail_is_read_by_one_role_and_what_it_may_is_told_alike() {
    let arns = |title: &str| match title {
        "TrailBucketArn" => "arn:aws:s3:::logs",
        "TrailKmsKeyArn" => "arn:aws:kms:eu-west-1:333333333333:key/1",
        _ => "arn:aws:sqs:eu-west-1:333333333333:trail",
    };
    let declared: Vec<_> = NAMED.iter().flat_map(|one| one.statements(arns(one.title))).collect();
    let declared = policy::write(&declared, policy::Format::Json);
    let declared: Value = serde_json::from_str(&declared).expect("a policy");
    let management = ("AWS::AccountId", "111111111111");
    let named = NAMED.iter().map(|one| (one.title, arns(one.title))).chain([management]);
    let named: Vec<_> = named.collect();
    let by = |reader: &str| {
        let choices = [&named[..], &[("TrailAccountId", reader)]].concat();
        let rendered = template::render(&read("management.yaml"), "id", ROLE, "r-a1b2", &choices);
        let rendered = rendered.expect("a template");
        let of = |roles: &[Role]| {
            let policies = roles.iter().flat_map(|role| &role.policies);
            let all = policies.filter_map(|policy| policy["Statement"].as_array().cloned());
            let is_of_trail =
                |one: &Value| one["Sid"].as_str().is_some_and(|sid| sid.starts_with("Trail"));
            Value::Array(all.flatten().filter(is_of_trail).collect())
        };
        let reader = rendered.reader.map(|(_, roles)| of(&roles)).unwrap_or_default();
        (of(&rendered.management), of(&rendered.member), reader)
    };
    let (all, none) = (&declared["Statement"], json!([]));
    assert_eq!(by(""), (all.clone(), none.clone(), Value::Null));
    assert_eq!(by("111111111111").0, *all);
    assert_eq!(by("333333333333"), (none.clone(), none, all.clone()));
}

fn spared() -> &'static str {
    "arn:aws:sso:::account/111111111111"
}

#[test]
fn the_stack_set_plants_the_member_template() {
    let management = read("management.yaml");
    let inlined: Vec<&str> = management
        .lines()
        .skip_while(|line| *line != "      TemplateBody: |")
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with("        "))
        .map(|line| line.strip_prefix("        ").unwrap_or_default())
        .collect();
    assert_eq!(inlined.join("\n").trim_end(), read("member.yaml").trim_end());
}

#[test]
fn every_role_asks_for_the_external_id() {
    let rendered =
        template::render(&read("management.yaml"), "id", ROLE, "r-a1b2", &[]).expect("a template");
    for role in rendered.management.iter().chain(&rendered.member) {
        assert!(role.name.starts_with("apono-"), "{}", role.name);
        for statement in role.trust["Statement"].as_array().expect("statements") {
            let condition = &statement["Condition"]["StringEquals"]["sts:ExternalId"];
            assert_eq!(condition, "id", "{}", role.name);
        }
    }
}

#[test]
fn the_service_control_policy_spares_the_connector_and_fits() {
    let text = fs::read_to_string(top().join("deploy/organizations/protect-apono.json"));
    let text = text.expect("a file");
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // SCPs may be 10,240 characters long, and no longer where an old quota stands.
    assert!(policy_document::characters(&document) <= 5120);
    let denied = |action: &str, resource: &str, role: &str| {
        let caller = format!("arn:aws:iam::222222222222:role/{role}");
        let context = Context::default().with("aws:PrincipalArn", caller);
        let allow = json!({ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } });
        let service = action.split(':').next().expect("a service");
        let region = if service == "iam" { "" } else { "eu-west-1" };
        let resource = format!("arn:aws:{service}:{region}:222222222222:{resource}");
        !judge::allows(&[allow, document.clone()], action, Some(&resource), &context)
    };
    for statement in document["Statement"].as_array().expect("statements") {
        for action in statement["Action"].as_array().expect("actions") {
            let action = action.as_str().expect("an action");
            assert!(access_level(action).is_some(), "there is no {action}");
        }
    }
    let (version, policy) = ("iam:CreatePolicyVersion", "policy/apono/abc");
    assert!(denied(version, policy, "admin") && !denied(version, policy, "apono-connector-member"));
    assert!(!denied(version, "policy/other", "admin"));
    let (update, document) = ("ssm:UpdateDocument", "document/apono-session-15-abc");
    let is_spared = !denied(update, document, "apono-connector-member");
    assert!(denied(update, document, "admin") && is_spared);
    assert!(!denied(update, "document/other", "admin"));
    let (put, role) = ("iam:PutRolePolicy", "role/apono-connector-member");
    assert!(denied(put, role, "admin") && denied(put, role, "apono-connector-member"));
    assert!(!denied(put, role, "stacksets-exec-0123") && !denied(put, "role/other", "admin"));
    // Services' own roles, by which StackSets and Identity Center come, are bound by no such policy.
    assert!(denied("iam:CreateRole", "role/stacksets-exec-x", "admin"));
}

#[test]
fn the_example_settings_can_be_used_and_name_every_key() {
    let path = top().join("config/connector.toml");
    connector::config::load(Some(&path)).expect("good settings");
    let example = fs::read_to_string(path).expect("a file");
    let code = fs::read_to_string(top().join("connector/src/config/mod.rs")).expect("a file");
    let raw = code.split("/// Settings as they are written.").nth(1).expect("the raw settings");
    let keys = raw.lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, _)| key);
    // `connector_id` is for the environment; a file lists connectors.
    for key in keys.filter(|key| !["connector_id"].contains(key)) {
        let is_named =
            example.contains(&format!("{key} = ")) || example.contains(&format!("[{key}]"));
        assert!(is_named, "config/connector.toml does not name {key}");
    }
}
