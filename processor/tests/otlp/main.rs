//! The exporters as a whole, from settings to what a collector sees.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod metrics;
#[path = "../receiver/mod.rs"]
mod receiver;
mod tls;
mod ugly;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    metrics_service_server::{MetricsService, MetricsServiceServer},
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, metric::Data};
use ratatosk::config::Config;
use ratatosk::export::{self, BoxedExporter};
use ratatosk::model::{Http, Service, Signals, Span, SpanId, SpanKind, TraceId, UnixNanos};
use ratatosk::telemetry::Telemetry;
use receiver::{Act, Receiver};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tonic::{
    Request, Response, Status, codec::CompressionEncoding, metadata::MetadataMap, transport::Server,
};

fn span(n: u64) -> Span {
    let start = 1_700_000_000_000_000_000 + n * 1_000_000;
    let mut span_id = [1; 8];
    span_id.copy_from_slice(&(n + 1).to_be_bytes());
    Span {
        trace_id: TraceId([7; 16]),
        span_id: SpanId(span_id),
        parent_id: None,
        trace_flags: 1,
        kind: SpanKind::Server,
        start: UnixNanos(start),
        end: UnixNanos(start + 30_000_000),
        peer: "127.0.0.1:54321".parse().unwrap(),
        host: "127.0.0.1:8080".parse().unwrap(),
        service: Arc::new(Service { name: "shop".to_owned(), ..Service::default() }),
        signals: Signals::ALL,
        http: Http {
            method: "GET",
            path: "/".into(),
            server_address: "shop".into(),
            server_port: 8080,
            status: 200,
            version: "1.1",
            ..Http::default()
        },
    }
}

fn spans(n: u64) -> Vec<Span> {
    (0..n).map(span).collect()
}

fn config(set: &[(&str, &str)]) -> Config {
    Config::load(set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap()
}

/// Exporters, and what they count.
struct Agent {
    exporters: Vec<BoxedExporter>,
    telemetry: Telemetry,
}

impl Agent {
    fn new(set: &[(&str, &str)]) -> Self {
        let telemetry = Telemetry::new();
        let exporters = export::all(&config(set), &telemetry).unwrap();
        Self { exporters, telemetry }
    }

    fn export(&mut self, spans: &[Span]) {
        self.exporters.iter_mut().for_each(|exporter| exporter.export(spans));
    }

    fn shut_down(&mut self) {
        self.exporters.iter_mut().for_each(|exporter| exporter.shut_down());
    }

    fn scrape(&self) -> String {
        let mut text = String::new();
        self.telemetry.render(&mut text);
        text
    }

    /// Sum of all samples that begin so.
    fn sum(&self, sample: &str) -> u64 {
        sum(&self.scrape(), sample)
    }

    fn exported(&self) -> u64 {
        self.sum("ratatosk_spans_exported_total{exporter=\"otlp\"}")
    }

    fn dropped(&self) -> u64 {
        self.sum("ratatosk_spans_dropped_total{exporter=\"otlp\"")
    }

    /// What holds at every scrape: produced = exported + dropped + held.
    fn assert_accounts(&self) {
        let text = self.scrape();
        let of = |name: &str| sum(&text, &format!("ratatosk_spans_{name}{{exporter=\"otlp\""));
        let accounted = of("exported_total") + of("dropped_total") + of("held");
        assert_eq!(of("produced_total"), accounted, "{text}");
    }
}

fn sum(scrape: &str, sample: &str) -> u64 {
    let lines = scrape.lines().filter(|line| line.starts_with(sample));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Waits for a fact, at most half a minute.
fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A collector made of the generated services: an independent reader of what we write.
#[derive(Clone, Default)]
struct Collector {
    traces: Arc<Mutex<Vec<(MetadataMap, ExportTraceServiceRequest)>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.traces.lock().unwrap().push((metadata, message));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.lock().unwrap().push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

impl Collector {
    fn start(runtime: &Runtime) -> (Self, String) {
        let collector = Self::default();
        let gzip = CompressionEncoding::Gzip;
        let routes = Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()).accept_compressed(gzip))
            .add_service(MetricsServiceServer::new(collector.clone()).accept_compressed(gzip));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        runtime.spawn(routes.serve_with_incoming(incoming));
        (collector, url)
    }

    fn durations(&self) -> Vec<(i32, HistogramDataPoint)> {
        durations(&self.metrics.lock().unwrap())
    }
}

/// Every point of the durations, in the order in which they came, with its temporality.
fn durations(requests: &[ExportMetricsServiceRequest]) -> Vec<(i32, HistogramDataPoint)> {
    let mut points = Vec::new();
    for request in requests {
        for metric in request.resource_metrics.iter().flat_map(|r| &r.scope_metrics[0].metrics) {
            let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
            if metric.name == "http.server.request.duration" {
                let temporality = histogram.aggregation_temporality;
                points.extend(histogram.data_points.iter().map(|point| (temporality, point.clone())));
            }
        }
    }
    points
}

fn span_ids(request: &ExportTraceServiceRequest) -> Vec<Vec<u8>> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.span_id.clone()).collect()
}

/// Of every span that was taken, copies too.
fn ids(receiver: &Receiver) -> Vec<Vec<u8>> {
    receiver
        .seen()
        .iter()
        .filter(|request| request.is_taken)
        .flat_map(|request| span_ids(&request.decode()))
        .collect()
}

#[test]
fn grpc_brings_spans_and_metrics_to_a_collector() {
    let runtime = runtime();
    for compression in ["none", "gzip"] {
        let (collector, url) = Collector::start(&runtime);
        let mut agent = Agent::new(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20x"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=blue"),
        ]);
        agent.export(&spans(1_200));
        agent.shut_down();
        assert_eq!((agent.exported(), agent.dropped()), (1_200, 0));
        let traces = collector.traces.lock().unwrap();
        let batches: Vec<usize> = traces.iter().map(|(_, request)| span_ids(request).len()).collect();
        assert_eq!(batches, [512, 512, 176], "{compression}");
        assert_eq!(traces[0].0.get("authorization").unwrap(), "Bearer x");
        let attributes = &traces[0].1.resource_spans[0].resource.as_ref().unwrap().attributes;
        assert!(attributes.iter().any(|attribute| attribute.key == "team"), "{attributes:?}");
        drop(traces);
        assert_eq!(collector.durations().iter().map(|(_, point)| point.count).collect::<Vec<_>>(), [1_200]);
        assert_eq!(agent.sum("ratatosk_points_exported_total"), 3);
    }
}

#[test]
fn http_brings_spans_and_metrics_each_to_its_path() {
    let runtime = runtime();
    let receiver = Receiver::default();
    let address = runtime.block_on(receiver.start(false));
    let mut agent = Agent::new(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}/base")),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=a"),
    ]);
    agent.export(&spans(3));
    agent.shut_down();
    let mut seen = receiver.seen();
    seen.sort_by(|a, b| a.path.cmp(&b.path));
    let paths: Vec<&str> = seen.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/base/v1/metrics", "/base/v1/traces"]);
    assert!(!seen[0].headers.contains_key("x-tenant"));
    assert_eq!(seen[1].headers["x-tenant"], "a");
    assert_eq!(seen[1].headers["content-type"], "application/x-protobuf");
    assert_eq!(seen[1].headers["host"], address.to_string());
    assert_eq!(seen[0].decode::<ExportMetricsServiceRequest>().resource_metrics.len(), 1);
    assert_eq!(span_ids(&seen[1].decode()).len(), 3);
}

#[test]
fn a_unix_socket_is_reached_by_both_protocols() {
    let runtime = runtime();
    for (protocol, is_http2) in [("grpc", true), ("http/protobuf", false)] {
        let directory = Directory::new();
        let path = directory.0.join("collector.sock");
        let receiver = Receiver::default();
        let _guard = runtime.enter();
        let listener = UnixListener::bind(&path).unwrap();
        let serving = receiver.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().connection(stream, is_http2));
            }
        });
        let mut agent = Agent::new(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("unix://{}", path.display())),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_METRICS_EXPORTER", "none"),
        ]);
        agent.export(&spans(1));
        agent.shut_down();
        assert_eq!((agent.exported(), receiver.seen().len()), (1, 1), "{protocol}");
    }
}

#[test]
fn a_collector_that_is_stopped_and_comes_back_gets_every_span_once() {
    let runtime = runtime();
    for (protocol, is_http2) in [("grpc", true), ("http/protobuf", false)] {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let receiver = Receiver::default();
        let mut agent = Agent::new(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
            ("BEYLA_BACKOFF_INITIAL_INTERVAL", "20ms"),
            ("BEYLA_BACKOFF_MAX_INTERVAL", "100ms"),
        ]);
        let mut serving = None;
        for round in 0..10 {
            agent.export(&(round * 50..(round + 1) * 50).map(span).collect::<Vec<_>>());
            if round % 3 == 1 {
                let listener = runtime.block_on(listen_again(address));
                serving = Some(runtime.spawn(receiver.clone().serve(listener, is_http2)));
                wait_until(|| agent.exported() == (round + 1) * 50);
            } else if let Some(serving) = serving.take() {
                // Between two requests, as a collector that ends in order.
                wait_until(|| agent.exported() == (round + 1) * 50);
                serving.abort();
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let listener = runtime.block_on(listen_again(address));
        runtime.spawn(receiver.clone().serve(listener, is_http2));
        agent.shut_down();
        let mut ids = ids(&receiver);
        ids.sort();
        let all = ids.len();
        ids.dedup();
        assert_eq!((all, ids.len(), agent.exported(), agent.dropped()), (500, 500, 500, 0), "{protocol}");
    }
}

async fn listen_again(address: std::net::SocketAddr) -> TcpListener {
    loop {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok() {
            return socket.listen(64).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn every_span_is_sent_or_counted_as_dropped_when_the_collector_hangs() {
    let runtime = runtime();
    let receiver = Receiver::new((0..1_000).map(|_| Act::Hang));
    let address = runtime.block_on(receiver.start(true));
    let mut agent = Agent::new(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("BEYLA_SHUTDOWN_TIMEOUT", "200ms"),
    ]);
    for _ in 0..40 {
        agent.export(&spans(500));
        agent.assert_accounts();
    }
    let begun = Instant::now();
    agent.shut_down();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((agent.exported(), agent.dropped()), (0, 20_000));
    agent.assert_accounts();
    // Of what was under way nobody knows, what was queued surely did not arrive.
    let unconfirmed = agent.sum("ratatosk_spans_dropped_total{exporter=\"otlp\",reason=\"unconfirmed\"}");
    assert!(unconfirmed <= 512 && unconfirmed >= ids(&receiver).len() as u64, "{unconfirmed}");
    let full = agent.sum("ratatosk_spans_dropped_total{exporter=\"otlp\",reason=\"queue_full\"}");
    // The queue, and what was taken off it before it was full.
    assert!((20_000 - 16_384 - 512..=20_000 - 16_384).contains(&full), "{full}");
}

/// A directory that ends with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ratatosk-otlp-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
