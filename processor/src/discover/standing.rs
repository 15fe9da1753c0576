//! Where a process stands: what is done with it, and why. The words are labels of a metric and fields of `explain`.

/// Which criteria of the selection a process meets. Those that were not set are `None`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Matched {
    /// A port that it listens on.
    pub port: Option<u16>,
    /// Place of the pattern in the selection.
    pub executable: Option<usize>,
    /// Its pid.
    pub pid: Option<u32>,
    /// Place of the last entry of `discovery.instrument` that wants it, beside all these.
    pub entry: Option<usize>,
}

/// The first criterion that a process does not meet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Miss {
    /// No criterion was set.
    NoSelector,
    /// It listens on none of the ports.
    Port,
    /// Its executable matches no pattern.
    Executable,
    /// Its pid is not named, or was another process's when it was named.
    Pid,
    /// No entry of `discovery.instrument` wants it.
    Entry,
    /// The entry of `discovery.exclude_instrument` at this place names it.
    Excluded(usize),
    /// The default exclusion at this place names it, and no setting does.
    ExcludedByDefault(usize),
}

/// Why a process is selected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It meets the criteria.
    Selector(Matched),
    /// It runs the executable of a selected parent, whose pid this is.
    Parent(u32),
    /// The kernel knew its executable as a selected one; its path is still to be read.
    Kernel,
}

/// Why a process may not be observed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denial {
    /// The loader's policy denies it.
    Policy,
}

/// What the processor knows of its own decision about a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Selected, and it moved bytes over TCP since.
    Observed(Origin),
    /// Selected, and silent so far.
    NoTraffic(Origin),
    /// The loader refuses it.
    Denied(Denial),
    /// The loader has not told yet what it runs.
    Undecided,
    /// The loader could not read what it runs, and nothing else selected it.
    Unreadable,
    /// Not wanted.
    NotSelected(Miss),
    /// Part of the agent.
    Own,
}

impl Standing {
    /// Every state with every reason, as the labels of a metric.
    pub const LABELS: [(&'static str, &'static str); 17] = [
        ("observed", "selector"),
        ("observed", "parent"),
        ("observed", "kernel"),
        ("no_traffic", "selector"),
        ("no_traffic", "parent"),
        ("no_traffic", "kernel"),
        ("denied", "policy"),
        ("undecided", "not_read"),
        ("unreadable", "executable"),
        ("not_selected", "no_selector"),
        ("not_selected", "port"),
        ("not_selected", "executable"),
        ("not_selected", "pid"),
        ("not_selected", "entry"),
        ("not_selected", "excluded"),
        ("not_selected", "excluded_by_default"),
        ("own", "agent"),
    ];

    /// State and reason, a pair of [`Self::LABELS`].
    #[must_use]
    pub const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Observed(origin) => ("observed", origin.name()),
            Self::NoTraffic(origin) => ("no_traffic", origin.name()),
            Self::Denied(Denial::Policy) => ("denied", "policy"),
            Self::Undecided => ("undecided", "not_read"),
            Self::Unreadable => ("unreadable", "executable"),
            Self::NotSelected(miss) => ("not_selected", miss.name()),
            Self::Own => ("own", "agent"),
        }
    }

    /// Place in a list for people: what they asked for first.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Observed(_) => 0,
            Self::NoTraffic(_) => 1,
            Self::Denied(_) => 2,
            Self::Undecided => 3,
            Self::Unreadable => 4,
            Self::NotSelected(_) => 5,
            Self::Own => 6,
        }
    }
}

impl Origin {
    const fn name(self) -> &'static str {
        match self {
            Self::Selector(_) => "selector",
            Self::Parent(_) => "parent",
            Self::Kernel => "kernel",
        }
    }
}

impl Miss {
    const fn name(self) -> &'static str {
        match self {
            Self::NoSelector => "no_selector",
            Self::Port => "port",
            Self::Executable => "executable",
            Self::Pid => "pid",
            Self::Entry => "entry",
            Self::Excluded(_) => "excluded",
            Self::ExcludedByDefault(_) => "excluded_by_default",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standing_has_labels_that_are_listed() {
        let origins = [Origin::Selector(Matched::default()), Origin::Parent(1), Origin::Kernel];
        let misses = [
            Miss::NoSelector,
            Miss::Port,
            Miss::Executable,
            Miss::Pid,
            Miss::Entry,
            Miss::Excluded(0),
            Miss::ExcludedByDefault(0),
        ];
        let all = origins
            .into_iter()
            .flat_map(|origin| [Standing::Observed(origin), Standing::NoTraffic(origin)])
            .chain(misses.map(Standing::NotSelected))
            .chain([
                Standing::Denied(Denial::Policy),
                Standing::Undecided,
                Standing::Unreadable,
                Standing::Own,
            ]);
        let mut told: Vec<_> = all.map(Standing::labels).collect();
        let mut listed = Standing::LABELS.to_vec();
        told.sort_unstable();
        listed.sort_unstable();
        assert_eq!(told, listed);
    }
}
