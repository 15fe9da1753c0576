//! Who was observed.

/// A process, never reused within a boot.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProcessId {
    /// Thread group id, in the loader's pid namespace.
    pub tgid: u32,
    /// `CLOCK_BOOTTIME` start, nanoseconds.
    pub start_ns: u64,
}

/// What telemetry says about a process. Shared by all its spans.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Service {
    /// `service.name`.
    pub name: String,
    /// `service.namespace`, empty if none.
    pub namespace: String,
    /// `service.instance.id`: tells two processes of one name apart.
    pub instance_id: String,
    /// `telemetry.sdk.language`, empty while nobody looked.
    pub language: String,
    /// `process.pid`, as the loader sees it; 0 if it is not known.
    pub pid: u32,
    /// `process.executable.path`, empty if it is not known.
    pub executable: String,
    /// Other resource attributes that the process declares by `OTEL_RESOURCE_ATTRIBUTES`, each key once.
    pub attributes: Vec<(String, String)>,
    /// What it was seen to export itself.
    pub own: OwnSignals,
}

/// Signals that a process exports by an SDK of its own.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OwnSignals {
    pub traces: bool,
    pub metrics: bool,
}

impl OwnSignals {
    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { traces: self.traces || other.traces, metrics: self.metrics || other.metrics }
    }
}
