//! The exporters as a whole, from settings to what a collector sees.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod receiver;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    metrics_service_server::{MetricsService, MetricsServiceServer},
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, HistogramDataPoint, metric::Data};
use ratatosk::config::Config;
use ratatosk::export::{self, BoxedExporter, ExportError};
use ratatosk::model::{Http, Service, Span, SpanId, SpanKind, TraceId, UnixNanos};
use ratatosk::telemetry::Telemetry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use receiver::{Act, Receiver};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::{Path, PathBuf};
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

    /// Sum of all samples that begin so.
    fn sum(&self, sample: &str) -> u64 {
        let mut text = String::new();
        self.telemetry.render(&mut text);
        let lines = text.lines().filter(|line| line.starts_with(sample));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn exported(&self) -> u64 {
        self.sum("ratatosk_spans_exported_total{exporter=\"otlp\"}")
    }

    fn dropped(&self) -> u64 {
        self.sum("ratatosk_spans_dropped_total{exporter=\"otlp\"")
    }
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

    /// Every point of the durations, in the order in which they came, with its temporality.
    fn durations(&self) -> Vec<(i32, HistogramDataPoint)> {
        let mut points = Vec::new();
        for request in self.metrics.lock().unwrap().iter() {
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
}

fn span_ids(request: &ExportTraceServiceRequest) -> Vec<Vec<u8>> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.span_id.clone()).collect()
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
        let mut ids: Vec<_> =
            receiver.seen().iter().flat_map(|request| span_ids(&request.decode())).collect();
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
    }
    let begun = Instant::now();
    agent.shut_down();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((agent.exported(), agent.dropped()), (0, 20_000));
    let full = agent.sum("ratatosk_spans_dropped_total{exporter=\"otlp\",reason=\"queue_full\"}");
    // The queue, and what was taken off it before it was full.
    assert!((20_000 - 16_384 - 512..=20_000 - 16_384).contains(&full), "{full}");
}

#[test]
fn cumulative_points_count_from_the_first_request() {
    let (collector, mut agent, _runtime) = metrics_agent("cumulative");
    for round in 1..=3 {
        let before = collector.durations().len();
        agent.export(&spans(2));
        wait_until(|| collector.durations().len() > before + 1);
        let (temporality, point) = collector.durations().pop().unwrap();
        assert_eq!(temporality, i32::from(AggregationTemporality::Cumulative));
        assert_eq!((point.count, point.start_time_unix_nano), (round * 2, span(0).start.0));
    }
    agent.shut_down();
}

#[test]
fn delta_points_cover_time_without_gaps_and_add_up() {
    let (collector, mut agent, _runtime) = metrics_agent("delta");
    for round in 1..=3 {
        agent.export(&spans(2));
        wait_until(|| collector.durations().iter().map(|(_, point)| point.count).sum::<u64>() == round * 2);
    }
    agent.shut_down();
    let points = collector.durations();
    assert!(points.iter().all(|(temporality, _)| *temporality == i32::from(AggregationTemporality::Delta)));
    assert_eq!(points.iter().map(|(_, point)| point.count).sum::<u64>(), 6);
    assert_eq!(points[0].1.start_time_unix_nano, span(0).start.0);
    for pair in points.windows(2) {
        assert_eq!(pair[1].1.start_time_unix_nano, pair[0].1.time_unix_nano);
    }
}

fn metrics_agent(temporality: &str) -> (Collector, Agent, Runtime) {
    let runtime = runtime();
    let (collector, url) = Collector::start(&runtime);
    let agent = Agent::new(&[
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
    ]);
    (collector, agent, runtime)
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

/// An authority, and certificates of its making, as files.
struct Authority {
    directory: Directory,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = Directory::new();
        directory.file("ca.pem", &issuer.pem());
        Self { directory, issuer }
    }

    fn file(&self) -> PathBuf {
        self.directory.0.join("ca.pem")
    }

    /// Certificate and key for `name`.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |kind: &str, text: &str| self.directory.file(&format!("{name}.{kind}.pem"), text);
        (file("cert", &certificate.pem()), file("key", &key.serialize_pem()))
    }
}

/// A receiver behind TLS with a certificate for `name`; clients must show one of `clients`, if that is said.
fn tls_receiver(
    runtime: &Runtime,
    authority: &Authority,
    name: &str,
    is_http2: bool,
    clients: Option<&Authority>,
) -> (Receiver, String) {
    let (certificate, key) = authority.issue(name);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(clients.file()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let mut config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    config.alpn_protocols = vec![if is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let receiver = Receiver::default();
    let serving = receiver.clone();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serving.clone().connection(stream, is_http2));
            }
        }
    });
    (receiver, url)
}

/// One span to `url`; how many were delivered.
fn delivered(url: &str, is_http2: bool, more: &[(&str, &Path)]) -> u64 {
    let protocol = if is_http2 { "grpc" } else { "http/protobuf" };
    let mut set = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("BEYLA_BACKOFF_MAX_ELAPSED_TIME", "300ms"),
    ];
    set.extend(more.iter().map(|(name, path)| (*name, path.to_str().unwrap())));
    let mut agent = Agent::new(&set);
    agent.export(&spans(1));
    agent.shut_down();
    assert_eq!(agent.exported() + agent.dropped(), 1);
    agent.exported()
}

#[test]
fn a_collector_is_trusted_by_its_certificate_only() {
    let runtime = runtime();
    let (ours, other) = (Authority::new(), Authority::new());
    for is_http2 in [true, false] {
        let (right, url) = tls_receiver(&runtime, &ours, "localhost", is_http2, None);
        let (wrong, wrong_url) = tls_receiver(&runtime, &ours, "elsewhere.example", is_http2, None);
        let (ca, other_ca) = (ours.file(), other.file());
        assert_eq!(delivered(&url, is_http2, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca)]), 1);
        assert_eq!(delivered(&url, is_http2, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &other_ca)]), 0);
        assert_eq!(delivered(&url, is_http2, &[]), 0, "an authority that nobody installed");
        assert_eq!(delivered(&wrong_url, is_http2, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca)]), 0);
        assert_eq!((right.seen().len(), wrong.seen().len()), (1, 0));
        let trusting = [("BEYLA_INSECURE_SKIP_VERIFY", Path::new("true"))];
        assert_eq!(delivered(&wrong_url, is_http2, &trusting), 1);
    }
}

#[test]
fn a_collector_that_asks_who_we_are_gets_our_certificate() {
    let runtime = runtime();
    let (ours, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let ca = ours.file();
    for is_http2 in [true, false] {
        let (receiver, url) = tls_receiver(&runtime, &ours, "localhost", is_http2, Some(&clients));
        let with = |authority: &Authority| {
            let (certificate, key) = authority.issue("agent.example");
            let more: [(&str, &Path); 3] = [
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
            ];
            delivered(&url, is_http2, &more)
        };
        assert_eq!((with(&clients), with(&strangers)), (1, 0), "HTTP/2: {is_http2}");
        assert_eq!(delivered(&url, is_http2, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca)]), 0);
        assert_eq!(receiver.seen().len(), 1);
    }
}

fn start_error(set: &[(&str, &str)]) -> ExportError {
    match export::all(&config(set), &Telemetry::new()) {
        Ok(_) => panic!("it starts"),
        Err(error) => error,
    }
}

#[test]
fn a_file_that_is_missing_or_no_certificate_stops_the_start() {
    let directory = Directory::new();
    let empty = directory.file("empty.pem", "nothing\n");
    for (path, words) in [
        (Path::new("/nonexistent/ca.pem"), "cannot use /nonexistent/ca.pem"),
        (&empty, "no certificate authority in"),
    ] {
        let error = start_error(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", path.to_str().unwrap()),
        ]);
        let text = error.to_string();
        assert!(text.starts_with("cannot export traces by OTLP: ") && text.contains(words), "{text}");
    }
}
