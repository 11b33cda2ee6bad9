//! Every metric that an alert or a dashboard names is there. Against `aws-sim`.

use std::{collections::BTreeSet, fs, path::Path};

use apono_connector_proto::v1::WatchResourcesRequest;
use aws_sim::{Effect, Fault};
use connector::telemetry::metrics::{Kind, METRICS};
use serde_json::Value;

use crate::harness::{Cloud, Daemon, Database, bucket, settings_for, wait_for};

fn config(file: &str) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    fs::read_to_string(top.join("config").join(file)).expect("a file")
}

/// The metrics that a text names, as they are declared.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c))
        .filter(|word| word.starts_with("connector_"))
        .map(|word| {
            let is_histogram =
                |name: &str| METRICS.iter().any(|m| m.name == name && m.kind == Kind::Histogram);
            let base = ["_bucket", "_sum", "_count"]
                .into_iter()
                .find_map(|suffix| word.strip_suffix(suffix).filter(|base| is_histogram(base)));
            base.unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn alerts_say_what_to_do() {
    let alerts: Value = serde_saphyr::from_str(&config("alerts.yaml")).expect("YAML");
    let rules = alerts["groups"][0]["rules"].as_array().expect("rules");
    assert!(rules.len() >= 10);
    for rule in rules {
        for field in ["/alert", "/expr", "/labels/severity", "/annotations/summary"] {
            assert!(rule.pointer(field).is_some_and(Value::is_string), "{field} in {rule}");
        }
        let remedy = rule["annotations"]["remedy"].as_str().expect("a remedy");
        assert!(remedy.ends_with('.'), "{remedy}");
    }
}

#[tokio::test]
async fn every_metric_that_is_declared_shows_and_every_one_that_is_named_is_declared() {
    let declared: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    let dashboard = config("dashboards/connector.json");
    let _: Value = serde_json::from_str(&dashboard).expect("JSON");
    let (alerted, shown) = (named(&config("alerts.yaml")), named(&dashboard));
    for name in alerted.union(&shown) {
        assert!(declared.contains(name), "{name} is no metric of ours");
    }
    assert_eq!(shown, declared, "the dashboard shows them all");

    // A daemon that has met everything once.
    let cloud = Cloud::empty("aws").await;
    cloud.account("222222222222", &cloud.root, "payments");
    cloud.account("333333333333", &cloud.root, "checkout");
    cloud.deploy();
    cloud.sim.world().account("333333333333").roles.clear();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    cloud.sim.world().faults.push(Fault::new(Effect::Throttle).on("s3:ListAllMyBuckets").times(2));
    api.create_and_sync(settings_for(&cloud)).await;
    let watch = WatchResourcesRequest { integration: "prod".to_owned(), ..Default::default() };
    let mut stream = api.inventory().watch_resources(watch).await.expect("a stream").into_inner();
    stream.message().await.expect("a message").expect("a snapshot");
    cloud.sim.world().account("222222222222").buckets.push(bucket("b", "eu-west-1", &[]));
    api.sync("prod").await;
    stream.message().await.expect("a message").expect("a change");
    // A task that fails: the janitor's minute is too far away, the validator's is not.
    database.execute("ALTER TABLE connector.validations RENAME TO elsewhere").await;
    let found = wait_for("every metric", || async {
        let answer = daemon.get("/metrics");
        let shows = |name: &str| {
            answer.lines().any(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']) || rest.starts_with("_bucket"))
            })
        };
        let absent: Vec<&String> = declared.iter().filter(|name| !shows(name)).collect();
        absent.is_empty().then(|| answer.clone())
    })
    .await;
    // An account that cannot be entered counts among the scopes that cannot be read.
    let unread =
        "connector_scopes_total{collector=\"open_account\",outcome=\"MEMBER_ROLE_DENIED\"} ";
    assert!(found.contains(unread), "{found}");
    for metric in METRICS {
        let help = format!("# HELP {} {}", metric.name, metric.help);
        assert!(found.lines().any(|line| line == help), "{help} in\n{found}");
    }
}
