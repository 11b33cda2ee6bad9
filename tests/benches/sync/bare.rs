//! The bare SDK: the calls of a first sync, with as many at once, and nothing else. What
//! it takes is what nobody who uses the SDK can save.

use std::{
    env,
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_credential_types::Credentials;
use connector::aws::{Config, http::Http};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{AT_ONCE, harness::Cloud, measure};

/// What the loop took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) calls: usize,
}

/// Runs the loop over accounts and regions of a cloud, as a process of its own.
pub(crate) async fn run(cloud: &Cloud, accounts: &[String], regions: &[&str]) -> Took {
    let before = calls(cloud);
    let task = json!({
        "accounts": accounts,
        "regions": regions,
        "connector": cloud.connector_id,
    });
    let mut command = Command::new(env::current_exe().expect("a program"));
    command.env("BENCH_BARE", task.to_string()).envs(cloud.env());
    let output = tokio::task::spawn_blocking(move || command.output().expect("a loop")).await;
    let output = output.expect("a loop");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let took: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let milliseconds = |name: &str| Duration::from_millis(took[name].as_u64().expect("a time"));
    Took { wall: milliseconds("wall"), cpu: milliseconds("cpu"), calls: calls(cloud) - before }
}

/// Every call that the simulator has answered.
pub(crate) fn calls(cloud: &Cloud) -> usize {
    cloud.sim.world().tally.values().map(|tally| tally.calls).sum()
}

/// The loop itself.
pub(crate) fn main(task: &str) -> ExitCode {
    let task: Value = serde_json::from_str(task).expect("a task");
    let texts = |name: &str| -> Vec<String> {
        let texts = task[name].as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (accounts, regions) = (texts("accounts"), Arc::new(texts("regions")));
    let connector = Arc::new(task["connector"].as_str().unwrap_or_default().to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let began = Instant::now();
    runtime.block_on(async {
        // The daemon's own connections, so that the two differ in nothing else.
        let http = Http::new(&Config {
            rate_share: 1.0,
            identity_center_rate: 20.0,
            attempt_timeout: Duration::from_secs(20),
            ca_bundle: None,
        });
        let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .http_client(http.expect("a client").plain())
            .load()
            .await;
        let sts = aws_sdk_sts::Client::new(&config);
        let opened = stream::iter(accounts)
            .map(|account| {
                let (sts, connector, config) = (sts.clone(), connector.clone(), config.clone());
                tokio::spawn(async move { open(&sts, &config, &connector, &account).await })
            })
            .buffer_unordered(AT_ONCE)
            .map(|opened| opened.expect("an account"))
            .collect::<Vec<_>>()
            .await;
        let places = opened
            .into_iter()
            .flat_map(|opened| regions.iter().cloned().map(move |region| (opened.clone(), region)));
        stream::iter(places)
            .map(|(config, region)| tokio::spawn(async move { read(config, region).await }))
            .buffer_unordered(AT_ONCE)
            .for_each(|read| async { read.expect("a region") })
            .await;
    });
    let took = json!({
        "wall": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "cpu": u64::try_from(measure::cpu(std::process::id()).as_millis()).unwrap_or(u64::MAX),
    });
    println!("{took}");
    ExitCode::SUCCESS
}

/// The calls that an account takes: its role, its regions, its buckets.
async fn open(
    sts: &aws_sdk_sts::Client,
    config: &aws_config::SdkConfig,
    connector: &str,
    account: &str,
) -> aws_config::SdkConfig {
    let answer = sts
        .assume_role()
        .role_arn(format!("arn:aws:iam::{account}:role/apono-connector-member"))
        .role_session_name("bench")
        .external_id(connector)
        .send()
        .await
        .expect("a role");
    let made = answer.credentials().expect("credentials");
    let credentials = Credentials::new(
        made.access_key_id(),
        made.secret_access_key(),
        Some(made.session_token().to_owned()),
        None,
        "bench",
    );
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(credentials);
    let config = config.to_builder().credentials_provider(provider).build();
    let regions = aws_sdk_ec2::Client::new(&config).describe_regions().send().await;
    regions.expect("regions");
    let buckets = aws_sdk_s3::Client::new(&config)
        .list_buckets()
        .max_buckets(200)
        .send()
        .await
        .expect("buckets");
    for bucket in buckets.buckets() {
        let region = bucket.bucket_region().unwrap_or_default().to_owned();
        let config = config.to_builder().region(aws_types::region::Region::new(region)).build();
        let tags = aws_sdk_s3::Client::new(&config).get_bucket_tagging();
        tags.bucket(bucket.name().unwrap_or_default()).send().await.expect("tags");
    }
    config
}

/// The calls that a region takes.
async fn read(config: aws_config::SdkConfig, region: String) {
    let config = config.to_builder().region(aws_types::region::Region::new(region)).build();
    let instances =
        aws_sdk_ec2::Client::new(&config).describe_instances().max_results(200).send().await;
    let ids: Vec<String> = instances
        .expect("instances")
        .reservations()
        .iter()
        .flat_map(aws_sdk_ec2::types::Reservation::instances)
        .filter_map(|instance| instance.instance_id().map(str::to_owned))
        .collect();
    for ids in ids.chunks(50) {
        let filter = aws_sdk_ssm::types::InstanceInformationStringFilter::builder()
            .key("InstanceIds")
            .set_values(Some(ids.to_vec()))
            .build()
            .expect("a filter");
        let information = aws_sdk_ssm::Client::new(&config).describe_instance_information();
        information.filters(filter).send().await.expect("information");
    }
}
