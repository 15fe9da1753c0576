//! Which traces are sent: OpenTelemetry's samplers.
//!
//! Metrics count every request either way. What was decided stands in the sampled flag of the span.
//!
//! spec <https://opentelemetry.io/docs/specs/otel/trace/sdk/#built-in-samplers>

#[cfg(test)]
mod tests;

use crate::{
    model::{SAMPLED, TraceId},
    setting::{InvalidSetting, scalar},
};
use serde::{Deserialize, Serialize};

const NAMES: &str = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, \
parentbased_traceidratio";
const RATIOS: &str = "a number from 0 to 1, the part of traces that is kept";

/// `otel_traces_export.sampler`. Variables: `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerSettings {
    /// One of OpenTelemetry's samplers. Default, if empty: `parentbased_always_on`.
    pub name: String,
    /// Part of traces that is kept by a ratio, 0 to 1. Default, if empty: 1. Other samplers take none.
    #[serde(deserialize_with = "scalar")]
    pub arg: String,
}

/// Decides about the trace of a span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sampler {
    root: Root,
    asks_parent: bool,
}

/// What is decided about a trace that begins here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Root {
    On,
    Off,
    /// Kept if the low 63 bits of the trace id, read as the SDKs do, are below.
    Below(u64),
}

/// 2^63: a ratio is a part of it. The SDKs for Go, Java and others compare these bits, so all decide alike.
const WHOLE: f64 = 9_223_372_036_854_775_808.0;

impl Default for Sampler {
    fn default() -> Self {
        Self { root: Root::On, asks_parent: true }
    }
}

impl Sampler {
    /// The sampler that was asked for.
    ///
    /// # Errors
    /// [`InvalidSetting`]: there is no such sampler, or its ratio is none.
    pub fn new(settings: &SamplerSettings) -> Result<Self, InvalidSetting> {
        let name = settings.name.trim();
        let (asks_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None if name.is_empty() => (true, "always_on"),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Root::On,
            "always_off" => Root::Off,
            "traceidratio" => ratio(settings.arg.trim())?,
            _ => return Err(InvalidSetting::new("otel_traces_export.sampler.name", name, NAMES)),
        };
        Ok(Self { root, asks_parent })
    }

    /// Flags of a span in the trace `id`, whose caller sent `flags` if `has_parent`.
    #[must_use]
    pub fn flags(self, id: TraceId, has_parent: bool, flags: u8) -> u8 {
        let is_sampled =
            if has_parent && self.asks_parent { flags & SAMPLED != 0 } else { self.root.takes(id) };
        if is_sampled { flags | SAMPLED } else { flags & !SAMPLED }
    }
}

impl Root {
    const fn takes(self, id: TraceId) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Below(bound) => low_63_bits(id) < bound,
        }
    }
}

/// The lower half of the id, its last bit left out.
const fn low_63_bits(id: TraceId) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = id.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1
}

fn ratio(arg: &str) -> Result<Root, InvalidSetting> {
    let ratio = if arg.is_empty() { Ok(1.0) } else { arg.parse::<f64>() };
    match ratio {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Root::Below(part(ratio))),
        _ => Err(InvalidSetting::new("otel_traces_export.sampler.arg", arg, RATIOS)),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 <= ratio <= 1, so the product is at most 2^63; std has no checked conversion of floats"
)]
fn part(ratio: f64) -> u64 {
    (ratio * WHOLE) as u64
}
