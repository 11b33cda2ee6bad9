//! Traces reach a collector of OpenTelemetry. Against `aws-sim`.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::harness::{Cloud, Daemon, Database, Options, settings_for};

/// Keeps the names of the spans, each with its service's.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<String>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for traces in request.into_inner().resource_spans {
            let resource = format!("{:?}", traces.resource);
            assert!(resource.contains("apono-connector"), "{resource}");
            let spans = traces.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().expect("names").extend(spans.map(|span| span.name));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_did_is_sent_before_it_ends() {
    let collector = Collector::default();
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = incoming.local_addr().expect("an address");
    let server = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));

    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let database = Database::create().await;
    let options = Options::default()
        .set("DATABASE_URL", &database.url)
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"));
    let mut daemon = Daemon::start_with(&cloud, options);
    daemon.api().await.create_and_sync(settings_for(&cloud)).await;
    assert!(daemon.stop().await.success());
    let names = collector.0.lock().expect("names");
    for name in ["/apono.connector.v1.IntegrationService/CreateIntegration", "group", "aws"] {
        assert!(names.iter().any(|found| found == name), "{name} is not in {names:?}");
    }
}
