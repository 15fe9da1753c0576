//! A request's bytes and head, from the settings of one signal.

use super::tls::TlsError;
use crate::config::otlp::{Protocol, Scheme, Settings};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http_body_util::Full;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, InvalidHeaderName, InvalidHeaderValue, TE,
    USER_AGENT,
};
use hyper::{HeaderMap, Method, Request, Uri};
use std::io::Write;

/// Why nothing can be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none.
    #[error("not a URL: {0}")]
    Url(#[from] hyper::http::Error),
    /// A header's name is none.
    #[error("not the name of a header: {0}")]
    HeaderName(#[from] InvalidHeaderName),
    /// A header's value is none; it is not shown.
    #[error("the value of header {name} has characters that no header may have")]
    HeaderValue {
        /// The header.
        name: String,
        /// What is wrong.
        source: InvalidHeaderValue,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What all requests of a signal have in common.
pub(super) struct Template {
    protocol: Protocol,
    gzip: bool,
    uri: Uri,
    headers: HeaderMap,
}

/// A request's bytes, made once and sent as often as needed.
#[derive(Clone, Debug)]
pub(super) struct Payload(Bytes);

impl Template {
    /// `service` is the gRPC method of the signal, as in `/package.Service/Method`.
    pub(super) fn new(settings: &Settings, service: &str) -> Result<Self, ClientError> {
        let uri = uri(settings, service)?;
        let headers = headers(settings, &uri)?;
        Ok(Self { protocol: settings.protocol, gzip: settings.gzip, uri, headers })
    }

    /// Where requests go.
    pub(super) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// A message as a request's bytes.
    pub(super) fn payload(&self, message: &impl prost::Message) -> Payload {
        self.packed(message.encode_to_vec())
    }

    /// An encoded message as a request's bytes.
    pub(super) fn packed(&self, plain: Vec<u8>) -> Payload {
        let bytes = if self.gzip { gzipped(&plain) } else { plain };
        match self.protocol {
            Protocol::HttpProtobuf => Payload(bytes.into()),
            Protocol::Grpc => Payload(framed(&bytes, self.gzip)),
        }
    }

    /// A request that sends them.
    pub(super) fn request(&self, payload: &Payload) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(payload.0.clone()));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        *request.uri_mut() = match self.protocol {
            Protocol::Grpc => self.uri.clone(),
            // HTTP/1.1 names the host in a header.
            Protocol::HttpProtobuf => self.uri.path().parse().unwrap_or_else(|_| self.uri.clone()),
        };
        request
    }
}

fn uri(settings: &Settings, service: &str) -> Result<Uri, hyper::http::Error> {
    let (scheme, authority) = match settings.endpoint.scheme {
        Scheme::Http => ("http", settings.endpoint.address.as_str()),
        Scheme::Https => ("https", settings.endpoint.address.as_str()),
        Scheme::Unix => ("http", "localhost"),
    };
    let path = match settings.protocol {
        Protocol::Grpc => service,
        Protocol::HttpProtobuf if settings.endpoint.path.is_empty() => "/",
        Protocol::HttpProtobuf => &settings.endpoint.path,
    };
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()
}

fn headers(settings: &Settings, uri: &Uri) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    let agent = concat!("Ratatosk/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    for (name, value) in &settings.headers.0 {
        let mut value = header_value(name, value)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())?, value);
    }
    let encoding = match settings.protocol {
        Protocol::Grpc => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
            HeaderName::from_static("grpc-encoding")
        }
        Protocol::HttpProtobuf => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
            headers.insert(HOST, header_value(HOST.as_str(), host)?);
            CONTENT_ENCODING
        }
    };
    if settings.gzip {
        headers.insert(encoding, HeaderValue::from_static("gzip"));
    }
    Ok(headers)
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_str(value).map_err(|source| ClientError::HeaderValue { name: name.to_owned(), source })
}

/// The fastest level: spans repeat themselves so much that the best one saves little more, at four times the cost.
fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.expect("memory takes what it is given")
}

/// A gRPC message: one byte, compressed or not, and four of length before it.
fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(u8::from(is_compressed));
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}
