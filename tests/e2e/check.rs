//! `check` names what is broken: one line for one mistake, with what to do. Against
//! `aws-sim`.

use std::{path::PathBuf, process::Command};

use aws_sim::template::Deployment;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Cloud, Daemon, Database, Options, short_directory};

const MANAGEMENT_ROLE: &str = "apono-connector-management";
const MEMBER_ROLE: &str = "apono-connector-member";
const MEMBERS: [&str; 2] = ["222222222222", "333333333333"];

/// A set-up that works, to be broken.
struct Setup {
    cloud: Cloud,
    database: Database,
    /// The settings file.
    settings: String,
    /// The integration's file.
    form: String,
    /// Environment.
    env: Vec<(&'static str, String)>,
    directory: TempDir,
}

impl Setup {
    async fn good() -> Self {
        let cloud = Cloud::empty("aws").await;
        cloud.unit("ou-test-aaaaaaaa", &cloud.root, "Production");
        cloud.unit("ou-test-bbbbbbbb", &cloud.root, "Sandbox");
        for id in MEMBERS {
            cloud.account(id, "ou-test-aaaaaaaa", "payments");
        }
        cloud.deploy();
        if let Some(organization) = cloud.sim.world().organizations.get_mut(&cloud.organization) {
            "eu-west-1".clone_into(&mut organization.sso_region);
        }
        let database = Database::create().await;
        let form = format!(
            "name = \"prod\"\nregion = \"eu-west-1\"\nsso_region = \"eu-west-1\"\nsso_portal_url = \"https://d-test123456.awsapps.com/start\"\nmanagement_role_arn = \"{}\"\nroot_or_ou_id = \"r-test\"\nexcluded_ou_ids = [\"ou-test-bbbbbbbb\"]\nresource_types = [\"aws-account\", \"aws-ec2-instance\", \"aws-s3-bucket\"]\n",
            cloud.management_role_arn()
        );
        Self {
            settings: format!("[[connector]]\nid = \"{}\"\n", cloud.connector_id),
            env: [cloud.env(), vec![("DATABASE_URL", database.url.clone())]].concat(),
            directory: tempfile::tempdir().expect("a directory"),
            cloud,
            database,
            form,
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Runs `check`: its exit code, and its steps.
    fn run(&self) -> (i32, Vec<Value>) {
        let output = Command::new(env!("CARGO_BIN_EXE_apono-connector"))
            .args(["check", "--output", "json", "--settings"])
            .arg(self.file("connector.toml", &self.settings))
            .arg("--file")
            .arg(self.file("prod.toml", &self.form))
            .env_remove("DATABASE_URL")
            .env("HOME", "/nowhere")
            .envs(self.env.iter().map(|(name, value)| (*name, value)))
            .output()
            .expect("a check");
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let steps = answer["steps"].as_array().expect("steps").clone();
        assert_eq!(answer["good"], steps.iter().all(|step| step["outcome"] != "failed"));
        (output.status.code().expect("an exit code"), steps)
    }

    /// Sets a variable.
    fn set(&mut self, name: &'static str, value: &str) {
        self.env.retain(|(other, _)| *other != name);
        self.env.push((name, value.to_owned()));
    }

    fn unset(&mut self, name: &str) {
        self.env.retain(|(other, _)| *other != name);
    }

    /// Changes the trust policy of a role.
    fn trust(&self, account: &str, role: &str, change: impl FnOnce(&mut Value)) {
        let mut world = self.cloud.sim.world();
        let role = world.account(account).roles.get_mut(role).expect("a role");
        change(&mut role.trust["Statement"][0]);
    }

    /// Wants session audit, and gives its rights on one side alone.
    fn audit(&mut self, give: impl FnOnce(&mut Deployment, Deployment)) {
        self.form.push_str("audit_enabled = true\n");
        let mut given = self.cloud.deployment();
        give(&mut given, self.cloud.deployment_with(&[("SessionAudit", "Enabled")]));
        self.cloud.sim.world().deploy(&self.cloud.organization, &given);
    }

    /// Takes an action out of a role's policy.
    fn forbid(&self, account: &str, role: &str, action: &str) {
        let mut world = self.cloud.sim.world();
        let role = world.account(account).roles.get_mut(role).expect("a role");
        let actions = role.policies[0]["Statement"][0]["Action"].as_array_mut().expect("actions");
        actions.retain(|allowed| allowed != action);
    }
}

/// Breaks a good set-up, and holds that exactly one line is not well, and what it says.
async fn broken(
    spoil: impl AsyncFnOnce(&mut Setup),
    (exit, code): (i32, &str),
    finding: &str,
    remedy: &str,
) {
    let mut setup = Setup::good().await;
    spoil(&mut setup).await;
    let (found, steps) = setup.run();
    let bad: Vec<&Value> = steps
        .iter()
        .filter(|step| step["outcome"] == "failed" || step["outcome"] == "warning")
        .collect();
    assert_eq!(bad.len(), 1, "{bad:#?}");
    assert_eq!(bad[0]["code"], code, "{bad:#?}");
    let says = |field: &str| bad[0][field].as_str().expect("a text").to_owned();
    assert!(says("finding").contains(finding), "{}", says("finding"));
    assert!(says("remedy").contains(remedy), "{}", says("remedy"));
    assert_eq!(found, exit);
}

macro_rules! broken {
    ($($name:ident: $spoil:expr, $exit:literal $code:literal, $finding:literal, $remedy:literal;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                broken($spoil, ($exit, $code), $finding, $remedy).await;
            }
        )+
    };
}

mod trail;

broken! {
    settings_with_an_unknown_key:
        async |s| s.settings.push_str("[sync]\ngroups_at_onze = 4\n"),
        64 "SETTINGS", "groups_at_onze", "config/connector.toml shows all";
    settings_that_open_a_port_without_encryption:
        async |s| s.settings.push_str("[grpc]\nlisten = \"0.0.0.0:8443\"\n"),
        64 "SETTINGS", "grpc.listen is not a loopback address", "Correct the key";
    a_form_with_a_type_that_is_none:
        async |s| s.form = s.form.replace("aws-s3-bucket", "aws-s3-buckets"),
        64 "INTEGRATION_FORM", "\"aws-s3-buckets\" is not a resource type", "Correct the field";
    a_server_that_does_not_answer:
        async |s| s.set("DATABASE_URL", "postgres://connector@127.0.0.1:1/connector"),
        1 "DATABASE", "failed to connect", "Check host and port";
    a_database_that_is_not_there:
        async |s| { let url = format!("{}_not", s.database.url); s.set("DATABASE_URL", &url); },
        1 "DATABASE", "does not exist", "Create the database";
    a_user_that_the_server_does_not_know:
        async |s| { let url = s.database.url.replace("test@", "nobody@"); s.set("DATABASE_URL", &url); },
        1 "DATABASE", "role \"nobody\" does not exist", "Correct the user in database.url";
    a_user_without_rights:
        async |s| {
            let user = format!("weak_{}", connector::base::chance::uuid().simple());
            s.database.execute(&format!("CREATE ROLE {user} LOGIN")).await;
            let url = s.database.url.replace("test@", &format!("{user}@"));
            s.set("DATABASE_URL", &url);
        },
        1 "SCHEMA", "may not use or make the schema", "owner of the database";
    a_schema_of_a_newer_version:
        async |s| s.database.execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (29990101000000, 'future', true, ''::bytea, 0)",
        ).await,
        1 "SCHEMA", "29990101000000", "Run a connector of at least the version";
    a_database_whose_clock_is_wrong:
        async |s| s.database.move_time("1 minute").await,
        1 "CLOCKS", "s behind the database", "Synchronize the clocks";
    a_host_whose_clock_is_wrong:
        async |s| s.cloud.sim.world().clock.advance(TimeDelta::minutes(-2)),
        1 "CLOCKS", "ahead of AWS", "Synchronize the clocks";
    a_host_without_an_identity:
        async |s| for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] { s.unset(name) },
        1 "OWN_IDENTITY", "no AWS identity", "Give the host an AWS role";
    a_host_with_credentials_that_aws_does_not_know:
        async |s| s.set("AWS_ACCESS_KEY_ID", "ASIAUNKNOWN"),
        1 "OWN_IDENTITY", "InvalidClientTokenId", "Check that";
    a_way_to_aws_that_is_closed:
        async |s| s.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        1 "OWN_IDENTITY", "AWS did not answer", "proxy, DNS, firewall";
    certificate_authorities_that_are_not_there:
        async |s| s.set("AWS_CA_BUNDLE", "/nowhere/ca.pem"),
        1 "AWS_CLIENT", "/nowhere/ca.pem", "Correct AWS_CA_BUNDLE";
    a_stack_that_was_not_deployed:
        async |s| s.cloud.sim.world().account(&s.cloud.management).roles.clear(),
        1 "MANAGEMENT_ROLE", "cannot be assumed", "ConnectorRoleArn is arn:aws:iam::999999999999:role/apono-hub";
    a_stack_for_another_connector:
        async |s| s.trust(&s.cloud.management, MANAGEMENT_ROLE, |trust| {
            trust["Condition"] = json!({ "StringEquals": { "sts:ExternalId": "other" } });
        }),
        1 "MANAGEMENT_ROLE", "cannot be assumed", "AponoConnectorId is";
    a_role_that_asks_for_no_external_id:
        async |s| s.trust(&s.cloud.management, MANAGEMENT_ROLE, |trust| {
            trust.as_object_mut().expect("a statement").remove("Condition");
        }),
        1 "EXTERNAL_ID", "can be assumed without an external id", "StringEquals sts:ExternalId";
    a_role_that_takes_any_external_id:
        async |s| s.trust(&s.cloud.management, MANAGEMENT_ROLE, |trust| {
            trust["Condition"] = json!({ "StringLike": { "sts:ExternalId": "*" } });
        }),
        1 "EXTERNAL_ID", "can be assumed with a wrong external id", "StringEquals sts:ExternalId";
    a_stack_in_a_member_account:
        async |s| {
            let mut world = s.cloud.sim.world();
            let role = world.account(&s.cloud.management).roles[MANAGEMENT_ROLE].clone();
            world.account(MEMBERS[0]).roles.insert(role.name.clone(), role);
            s.form = s.form.replace("111111111111", MEMBERS[0]);
        },
        1 "ORGANIZATION", "organizations:DescribeOrganization", "Update the stack";
    a_root_that_is_not_there:
        async |s| s.form = s.form.replace("r-test\"", "r-tess\""),
        1 "ORGANIZATION_TREE", "r-tess is not in this organization", "Use one of: r-test (Root)";
    an_excluded_unit_that_is_not_there:
        async |s| s.form = s.form.replace("ou-test-bbbbbbbb", "ou-test-cccccccc"),
        1 "ORGANIZATION_TREE", "ou-test-cccccccc is not in this organization", "ou-test-bbbbbbbb (Sandbox)";
    a_unit_without_accounts:
        async |s| s.form = s.form.replace("r-test\"", "ou-test-bbbbbbbb\"").replace("[\"ou-test-bbbbbbbb\"]", "[]"),
        0 "ORGANIZATION_TREE", "0 accounts will be read", "Choose a root_or_ou_id";
    identity_center_in_another_region:
        async |s| s.form = s.form.replace("sso_region = \"eu-west-1\"", "sso_region = \"us-east-1\""),
        0 "IDENTITY_CENTER", "ssoins-test123456 is in eu-west-1", "Set sso_region to eu-west-1.";
    no_identity_center:
        async |s| s.cloud.sim.world().organizations.values_mut().for_each(|o| o.sso_region.clear()),
        0 "IDENTITY_CENTER", "nor in any other enabled region", "Enable IAM Identity Center";
    the_portal_of_another_instance:
        async |s| s.form = s.form.replace("d-test123456", "d-0000000000"),
        0 "PORTAL_URL", "is the portal of d-0000000000, but this instance is d-test123456", "console in eu-west-1";
    session_audit_without_its_rights:
        async |s| s.audit(|given, with| given.member = with.member),
        0 "AUDIT", "does not allow cloudtrail:LookupEvents, iam:ListRoles", "parameter SessionAudit to Enabled";
    session_audit_without_its_rights_in_members:
        async |s| s.audit(|given, with| given.management = with.management),
        0 "MEMBER_AUDIT", "so session audit is not read", "parameter SessionAudit to Enabled";
    an_account_without_the_member_role:
        async |s| s.cloud.sim.world().account(MEMBERS[1]).roles.clear(),
        0 "MEMBER_ROLES", "in 1 of 2 member accounts; not in 333333333333", "StackSet";
    a_stack_set_that_was_not_deployed:
        async |s| for id in MEMBERS { s.cloud.sim.world().account(id).roles.clear() },
        0 "MEMBER_ROLES", "in 0 of 2 member accounts; not in 222222222222, 333333333333", "StackSet";
    a_member_role_that_asks_for_no_external_id:
        async |s| s.trust(MEMBERS[0], MEMBER_ROLE, |trust| {
            trust.as_object_mut().expect("a statement").remove("Condition");
        }),
        1 "MEMBER_EXTERNAL_ID", "can be assumed without an external id", "StringEquals sts:ExternalId";
    a_management_role_of_an_older_template:
        async |s| s.forbid(&s.cloud.management, MANAGEMENT_ROLE, "s3:ListAllMyBuckets"),
        0 "MANAGEMENT_ACTIONS", "does not allow s3:ListAllMyBuckets", "Update the stack";
    a_member_role_of_an_older_template:
        async |s| s.forbid(MEMBERS[0], MEMBER_ROLE, "ssm:DescribeInstanceInformation"),
        0 "MEMBER_ACTIONS", "does not allow ssm:DescribeInstanceInformation", "Update the stack";
    a_member_role_that_may_not_be_tried:
        async |s| s.forbid(MEMBERS[0], MEMBER_ROLE, "iam:SimulatePrincipalPolicy"),
        0 "MEMBER_ACTIONS", "may not call iam:SimulatePrincipalPolicy", "Update the stack";
    several_connectors_of_which_none_is_named:
        async |s| s.settings.push_str("[[connector]]\nid = \"e2f3a4b5-0000-4000-8000-000000000000\"\n"),
        1 "CONNECTOR", "several connectors", "--connector";
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_set_up_is_well_step_by_step() {
    let setup = Setup::good().await;
    let (exit, steps) = setup.run();
    let codes: Vec<&str> = steps.iter().filter_map(|step| step["code"].as_str()).collect();
    assert_eq!(
        codes,
        [
            "SETTINGS",
            "DATABASE",
            "SCHEMA",
            "OWN_IDENTITY",
            "CLOCKS",
            "MANAGEMENT_ROLE",
            "EXTERNAL_ID",
            "ORGANIZATION",
            "ORGANIZATION_TREE",
            "IDENTITY_CENTER",
            "MANAGEMENT_ACTIONS",
            "ACCESS_ACTIONS",
            "MEMBER_ROLES",
            "MEMBER_EXTERNAL_ID",
            "MEMBER_ACTIONS",
            "CALLS_PER_SYNC",
        ]
    );
    assert!(steps.iter().all(|step| step["outcome"] == "passed"), "{steps:#?}");
    let said = |code: &str| {
        let step = steps.iter().find(|step| step["code"] == code).expect("a step");
        step["finding"].as_str().expect("a text").to_owned()
    };
    let identity = said("OWN_IDENTITY");
    assert!(identity.contains("by environment variables"), "{identity}");
    assert!(identity.ends_with("ConnectorRoleArn is arn:aws:iam::999999999999:role/apono-hub"));
    // Three accounts: two calls to enter each, one collector there, one in three regions.
    assert!(said("CALLS_PER_SYNC").starts_with("at least 18 calls every 1h"));
    assert_eq!(exit, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_integrations_are_tried_while_the_daemon_runs_on_its_own_postgresql() {
    let mut setup = Setup::good().await;
    let state = short_directory();
    let options = Options { state: Some(state.path().to_owned()), ..Options::default() };
    setup.unset("DATABASE_URL");
    setup.settings = format!("state_directory = {:?}\n", state.path().to_string_lossy());
    let stored = |setup: &Setup| {
        let output = Command::new(env!("CARGO_BIN_EXE_apono-connector"))
            .args(["check", "--settings"])
            .arg(setup.file("connector.toml", &setup.settings))
            .env_remove("DATABASE_URL")
            .env("HOME", "/nowhere")
            .envs(setup.env.iter().map(|(name, value)| (*name, value)))
            .output()
            .expect("a check");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    // Before the first run there is no cluster, and a check makes none.
    let said = stored(&setup);
    assert!(said.contains("the first run makes a private one"), "{said}");
    assert!(!state.path().join("postgresql").exists());
    let mut daemon = Daemon::start_with(&setup.cloud, options);
    let settings = crate::harness::settings_for(&setup.cloud);
    daemon.api().await.create_and_sync(settings).await;
    let said = stored(&setup);
    assert!(said.contains("prod: apono-connector-member can be assumed in 2 of 2"), "{said}");
    // A stopped daemon's cluster is started for the check, and stopped again.
    daemon.stop().await;
    let said = stored(&setup);
    assert!(said.contains("prod: apono-connector-member can be assumed in 2 of 2"), "{said}");
    assert!(!state.path().join("postgresql/data/postmaster.pid").exists());
}
