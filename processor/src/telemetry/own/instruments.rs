//! The metrics of [`Telemetry`] as instruments that are read when they are exported: no second list of names.

use super::super::exposition::Kind;
use super::super::metrics::{self, Metric};
use crate::telemetry::Telemetry;
use opentelemetry::metrics::{AsyncInstrument, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Makes an instrument of each metric. The provider keeps them.
pub(super) fn register(provider: &SdkMeterProvider, scope: InstrumentationScope, telemetry: &Telemetry) {
    let meter = provider.meter_with_scope(scope);
    let moment = Arc::new(Mutex::new(Moment::default()));
    for metric in metrics::all() {
        let (moment, telemetry) = (Arc::clone(&moment), telemetry.clone());
        let tell = move |observer: &dyn AsyncInstrument<u64>| {
            let mut moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
            moment.tell(metric, &telemetry, observer);
        };
        match metric.kind {
            Kind::Counter => {
                let builder = meter.u64_observable_counter(metric.name).with_description(metric.help);
                let _kept_by_the_provider = builder.with_callback(tell).build();
            }
            Kind::Gauge => {
                let builder = meter.u64_observable_gauge(metric.name).with_description(metric.help);
                let _kept_by_the_provider = builder.with_callback(tell).build();
            }
            // None is one.
            Kind::Histogram => {}
        }
    }
}

/// All samples of one moment. The sums of different metrics must agree, and each instrument is asked alone: so the first
/// that is asked a second time begins the next moment.
#[derive(Debug, Default)]
struct Moment {
    samples: BTreeMap<&'static str, Vec<(Vec<KeyValue>, u64)>>,
    told: BTreeSet<&'static str>,
}

impl Moment {
    fn now(telemetry: &Telemetry) -> Self {
        let mut moment = Self::default();
        telemetry.each(&mut |metric, samples| {
            let samples = samples.into_iter().map(|(values, n)| (attributes(metric, values), n));
            moment.samples.insert(metric.name, samples.collect());
        });
        moment
    }

    fn tell(&mut self, metric: &Metric, telemetry: &Telemetry, observer: &dyn AsyncInstrument<u64>) {
        if self.samples.is_empty() || self.told.contains(metric.name) {
            *self = Self::now(telemetry);
        }
        self.told.insert(metric.name);
        for (attributes, n) in self.samples.get(metric.name).into_iter().flatten() {
            observer.observe(*n, attributes);
        }
    }
}

/// Labels without value are left out, as in the text format.
fn attributes(metric: &Metric, values: Vec<&str>) -> Vec<KeyValue> {
    let labels = metric.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
    labels.map(|(label, value)| KeyValue::new(*label, value.to_owned())).collect()
}
