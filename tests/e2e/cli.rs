//! The client, as a person or a script uses it. Against `aws-sim`.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Cloud, Daemon, Database, TEMPLATE, wait_for};

/// Runs the client on the daemon's socket.
fn client(daemon: &Daemon, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_apono-connector"))
        .args(arguments)
        .env("APONO_SOCKET", &daemon.socket)
        .env("HOME", "/nowhere")
        .stdin(Stdio::null())
        .output()
        .expect("a client")
}

fn good(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = client(daemon, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {stderr}{stdout}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(daemon: &Daemon, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
    serde_json::from_str(&good(daemon, &arguments)).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_connected_read_and_shown() {
    let cloud = Cloud::sample().await;
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("prod.toml");
    let form = format!(
        "name = \"prod\"\nregion = \"eu-west-1\"\nmanagement_role_arn = \"{}\"\nroot_or_ou_id = \"r-samp\"\nexcluded_ou_ids = [\"ou-samp-sandbox1\"]\nresource_types = [\"aws-account\", \"aws-s3-bucket\"]\n",
        cloud.management_role_arn()
    );
    std::fs::write(&file, &form).expect("a file");
    let path = file.to_string_lossy().into_owned();

    let steps = json(&daemon, &["integrations", "validate", "-f", &path]);
    assert_eq!(steps["valid"], true);
    let plan = good(&daemon, &["integrations", "apply", "-f", &path, "--dry-run"]);
    assert_eq!(plan, "prod will be created\n");
    good(&daemon, &["integrations", "apply", "-f", &path]);
    good(&daemon, &["sync", "start", "prod", "--watch"]);
    let tree = good(&daemon, &["accounts", "tree", "prod"]);
    for line in [
        "  Sandbox ou-samp-sandbox1  (excluded)",
        "    100000000012 legacy                   not read: suspended",
        "    100000000007 audit                    1 resources, not read: MEMBER_ROLE_DENIED (2 places)",
    ] {
        assert!(tree.lines().any(|found| found == line), "{line:?} in\n{tree}");
    }
    what_is_not_read_is_explained(&daemon);
    let found = json(&daemon, &["resources", "list", "--type", "aws-s3-bucket", "--limit", "2"]);
    assert_eq!(found["resources"].as_array().map(Vec::len), Some(2));

    // What is exported changes nothing when it is applied; what is edited is shown.
    let exported = good(&daemon, &["integrations", "export", "prod"]);
    std::fs::write(&file, exported.replace("1h", "2h")).expect("a file");
    let plan = good(&daemon, &["integrations", "apply", "-f", &path, "--dry-run"]);
    assert!(plan.contains("sync_interval") && plan.contains("\"2h\""), "{plan}");
    good(&daemon, &["integrations", "apply", "-f", &path]);
    let plan = good(&daemon, &["integrations", "apply", "-f", &path, "--dry-run"]);
    assert_eq!(plan, "prod is as the file says\n");
    good(&daemon, &["integrations", "delete", "prod", "--yes"]);
    assert_eq!(database.count("SELECT count(*) FROM connector.resources").await, 0);
}

fn what_is_not_read_is_explained(daemon: &Daemon) {
    let role = "apono-connector-member";
    let problems = good(daemon, &["problems"]);
    let first = format!("MEMBER_ROLE_DENIED [{role}] (warning, 1 place, since ");
    assert!(problems.starts_with(&first), "{problems}");
    let matrix = good(daemon, &["coverage", "prod"]);
    assert!(matrix.contains("10/11 MEMBER_ROLE_DENIED 1"), "{matrix}");
    let scopes = good(daemon, &["coverage", "prod", "--unread", "--account", "100000000007"]);
    assert_eq!(scopes.matches("MEMBER_ROLE_DENIED").count(), 2, "{scopes}");

    // A mute has a reason and an end, and is taken away again.
    let named = ["prod", "MEMBER_ROLE_DENIED", "--subject", role];
    let mute = [&["problems", "mute"], &named[..], &["--reason", "known", "--for", "2h"]].concat();
    assert!(good(daemon, &mute).contains("  muted until "));
    assert!(good(daemon, &["integrations", "list"]).contains(" active "));
    // The only problem of its code needs no subject.
    good(daemon, &["problems", "unmute", "prod", "MEMBER_ROLE_DENIED"]);
    assert!(good(daemon, &["integrations", "list"]).contains(" warning "));

    let syncs = json(daemon, &["sync", "list", "prod"]);
    let id = syncs["syncs"][0]["id"].as_str().expect("an id");
    let explained = good(daemon, &["sync", "explain", id]);
    assert_eq!(good(daemon, &["sync", "explain", "prod"]), explained, "the newest is meant");
    for words in ["s3_bucket", "slowest scopes", "not read", "MEMBER_ROLE_DENIED"] {
        assert!(explained.contains(words), "{words} in\n{explained}");
    }
    // To cancel one that has ended changes nothing.
    assert!(good(daemon, &["sync", "cancel", id]).contains("succeeded with problems"));

    let facets = good(daemon, &["resources", "facets", "prod"]);
    assert!(facets.contains("aws-s3-bucket") && facets.contains("payments"), "{facets}");
    let buckets = good(daemon, &["resources", "facets", "prod", "type:bucket"]);
    assert!(buckets.contains("aws-s3-bucket") && !buckets.contains("aws-ec2"), "{buckets}");
    let others = good(daemon, &["resources", "facets", "prod", "-type:bucket"]);
    assert!(!others.contains("aws-s3-bucket") && others.contains("aws-account"), "{others}");
    let listed = good(daemon, &["resources", "list", "type:bucket AND account.name = payments"]);
    assert!(listed.contains("aws-s3-bucket") && !listed.contains("aws-ec2"), "{listed}");

    let changes = good(daemon, &["resources", "watch", "prod", "--once"]);
    let listed = json(daemon, &["resources", "list"]);
    let listed = listed["resources"].as_array().expect("resources");
    let arn = listed[0]["arn"].as_str().expect("an ARN");
    let history = good(daemon, &["resources", "history", "prod", arn]);
    assert!(history.lines().nth(1).is_some_and(|line| line.contains("first known")), "{history}");
    assert_eq!(changes.lines().filter(|line| line.starts_with("+ ")).count(), listed.len());
    assert_eq!(good(daemon, &["resources", "release", "prod"]), "no removal is held there\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wizard_needs_a_terminal_and_flags_are_named_by_field() {
    let cloud = Cloud::empty("aws").await;
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let said = |arguments: &[&str]| {
        let output = client(&daemon, arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let answer = said(&["integrations", "create"]);
    assert!(answer.contains("there is no terminal to ask on"), "{answer}");
    let answer = said(&["integrations", "create", "--name", "prod", "--region", "eu-west-1"]);
    assert!(answer.contains("settings.root_or_ou_id is required"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_client_needs_a_token_and_is_told_so() {
    let cloud = Cloud::empty("aws").await;
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let secret =
        good(&daemon, &["tokens", "create", "ci", "--role", "viewer", "--valid-for", "1h"]);
    let address = format!("http://{}", daemon.grpc);
    let remote = |token: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apono-connector"));
        command.args(arguments).env("APONO_ADDRESS", &address).env("HOME", "/nowhere");
        command.env_remove("APONO_TOKEN");
        command.envs(token.map(|token| ("APONO_TOKEN", token)));
        let output = command.output().expect("a client");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(remote(Some(secret.trim()), &["version"]), (true, String::new()));
    let (_, said) = remote(None, &["version"]);
    assert!(said.contains("set APONO_TOKEN or --token-file"), "{said}");
    let (_, said) = remote(Some("apono_wrong"), &["version"]);
    assert!(said.contains("ask an admin for a new one"), "{said}");
    let (_, said) = remote(Some(secret.trim()), &["tokens", "list"]);
    assert!(said.contains("a token with the role viewer may not do this"), "{said}");

    // Revoked, it is refused from the next call on.
    let tokens = json(&daemon, &["tokens", "list"]);
    let id = tokens["tokens"][0]["id"].as_str().expect("an id");
    good(&daemon, &["tokens", "revoke", id]);
    let (works, said) = remote(Some(secret.trim()), &["version"]);
    assert!(!works && said.contains("ask an admin for a new one"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_to_deploy_is_told_with_the_values_to_fill_in() {
    let cloud = Cloud::sample().await;
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    // The daemon finds its own role in the background.
    wait_for("an AWS identity", || async {
        good(&daemon, &["identity"]).contains(&cloud.hub_role_arn).then_some(())
    })
    .await;
    let output = client(&daemon, &["cloudformation"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), TEMPLATE);
    let told = String::from_utf8_lossy(&output.stderr);
    let values =
        format!("AponoConnectorId={} ConnectorRoleArn={} ", cloud.connector_id, cloud.hub_role_arn);
    for words in [values.as_str(), "activate-organizations-access", "CAPABILITY_NAMED_IAM"] {
        assert!(told.contains(words), "{words} in {told}");
    }
    let unknown = client(&daemon, &["cloudformation", "--types", "s3"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("aws-s3-bucket"));

    let chosen = ["iam-policy", "member", "--types", "aws-s3-bucket"];
    let document: Value = serde_json::from_str(&good(&daemon, &chosen)).expect("JSON");
    let actions = document["Statement"][0]["Action"].as_array().expect("actions").clone();
    let buckets = [
        "ec2:DescribeRegions",
        "iam:SimulatePrincipalPolicy",
        "s3:GetBucketLocation",
        "s3:GetBucketTagging",
        "s3:GetEncryptionConfiguration",
        "s3:ListAllMyBuckets",
    ];
    assert_eq!(actions, buckets);
    for format in ["cloudformation", "terraform"] {
        let written = good(&daemon, &[&chosen[..], &["--format", format]].concat());
        for action in buckets {
            assert!(written.contains(action), "{action} in {written}");
        }
    }
    let yaml = good(&daemon, &[&chosen[..], &["--format", "cloudformation"]].concat());
    let entry: Value = serde_saphyr::from_str(&yaml).expect("YAML");
    assert_eq!(entry["PolicyDocument"], document);
}
