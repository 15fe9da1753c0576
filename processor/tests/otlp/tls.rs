//! Who is trusted, and who we say that we are.

use super::{Agent, Directory, config, runtime, spans};
use crate::receiver::Receiver;
use ratatosk::export::{self, ExportError};
use ratatosk::telemetry::Telemetry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

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
