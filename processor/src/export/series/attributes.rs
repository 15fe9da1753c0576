//! Which attributes a metric tells, and which of them tell its series apart.

use crate::select::AttributeSelection;

/// An attribute that metrics of requests can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::export) enum Attribute {
    Instance,
    Job,
    ServiceName,
    ServiceNamespace,
    Method,
    Status,
    Route,
    ServerAddress,
    ServerPort,
    Path,
    Scheme,
    ClientAddress,
    /// Everything that is known of the process. Of no metric: it tells resources apart.
    Description,
}

impl Attribute {
    /// Those that a metric can tell.
    const ALL: [Self; 12] = [
        Self::Instance,
        Self::Job,
        Self::ServiceName,
        Self::ServiceNamespace,
        Self::Method,
        Self::Status,
        Self::Route,
        Self::ServerAddress,
        Self::ServerPort,
        Self::Path,
        Self::Scheme,
        Self::ClientAddress,
    ];

    /// By the semantic conventions; the first two are Prometheus' own.
    pub(in crate::export) const fn name(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Job => "job",
            Self::ServiceName => "service.name",
            Self::ServiceNamespace => "service.namespace",
            Self::Method => "http.request.method",
            Self::Status => "http.response.status_code",
            Self::Route => "http.route",
            Self::ServerAddress => "server.address",
            Self::ServerPort => "server.port",
            Self::Path => "url.path",
            Self::Scheme => "url.scheme",
            Self::ClientAddress => "client.address",
            Self::Description => "",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Some of the attributes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(in crate::export) struct AttributeSet(u16);

impl AttributeSet {
    /// Those that say which process it was.
    pub(super) const SERVICE: Self =
        Self::of(&[Attribute::Instance, Attribute::Job, Attribute::ServiceName, Attribute::ServiceNamespace]);

    /// What tells resources of OTLP apart: a stream can't change its resource.
    pub(super) const RESOURCE: Self = Self::SERVICE.and(Self::of(&[Attribute::Description]));

    const fn of(attributes: &[Attribute]) -> Self {
        let (mut bits, mut n) = (0, 0);
        while n < attributes.len() {
            bits |= attributes[n].bit();
            n += 1;
        }
        Self(bits)
    }

    /// Those that `metric`, by its name with dots, tells.
    pub(super) fn selected(selection: &AttributeSelection, metric: &str) -> Self {
        let is_on = |attribute: &Attribute| selection.is_on(metric, attribute.name());
        Self(Attribute::ALL.into_iter().filter(is_on).fold(0, |bits, attribute| bits | attribute.bit()))
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(in crate::export) const fn has(self, attribute: Attribute) -> bool {
        self.0 & attribute.bit() != 0
    }

    /// One of these is of whoever asks, and there are as many: the path or the client.
    pub(super) const fn is_of_many(self) -> bool {
        self.has(Attribute::Path) || self.has(Attribute::ClientAddress)
    }

    /// What tells series apart that tell these: a job is a namespace and a name, and every scheme is the same.
    pub(super) const fn identity(self) -> Self {
        let named = Self::of(&[Attribute::ServiceName, Attribute::ServiceNamespace]);
        let constant = Self::of(&[Attribute::Job, Attribute::Scheme]);
        let whole = if self.has(Attribute::Job) { self.and(named) } else { self };
        Self(whole.0 & !constant.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_a_metric_has_all_attributes_but_the_two_that_are_many() {
        let set = AttributeSet::selected(&AttributeSelection::default(), "http.server.request.duration");
        let off = Attribute::ALL.into_iter().filter(|attribute| !set.has(*attribute));
        assert_eq!(off.collect::<Vec<_>>(), [Attribute::Path, Attribute::ClientAddress]);
    }

    #[test]
    fn a_job_is_told_apart_by_namespace_and_name() {
        let job = AttributeSet::of(&[Attribute::Job, Attribute::Scheme]);
        let expected = AttributeSet::of(&[Attribute::ServiceName, Attribute::ServiceNamespace]);
        assert_eq!(job.identity(), expected);
    }
}
