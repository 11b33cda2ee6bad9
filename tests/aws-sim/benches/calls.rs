//! How many small calls a second the simulator answers on one core: it must never be what
//! a test of the daemon's speed measures.
//!
//! The simulator runs on a thread of its own, its clients on another; both keep their
//! connections. The number of calls is fixed, so that a run is bounded.

use std::{
    net::SocketAddr,
    sync::mpsc,
    time::{Duration, Instant},
};

use aws_sim::{Sim, World, seed};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;

const TEMPLATE: &str = include_str!("../../../deploy/cloudformation/management.yaml");
const CONNECTIONS: usize = 8;
const CALLS_PER_CONNECTION: usize = 4000;

/// A call, as it goes over the wire.
struct Load {
    name: &'static str,
    service: &'static str,
    target: &'static str,
    body: &'static str,
}

const LOADS: [Load; 3] = [
    Load {
        name: "sts:GetCallerIdentity",
        service: "sts",
        target: "",
        body: "Action=GetCallerIdentity&Version=2011-06-15",
    },
    Load {
        name: "ec2:DescribeRegions",
        service: "ec2",
        target: "",
        body: "Action=DescribeRegions&Version=2016-11-15",
    },
    Load {
        name: "organizations:ListAccounts",
        service: "organizations",
        target: "AWSOrganizationsV20161128.ListAccounts",
        body: "{}",
    },
];

fn main() {
    let (send, started) = mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let mut world = World::default();
            seed::sample(&mut world, TEMPLATE, "bench").expect("a sample");
            let hub = world.hub_credentials(seed::HUB_ROLE_ARN).access_key;
            let sim = Sim::start().await.expect("a simulator");
            *sim.world() = world;
            send.send((sim.url(), hub)).expect("somebody waits");
            std::future::pending::<()>().await;
        });
    });
    let (url, hub) = started.recv().expect("a simulator");
    let address: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
    println!("aws-sim, one core, {CONNECTIONS} connections\n");
    println!("| call | calls | seconds | calls/s |\n|---|---|---|---|");
    runtime().block_on(async {
        let role = assume(address, &hub).await;
        for load in &LOADS {
            let key = if load.service == "sts" { &hub } else { &role };
            let took = run(address, key, load).await;
            let calls = CONNECTIONS * CALLS_PER_CONNECTION;
            #[expect(clippy::cast_precision_loss, reason = "thousands of calls")]
            let rate = calls as f64 / took.as_secs_f64();
            println!("| {} | {calls} | {:.2} | {rate:.0} |", load.name, took.as_secs_f64());
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn run(address: SocketAddr, key: &str, load: &Load) -> Duration {
    let began = Instant::now();
    let connections = (0..CONNECTIONS).map(|_| async {
        let mut sender = connect(address).await;
        for _ in 0..CALLS_PER_CONNECTION {
            let answer = sender.send_request(request(key, load)).await.expect("an answer");
            assert!(answer.status().is_success(), "{} answered {}", load.name, answer.status());
            answer.into_body().collect().await.expect("a body");
        }
    });
    futures::future::join_all(connections).await;
    began.elapsed()
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr) -> Sender {
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

fn request(key: &str, load: &Load) -> Request<Full<Bytes>> {
    let scope = format!("{key}/20260101/eu-west-1/{}/aws4_request", load.service);
    let mut request = Request::post("/")
        .header("host", "localhost")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, Signature=x"));
    if !load.target.is_empty() {
        request = request.header("x-amz-target", load.target);
    }
    request.body(Full::new(Bytes::from_static(load.body.as_bytes()))).expect("a request")
}

/// A session of the management role.
async fn assume(address: SocketAddr, hub: &str) -> String {
    const ASSUME: Load = Load {
        name: "sts:AssumeRole",
        service: "sts",
        target: "",
        body: "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A100000000000%3Arole%2Fapono-connector-management&RoleSessionName=bench&ExternalId=bench&DurationSeconds=3600",
    };
    let mut sender = connect(address).await;
    let answer = sender.send_request(request(hub, &ASSUME)).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let key = text.split("<AccessKeyId>").nth(1).and_then(|rest| rest.split('<').next());
    key.unwrap_or_else(|| panic!("no session: {text}")).to_owned()
}
