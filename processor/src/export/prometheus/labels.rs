//! Labels of series: what their keys say, as Prometheus names it.

use crate::export::series::{Attribute, AttributeSet, Key, Requests, Series};
use crate::model::Service;
use crate::select::{AttributeSelection, RESOURCE};
use std::sync::Arc;

/// A series with what its labels are made from.
pub(super) struct Row {
    name: Name,
    pub(super) series: Series,
}

enum Name {
    Series(Arc<Key>),
    /// By the name of its service.
    Overflow(Arc<str>),
}

/// Series in a stable order.
pub(super) fn rows(requests: Requests) -> Vec<Row> {
    let mut series: Vec<_> = requests.series.into_iter().collect();
    series.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut overflow: Vec<_> = requests.overflow.into_iter().collect();
    overflow.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let series = series.into_iter().map(|(key, series)| Row { name: Name::Series(key), series });
    let overflow = overflow.into_iter().map(|(name, series)| Row { name: Name::Overflow(name), series });
    series.chain(overflow).collect()
}

impl Row {
    /// Calls `write` with each label that is told and has a text: to Prometheus an empty one is none.
    pub(super) fn labels(&self, told: AttributeSet, mut write: impl FnMut(&str, &str)) {
        let write = |label: &str, text: &str| {
            if !text.is_empty() {
                write(label, text);
            }
        };
        match &self.name {
            Name::Series(key) => of_key(key, told, write),
            Name::Overflow(service) => of_overflow(service, write),
        }
    }
}

/// As OBI: a status of 0 is a request without response, and `http_route` is there only if one is known.
fn of_key(key: &Key, told: AttributeSet, mut write: impl FnMut(&str, &str)) {
    let job = job(key.service());
    let (port, status) = (key.server_port.to_string(), key.status.to_string());
    let client = key.client.map(|address| address.to_string()).unwrap_or_default();
    let service = key.service();
    for (attribute, label, text) in [
        (Attribute::Instance, "instance", service.instance_id.as_str()),
        (Attribute::Job, "job", &job),
        (Attribute::ServiceName, "service_name", &service.name),
        (Attribute::ServiceNamespace, "service_namespace", &service.namespace),
        (Attribute::ClientAddress, "client_address", &client),
        (Attribute::Method, "http_request_method", key.method),
        (Attribute::Status, "http_response_status_code", &status),
        (Attribute::Route, "http_route", key.route.as_deref().unwrap_or_default()),
        (Attribute::ServerAddress, "server_address", &key.server_address),
        (Attribute::ServerPort, "server_port", &port),
        (Attribute::Path, "url_path", &key.path),
        (Attribute::Scheme, "url_scheme", "http"),
    ] {
        if told.has(attribute) {
            write(label, text);
        }
    }
}

/// The attribute that OpenTelemetry SDKs give to what they fold, and whose it is.
fn of_overflow(service: &str, mut write: impl FnMut(&str, &str)) {
    write("otel_metric_overflow", "true");
    write("service_name", service);
}

fn job(service: &Service) -> String {
    if service.namespace.is_empty() {
        service.name.clone()
    } else {
        format!("{}/{}", service.namespace, service.name)
    }
}

/// Calls `write` with each label of `target_info`. What names the process is always told: queries join by it.
pub(super) fn of_target(
    service: &Service,
    host_name: &str,
    selection: &AttributeSelection,
    mut write: impl FnMut(&str, &str),
) {
    let job = job(service);
    for (attribute, label, text) in [
        (None, "instance", service.instance_id.as_str()),
        (None, "job", &job),
        (None, "service_name", &service.name),
        (None, "service_namespace", &service.namespace),
        (Some("host.name"), "host_name", host_name),
        (Some("os.type"), "os_type", "linux"),
        (None, "source", "ratatosk"),
        (Some("telemetry.sdk.language"), "telemetry_sdk_language", &service.language),
        (Some("telemetry.sdk.name"), "telemetry_sdk_name", "ratatosk"),
        (Some("telemetry.sdk.version"), "telemetry_sdk_version", env!("CARGO_PKG_VERSION")),
    ] {
        let is_told = attribute.is_none_or(|attribute| selection.is_on(RESOURCE, attribute));
        if is_told && !text.is_empty() {
            write(label, text);
        }
    }
}
