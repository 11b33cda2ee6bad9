//! An estate whose owners mean us ill: names and tags that look like commands are stored as
//! they are, found by them, and shown without being obeyed. Against `aws-sim`.

use std::{
    collections::BTreeMap,
    process::{Command, Output, Stdio},
};

use aws_sim::{Kind, Thing, seed, text::Text};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::harness::{Cloud, Daemon, Database, bucket, settings_with_every_type};

const ACCOUNT: &str = "222222222222";

const NAMES: [&str; 9] = [
    "'; DROP TABLE connector.resources; --",
    "$1 OR 1=1",
    "<script>alert('x')</script>",
    "=HYPERLINK(\"http://example.com\")",
    "\u{1b}[31mred\u{1b}]0;title\u{7}",
    "\u{9b}2J",
    "right\u{202e}left",
    "line\nnext \"quoted\" \\ 100 % %s {} שלום 😀",
    "\r\u{8}over",
];

fn client(daemon: &Daemon, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_apono-connector"))
        .args(arguments)
        .env("APONO_SOCKET", &daemon.socket)
        .stdin(Stdio::null())
        .output()
        .expect("a client")
}

/// What a command prints, which commands no terminal.
fn shown(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = client(daemon, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let is_command = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(is_command), "{text:?}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_estate_is_stored_found_and_shown() {
    let cloud = Cloud::empty("aws").await;
    cloud.account(ACCOUNT, &cloud.root, NAMES[4]);
    cloud.unit("ou-test-aaaaaaaa", &cloud.root, NAMES[0]);
    {
        let mut world = cloud.sim.world();
        world.pages_as_asked = true;
        let account = world.account(ACCOUNT);
        for name in NAMES {
            account.things.push(Thing {
                kind: Kind::Secret,
                region: "eu-west-1".to_owned(),
                name: name.to_owned(),
                tags: [(Text::from(name), Text::from(name))].into(),
                fields: json!({ "Description": name }),
            });
        }
        // 10,000 tags of 256 characters, none of them ASCII.
        for number in 0..200 {
            let mut large = bucket(&format!("large-{number}"), "eu-west-1", &[]);
            large.tags = (0..50)
                .map(|at| {
                    let key = format!("{at:02}{}", "鍵".repeat(126));
                    (Text::from(key), Text::from("😀".repeat(256)))
                })
                .collect::<BTreeMap<_, _>>();
            account.buckets.push(large);
        }
    }
    let mut chance = StdRng::seed_from_u64(1);
    seed::stock(&mut cloud.sim.world(), ACCOUNT, cloud.region(), 1, &mut chance);
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let mut settings = settings_with_every_type(&cloud);
    settings.resource_types.retain(|kind| !kind.starts_with("aws-identity-center-"));
    api.create_and_sync(settings).await;
    assert_eq!(api.lines().await, cloud.expected_of_every_type(&[]));
    let tags = "SELECT count(*) FROM connector.resources, jsonb_object_keys(tags) WHERE type = 'aws-s3-bucket'";
    assert_eq!(database.count(tags).await, 10_000);

    for name in NAMES {
        let wanted = ["resources", "list", "--type", "aws-secretsmanager-secret", "--text", name];
        let found = shown(&daemon, &[&wanted[..], &["--output", "json"]].concat());
        let found: Value = serde_json::from_str(&found).expect("JSON");
        let resources = found["resources"].as_array().expect("resources");
        assert_eq!(resources.len(), 1, "{name:?}");
        assert_eq!(resources[0]["name"], name);
        assert_eq!(resources[0]["tags"], json!({ name: name }));
        assert_eq!(resources[0]["attributes"]["description"], name);
        let quoted = format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        let filter = format!("type = aws-secretsmanager-secret AND tag.{quoted} = {quoted}");
        let filtered = shown(&daemon, &["resources", "list", &filter, "--output", "json"]);
        let filtered: Value = serde_json::from_str(&filtered).expect("JSON");
        assert_eq!(filtered["resources"], found["resources"], "{filter}");
        // A table has one line for it, and one for the headings.
        assert_eq!(shown(&daemon, &wanted).lines().count(), 2, "{name:?}");
    }
    let tree = shown(&daemon, &["accounts", "tree", "prod"]);
    assert!(tree.contains("\\u{1b}[31mred"), "{tree}");
    shown(&daemon, &["accounts", "list", "prod"]);
    shown(&daemon, &["resources", "watch", "prod", "--once"]);
    shown(&daemon, &["resources", "watch", "prod", "--once", "--output", "json"]);
    let refused = client(&daemon, &["resources", "list", "--type", NAMES[4]]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && !said.contains('\u{1b}'), "{said:?}");
}
