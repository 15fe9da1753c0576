//! Who a span or a series is about, in the words of OpenTelemetry's resource conventions.

use crate::model::Service;
use crate::select::{AttributeSelection, RESOURCE};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::sync::Arc;

/// Conventions that names and values follow.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Our name as instrumentation, as distribution and as SDK.
const NAME: &str = "ratatosk";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is the same for every process of this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub(super) host_name: String,
    pub(super) host_id: String,
    /// What the agent was told to say; a process's own facts count before it.
    pub(super) attributes: Vec<(String, String)>,
    /// What may be told.
    pub(super) selection: Arc<AttributeSelection>,
}

impl Machine {
    /// This one.
    pub(super) fn here(attributes: Vec<(String, String)>, selection: AttributeSelection) -> Self {
        let line = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self {
            host_name: line("/proc/sys/kernel/hostname"),
            host_id: line("/etc/machine-id"),
            attributes,
            selection: Arc::new(selection),
        }
    }

    /// The resource of `service`.
    pub(super) fn resource(&self, service: &Service) -> Resource {
        let executable = service.executable.rsplit('/').next().unwrap_or_default();
        let texts = [
            ("service.name", service.name.as_str()),
            ("service.namespace", &service.namespace),
            ("service.instance.id", &service.instance_id),
            ("telemetry.sdk.language", &service.language),
            ("telemetry.sdk.name", NAME),
            ("telemetry.sdk.version", VERSION),
            ("telemetry.distro.name", NAME),
            ("telemetry.distro.version", VERSION),
            ("process.executable.name", executable),
            ("process.executable.path", &service.executable),
            ("host.name", &self.host_name),
            ("host.id", &self.host_id),
            ("os.type", "linux"),
        ];
        let known = texts.into_iter().filter(|(_, value)| !value.is_empty());
        let mut attributes: Vec<KeyValue> = known.map(|(key, value)| text(key, value)).collect();
        if service.pid != 0 {
            attributes.push(number("process.pid", service.pid));
        }
        for (key, value) in service.attributes.iter().chain(&self.attributes) {
            if !attributes.iter().any(|known| known.key == *key) {
                attributes.push(text(key, value));
            }
        }
        attributes.retain(|attribute| self.selection.is_on(RESOURCE, &attribute.key));
        Resource { attributes, ..Resource::default() }
    }
}

/// Who says so.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: NAME.to_owned(), version: VERSION.to_owned(), ..Default::default() }
}

/// An attribute.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    with_value(key, Value::StringValue(value.to_owned()))
}

/// An attribute. What no 64-bit integer holds is the largest one.
pub(super) fn number(key: &str, value: impl Into<u64>) -> KeyValue {
    with_value(key, Value::IntValue(i64::try_from(value.into()).unwrap_or(i64::MAX)))
}

fn with_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
