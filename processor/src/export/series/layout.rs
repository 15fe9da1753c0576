//! Which tables there are: metrics that tell the same attributes share one.

use super::attributes::AttributeSet;
use super::metric::{CLIENT, Metric, SERVER};
use crate::model::SpanKind;
use crate::select::AttributeSelection;

/// A metric with the attributes that it tells.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Shown {
    pub(in crate::export) metric: Metric,
    pub(in crate::export) attributes: AttributeSet,
}

/// Who reads metrics.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Readers {
    pub(in crate::export) prometheus: bool,
    pub(in crate::export) otlp: bool,
}

/// What a table is for.
#[derive(Clone, Debug)]
pub(in crate::export) struct Layout {
    pub(in crate::export) kind: SpanKind,
    /// Requests that differ in none of these are counted together.
    pub(super) identity: AttributeSet,
    /// Metrics that Prometheus reads here.
    pub(in crate::export) prometheus: Vec<Shown>,
    /// Metrics that go from here by OTLP.
    pub(in crate::export) otlp: Vec<Shown>,
}

/// The tables that `readers` need: with the defaults one of each kind for each, because a process that is described anew is
/// another resource and the same target; more where settings tell the metrics of a kind apart.
pub(super) fn layouts(selection: &AttributeSelection, readers: Readers) -> Vec<Layout> {
    let mut layouts = Vec::new();
    for (kind, metrics) in [(SpanKind::Server, SERVER), (SpanKind::Client, CLIENT)] {
        for metric in metrics {
            let attributes = AttributeSet::selected(selection, metric.name);
            let shown = Shown { metric, attributes };
            let identity = attributes.identity();
            if readers.prometheus {
                with_identity(&mut layouts, kind, identity).prometheus.push(shown);
            }
            if readers.otlp {
                let identity = identity.and(AttributeSet::RESOURCE).identity();
                with_identity(&mut layouts, kind, identity).otlp.push(shown);
            }
        }
    }
    layouts
}

fn with_identity(layouts: &mut Vec<Layout>, kind: SpanKind, identity: AttributeSet) -> &mut Layout {
    let is_it = |layout: &Layout| layout.kind == kind && layout.identity == identity;
    let at = layouts.iter().position(is_it).unwrap_or_else(|| {
        layouts.push(Layout { kind, identity, prometheus: Vec::new(), otlp: Vec::new() });
        layouts.len() - 1
    });
    layouts.get_mut(at).expect("found or made above")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For Prometheus and for OTLP.
    fn shapes(json: &str) -> Vec<(SpanKind, usize, usize)> {
        let selection = AttributeSelection::new(&serde_json::from_str(json).unwrap()).unwrap();
        let layouts = layouts(&selection, Readers { prometheus: true, otlp: true });
        layouts.iter().map(|layout| (layout.kind, layout.prometheus.len(), layout.otlp.len())).collect()
    }

    const CLIENTS: [(SpanKind, usize, usize); 2] = [(SpanKind::Client, 3, 0), (SpanKind::Client, 0, 3)];

    #[test]
    fn with_the_defaults_there_is_one_table_for_each_kind_and_reader() {
        let servers = [(SpanKind::Server, 3, 0), (SpanKind::Server, 0, 3)];
        assert_eq!(shapes("{}"), [servers, CLIENTS].concat());
    }

    #[test]
    fn a_metric_with_attributes_of_its_own_has_a_table_of_its_own() {
        let duration = r#"{"http.server.request.duration": {"include": ["url.path"]}}"#;
        let own = [(SpanKind::Server, 1, 0), (SpanKind::Server, 0, 1)];
        let rest = [(SpanKind::Server, 2, 0), (SpanKind::Server, 0, 2)];
        assert_eq!(shapes(duration), [own, rest, CLIENTS].concat());
    }

    #[test]
    fn what_is_the_same_for_all_requests_needs_no_table() {
        let scheme = r#"{"http.server.request.duration": {"exclude": ["url.scheme", "job"]}}"#;
        assert_eq!(shapes(scheme), shapes("{}"));
    }
}
