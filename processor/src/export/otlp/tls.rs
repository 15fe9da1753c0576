//! How a collector at `https` is trusted, and how we say who we are.

use crate::config::otlp::{Protocol, Tls};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why no TLS can be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file does not hold what it should.
    #[error("cannot use {}: {source}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// There is nobody to trust.
    #[error(
        "no certificate authority in {place}: name a file with OTEL_EXPORTER_OTLP_CERTIFICATE, or install ca-certificates"
    )]
    NoRoots {
        /// Where they were looked for.
        place: String,
    },
    /// Certificate and key don't belong together, or are of a kind that is not understood.
    #[error("cannot use the client certificate: {0}")]
    Client(rustls::Error),
    /// The library refuses.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// What connections are made with.
pub(super) fn client_config(tls: &Tls, protocol: Protocol) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let roots = Arc::new(roots(tls.certificate.as_deref())?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        builder.with_webpki_verifier(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
    };
    let mut config = match &tls.client {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(pem_error(key))?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(TlsError::Client)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match protocol {
        Protocol::Grpc => vec![b"h2".to_vec()],
        Protocol::HttpProtobuf => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

fn pem_error(path: &Path) -> impl Fn(pem::Error) -> TlsError {
    move |source| TlsError::Pem { path: path.to_owned(), source }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(pem_error(path))?;
    certificates.map(|certificate| certificate.map_err(pem_error(path))).collect()
}

/// Those of the file, else those of the system.
fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let certificates = match file {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    // A system's list has some that are too old to be read: they are trusted by nobody.
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        let place = file.map_or_else(|| "the system's store".to_owned(), |path| path.display().to_string());
        return Err(TlsError::NoRoots { place });
    }
    Ok(roots)
}

/// Trusts every certificate; signatures are still checked, so that both sides speak with one other side.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
