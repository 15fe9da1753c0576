//! The exporters of `opentelemetry-otlp`, sending by [`Letterbox`] instead of a client of their own.
//!
//! They encode; endpoint, protocol, headers, TLS, compression and retries are those of every other signal.

use crate::export::otlp::courier::{Carried, Letterbox};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use std::sync::{Arc, Mutex, PoisonError};

/// Nobody is asked for this name: the letterbox knows where to.
const NOWHERE: &str = "http://collector.invalid/";

/// What became of the last request.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate(Arc<Mutex<Option<Carried>>>);

impl Fate {
    pub(super) fn take(&self) -> Option<Carried> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, carried: Carried) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(carried);
    }
}

/// Sends what one exporter encoded.
#[derive(Debug)]
pub(super) struct Client {
    letterbox: Letterbox,
    fate: Fate,
}

impl Client {
    pub(super) fn new(letterbox: Letterbox) -> Self {
        Self { letterbox, fate: Fate::default() }
    }

    pub(super) fn fate(&self) -> Fate {
        self.fate.clone()
    }

    /// Always cumulative: the loader's counters begin again with the loader, and less than before is no difference.
    pub(super) fn metric_exporter(self) -> Result<MetricExporter, ExporterBuildError> {
        let builder = MetricExporter::builder().with_http().with_temporality(Temporality::Cumulative);
        self.only(builder).build()
    }

    pub(super) fn log_exporter(self) -> Result<LogExporter, ExporterBuildError> {
        self.only(LogExporter::builder().with_http()).build()
    }

    pub(super) fn span_exporter(self) -> Result<SpanExporter, ExporterBuildError> {
        self.only(SpanExporter::builder().with_http()).build()
    }

    /// Said outright, else the exporter reads variables itself.
    fn only<B: WithExportConfig + WithHttpConfig>(self, builder: B) -> B {
        let builder = builder.with_endpoint(NOWHERE).with_protocol(Protocol::HttpBinary);
        builder.with_retry_policy(RetryPolicy::disabled()).with_http_client(self)
    }
}

#[tonic::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let carried = self.letterbox.send(request.into_body()).await;
        self.fate.set(carried);
        // The body would say what was rejected; it is counted already.
        carried.map(|_rejected| Response::default()).map_err(Into::into)
    }
}
