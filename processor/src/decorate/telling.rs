//! How one service is told, where an entry of `discovery` says so beside its criteria.
//!
//! in   the [`EntrySettings`] of every entry that selects a process, in their order
//! out  one [`Telling`]: of each setting, the last entry that has it counts, as in Beyla

use super::routes::ServiceRoutes;
use crate::{
    model::Signals,
    sample::{Sampler, SamplerSettings},
    setting::InvalidSetting,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Families of metrics that have those of requests among them: all that exist here so far.
const WITH_REQUESTS: [&str; 3] = ["application", "all", "*"];

/// What an entry may set for the services that it selects. What it leaves out is as for everybody.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct EntrySettings {
    /// Signals that are told: `traces`, `metrics`. An empty list: none.
    pub exports: Option<Vec<String>>,
    /// Which of its traces are sent, instead of `otel_traces_export.sampler`.
    pub sampler: Option<SamplerSettings>,
    /// Routes beside `routes.patterns`.
    pub routes: Option<ServiceRouteSettings>,
    /// Families of metrics, instead of `metrics.features`.
    pub features: Option<Vec<String>>,
}

/// `routes` of an entry.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceRouteSettings {
    /// Of requests that the service answers.
    pub incoming: Vec<String>,
    /// Of requests that it sends.
    pub outgoing: Vec<String>,
}

/// How a service is told. A clone costs one count.
#[derive(Clone, Debug, Default)]
pub struct Telling {
    /// Signals that are told; `None`: all.
    pub(super) exports: Option<Signals>,
    /// Whether metrics of requests are told; `None`: as for everybody.
    pub(super) has_requests: Option<bool>,
    /// `None`: as for everybody.
    pub(super) sampler: Option<Sampler>,
    /// `None`: those of everybody alone.
    pub(super) routes: Option<Arc<ServiceRoutes>>,
}

impl Telling {
    /// What `settings` ask for.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the key within the entry.
    pub fn new(settings: &EntrySettings) -> Result<Self, InvalidSetting> {
        let has = |words: &Vec<String>, word: &str| words.iter().any(|known| known == word);
        let signals = |words| Signals { traces: has(words, "traces"), metrics: has(words, "metrics") };
        Ok(Self {
            exports: settings.exports.as_ref().map(signals),
            has_requests: settings.features.as_deref().map(has_requests),
            sampler: settings.sampler.as_ref().map(sampler).transpose()?,
            routes: settings.routes.as_ref().map(ServiceRoutes::new).transpose()?.map(Arc::new),
        })
    }

    /// The same, where `later` counts in all that it says. Families of metrics are those of `later` in any case: an entry
    /// without any goes back to those of everybody, as in Beyla.
    #[must_use]
    pub fn refined_by(&self, later: &Self) -> Self {
        Self {
            exports: later.exports.or(self.exports),
            has_requests: later.has_requests,
            sampler: later.sampler.or(self.sampler),
            routes: later.routes.as_ref().or(self.routes.as_ref()).map(Arc::clone),
        }
    }

    /// It says nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.exports.is_none()
            && self.has_requests.is_none()
            && self.sampler.is_none()
            && self.routes.is_none()
    }
}

/// Whether these families of metrics have those of requests among them.
pub(super) fn has_requests(features: &[String]) -> bool {
    features.iter().any(|feature| WITH_REQUESTS.contains(&feature.as_str()))
}

/// The key of the error is as it stands in the entry.
fn sampler(settings: &SamplerSettings) -> Result<Sampler, InvalidSetting> {
    Sampler::new(settings).map_err(|error| {
        let key = error.key.trim_start_matches("otel_traces_export.").to_owned();
        InvalidSetting { key, ..error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(settings: EntrySettings) -> Telling {
        Telling::new(&settings).expect("valid")
    }

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn an_empty_list_of_signals_is_none_and_no_list_is_all() {
        let exports = |list| telling(EntrySettings { exports: list, ..EntrySettings::default() }).exports;
        assert_eq!(exports(None), None);
        assert_eq!(exports(words(&[])), Some(Signals::NONE));
        assert_eq!(exports(words(&["traces"])), Some(Signals { traces: true, metrics: false }));
        assert_eq!(exports(words(&["metrics", "traces", "logs"])), Some(Signals::ALL));
    }

    #[test]
    fn of_two_entries_the_later_counts_where_it_says_something() {
        let first = telling(EntrySettings {
            exports: words(&["traces"]),
            features: words(&["network"]),
            routes: Some(ServiceRouteSettings { incoming: vec!["/a".to_owned()], outgoing: vec![] }),
            ..EntrySettings::default()
        });
        let sampler = Some(SamplerSettings { name: "always_off".to_owned(), arg: String::new() });
        let later = telling(EntrySettings { exports: words(&[]), sampler, ..EntrySettings::default() });
        let both = first.refined_by(&later);
        assert_eq!(both.exports, Some(Signals::NONE));
        assert_eq!(both.sampler, later.sampler);
        assert!(both.routes.is_some() && both.sampler.is_some());
        assert_eq!((first.has_requests, both.has_requests), (Some(false), None));
    }

    #[test]
    fn what_is_not_understood_is_named_by_its_key_in_the_entry() {
        let arg = Some(SamplerSettings { name: "traceidratio".to_owned(), arg: "2".to_owned() });
        let of = |settings| Telling::new(&settings).expect_err("invalid").key;
        assert_eq!(of(EntrySettings { sampler: arg, ..EntrySettings::default() }), "sampler.arg");
        let routes = Some(ServiceRouteSettings { incoming: vec![], outgoing: vec![" /a".to_owned()] });
        assert_eq!(of(EntrySettings { routes, ..EntrySettings::default() }), "routes.outgoing[0]");
    }
}
