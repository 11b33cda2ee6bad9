//! The whole path against **moto**, a third-party emulator, behind the simulator as a
//! gate: trust and permissions are judged by `aws-sim`, everything else is answered by
//! moto. It keeps our own simulator's wire formats honest.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use apono_connector_proto::v1::{IntegrationSettings, SyncState};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_ec2::types::{ResourceType, Tag as Ec2Tag, TagSpecification};
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Tag as S3Tag, Tagging,
};
use aws_sim::Sim;

use crate::harness::{Cloud, Daemon, Database, Options, settings_with_every_type, wait_for};

mod access;
mod iam;
mod stack;
mod types;

/// moto's own account: the management account of its organization.
const MANAGEMENT: &str = "123456789012";
const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

/// A moto server of its own; dropped, it is killed.
struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    async fn start() -> Self {
        let program = std::env::var("TEST_MOTO_SERVER")
            .expect("TEST_MOTO_SERVER names moto's server; run the tests by `make test`");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto");
        let moto = Self { child, address };
        wait_for("moto", || async { TcpStream::connect(address).ok() }).await;
        moto
    }

    /// Clients of an account: moto tells accounts by the keys that it made itself.
    async fn config(&self, account: &str, region: &'static str) -> SdkConfig {
        let base = aws_config::defaults(BehaviorVersion::latest())
            .http_client(
                connector::aws::http::Http::new(&connector::aws::Config {
                    rate_share: 1.0,
                    identity_center_rate: 20.0,
                    attempt_timeout: std::time::Duration::from_secs(30),
                    ca_bundle: None,
                })
                .expect("a client")
                .plain(),
            )
            .endpoint_url(format!("http://{}", self.address))
            .region(Region::new(region))
            .credentials_provider(Credentials::new("AKIASEED", "secret", None, None, "test"))
            .load()
            .await;
        if account == MANAGEMENT {
            return base;
        }
        let assumed = aws_sdk_sts::Client::new(&base)
            .assume_role()
            .role_arn(format!("arn:aws:iam::{account}:role/seed"))
            .role_session_name("seed")
            .send()
            .await
            .expect("a session");
        let keys = assumed.credentials().expect("credentials");
        let credentials = Credentials::new(
            keys.access_key_id(),
            keys.secret_access_key(),
            Some(keys.session_token().to_owned()),
            None,
            "test",
        );
        base.into_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }
}

/// What was made, as `arn name tags`.
#[derive(Default)]
struct Made {
    root: String,
    organization: String,
    excluded: String,
    /// Account id → whether it lies in the excluded subtree.
    accounts: BTreeMap<String, bool>,
    lines: Vec<String>,
}

/// moto takes its time where others have the cores: an answer is waited for as long as a daemon of the
/// field would.
fn patient(options: Options) -> Options {
    options
        .set("APONO__SYNC__LEASE", "15s")
        .set("APONO__SYNC__HEARTBEAT", "5s")
        .set("APONO__AWS__ATTEMPT_TIMEOUT", "10s")
}

#[tokio::test]
async fn twenty_five_accounts_are_found_to_the_tag() {
    let moto = Moto::start().await;
    let made = Box::pin(seed(&moto)).await;

    let sim = Sim::start_before(moto.address).await.expect("a gate");
    let mut cloud = Cloud::in_front_of(sim, "aws");
    cloud.organization.clone_from(&made.organization);
    cloud.management = MANAGEMENT.to_owned();
    cloud.root = cloud.sim.world().add_organization(&made.organization, "aws", MANAGEMENT);
    for account in made.accounts.keys() {
        cloud.account(account, &cloud.root.clone(), account);
    }
    cloud.deploy();
    let database = Database::create().await;
    let options = patient(Options::default().set("DATABASE_URL", &database.url));
    let daemon = Daemon::start_with(&cloud, options);
    let api = daemon.api().await;
    let settings = IntegrationSettings {
        root_or_ou_id: made.root.clone(),
        excluded_ou_ids: vec![made.excluded.clone()],
        regions: REGIONS.map(str::to_owned).to_vec(),
        ..settings_with_every_type(&cloud)
    };
    let sync = api.create_and_sync(settings).await;
    assert_eq!(sync.state(), SyncState::Succeeded, "{:?}", api.problems().await);
    let mut expected = made.lines;
    expected.sort();
    assert_eq!(api.lines().await, expected);
    let in_database = database
        .texts("SELECT concat_ws(' ', arn, name) FROM connector.resources WHERE gone_at IS NULL")
        .await;
    assert_eq!(in_database.len(), expected.len());
}

async fn seed(moto: &Moto) -> Made {
    let config = moto.config(MANAGEMENT, "us-east-1").await;
    let organizations = aws_sdk_organizations::Client::new(&config);
    let created = organizations.create_organization().send().await.expect("an organization");
    let mut made = Made {
        organization: created.organization().and_then(|o| o.id()).expect("an id").to_owned(),
        ..Made::default()
    };
    let roots = organizations.list_roots().send().await.expect("roots");
    made.root = roots.roots()[0].id().expect("an id").to_owned();
    let unit = async |parent: &str, name: &str| {
        let unit = organizations.create_organizational_unit().parent_id(parent).name(name);
        let unit = unit.send().await.expect("a unit");
        unit.organizational_unit().and_then(|unit| unit.id()).expect("an id").to_owned()
    };
    let production = unit(&made.root, "production").await;
    let payments = unit(&production, "payments").await;
    made.excluded = unit(&made.root, "sandbox").await;
    let deeper = unit(&made.excluded, "deeper").await;
    let parents = [made.root.clone(), production, payments, made.excluded.clone(), deeper];
    for number in 0..25 {
        let name = format!("account-{number}");
        let created = organizations
            .create_account()
            .account_name(&name)
            .email(format!("{name}@example.com"))
            .tags(organization_tag("number", &number.to_string()))
            .send()
            .await
            .expect("an account");
        let status = created.create_account_status().expect("a status");
        let id = status.account_id().expect("an id").to_owned();
        let parent = &parents[number % parents.len()];
        if parent != &made.root {
            let moved = organizations.move_account().account_id(&id);
            moved
                .source_parent_id(&made.root)
                .destination_parent_id(parent)
                .send()
                .await
                .expect("a move");
        }
        let is_excluded = number % parents.len() >= 3;
        if !is_excluded {
            let tags = BTreeMap::from([("number".to_owned(), number.to_string())]);
            made.lines.push(format!("{} {name} {tags:?}", account_arn(&made, &id)));
            // An account that Organizations makes is born with it.
            let role = "OrganizationAccountAccessRole";
            made.lines.push(format!("arn:aws:iam::{id}:role/{role} {role} {{}}"));
        }
        made.accounts.insert(id, is_excluded);
    }
    made.lines.push(format!("{} master {{}}", account_arn(&made, MANAGEMENT)));
    let furnished: Vec<String> = made
        .accounts
        .iter()
        .filter(|(_, excluded)| !**excluded)
        .map(|(id, _)| id.clone())
        .take(3)
        .collect();
    for account in &furnished {
        let config = moto.config(account, "us-east-1").await;
        made.lines.extend(types::global(&config, account).await);
        for region in REGIONS {
            furnish(moto, account, region, &mut made).await;
        }
    }
    let config = moto.config(MANAGEMENT, "eu-west-1").await;
    made.lines.extend(types::enrolled(&config).await);
    // What lies in the excluded subtree must not be found.
    let hidden =
        made.accounts.iter().find(|(_, excluded)| **excluded).expect("an account").0.clone();
    let before = made.lines.len();
    let config = moto.config(&hidden, "us-east-1").await;
    types::global(&config, &hidden).await;
    furnish(moto, &hidden, "eu-west-1", &mut made).await;
    made.lines.truncate(before);
    made
}

fn account_arn(made: &Made, id: &str) -> String {
    format!("arn:aws:organizations::{MANAGEMENT}:account/{}/{id}", made.organization)
}

fn organization_tag(key: &str, value: &str) -> aws_sdk_organizations::types::Tag {
    aws_sdk_organizations::types::Tag::builder().key(key).value(value).build().expect("a tag")
}

async fn furnish(moto: &Moto, account: &str, region: &'static str, made: &mut Made) {
    let config = moto.config(account, region).await;
    let ec2 = aws_sdk_ec2::Client::new(&config);
    for number in 0..3 {
        let tags = BTreeMap::from([
            ("Name".to_owned(), format!("web {number} <&> שלום")),
            ("team".to_owned(), region.to_owned()),
        ]);
        let specification = tags.iter().fold(
            TagSpecification::builder().resource_type(ResourceType::Instance),
            |specification, (key, value)| {
                specification.tags(Ec2Tag::builder().key(key).value(value).build())
            },
        );
        let run = ec2
            .run_instances()
            .image_id("ami-12c6146b")
            .min_count(1)
            .max_count(1)
            .tag_specifications(specification.build())
            .send()
            .await
            .expect("an instance");
        let id = run.instances()[0].instance_id().expect("an id");
        made.lines.push(format!(
            "arn:aws:ec2:{region}:{account}:instance/{id} {} {tags:?}",
            tags["Name"]
        ));
    }
    made.lines.extend(types::regional(&config, account, region).await);
    let s3 = aws_sdk_s3::Client::new(&config);
    let name = format!("bucket-{account}-{region}");
    let location = (region != "us-east-1").then(|| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(region))
            .build()
    });
    let create = s3.create_bucket().bucket(&name).set_create_bucket_configuration(location);
    create.send().await.expect("a bucket");
    let tag = S3Tag::builder().key("data").value("internal & secret").build().expect("a tag");
    let tagging = Tagging::builder().tag_set(tag).build().expect("tags");
    s3.put_bucket_tagging().bucket(&name).tagging(tagging).send().await.expect("tags");
    let tags = BTreeMap::from([("data", "internal & secret")]);
    made.lines.push(format!("arn:aws:s3:::{name} {name} {tags:?}"));
}
