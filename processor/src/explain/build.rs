//! From what the processor knows to an answer.

use super::{Count, Loader, MAX_PAGE, Process, Question, Report, Selectors, Tier};
use crate::{
    config::{Criteria, Selection},
    discover::{
        Denial, Discovery, Matched, Miss, Origin, Sight, Standing,
        sdk::{Exclusion, Tells},
    },
    health::Readiness,
    model::OwnSignals,
};
use ratatosk_proto::v1::{Hello, TierState};
use std::collections::BTreeMap;

/// Characters of an executable's path.
const MAX_EXE_CHARS: usize = 256;
/// Ports of one process.
const MAX_PORTS: usize = 16;

/// What an answer is made of.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Who is there.
    pub discovery: &'a Discovery,
    /// What the loader said of itself when it spoke last.
    pub hello: Option<&'a Hello>,
    /// Whether it speaks now.
    pub readiness: &'a Readiness,
    /// What the settings are called.
    pub selectors: &'a Selectors,
    /// What is left out of services that export themselves.
    pub exclusion: Exclusion,
}

/// Answers `question`.
#[must_use]
pub fn build(context: Context<'_>, question: &Question) -> Report {
    let selection = context.discovery.matcher().selection();
    let mut sights: Vec<Sight<'_>> =
        context.discovery.sights().filter(|sight| question.wants(sight)).collect();
    sights.sort_by_key(|sight| (sight.standing.rank(), sight.ports.is_empty(), sight.process));
    let page = sights.iter().skip(question.offset).take(question.limit.min(MAX_PAGE));
    Report {
        processor_version: env!("CARGO_PKG_VERSION").to_owned(),
        loader: loader(context),
        tiers: context.hello.map(tiers).unwrap_or_default(),
        selectors: context.selectors.settings(selection),
        counts: counts(context.discovery),
        total: sights.len(),
        offset: question.offset,
        processes: page.map(|sight| process(sight, selection, context)).collect(),
    }
}

fn loader(context: Context<'_>) -> Loader {
    Loader {
        is_ready: context.readiness.is_ready(),
        status: context.readiness.to_string(),
        version: context.hello.map(|hello| hello.loader_version.clone()).unwrap_or_default(),
    }
}

/// A loader that is older than the list names only the one that it uses.
fn tiers(hello: &Hello) -> Vec<Tier> {
    if hello.tiers.is_empty() && !hello.tier.is_empty() {
        let (name, lacks) = (hello.tier.clone(), hello.tier_lacks.clone());
        return vec![Tier { name, state: "at_work".to_owned(), reason: String::new(), lacks }];
    }
    let told = |tier: &ratatosk_proto::v1::Tier| Tier {
        name: tier.name.clone(),
        state: tier_state(tier.state()).to_owned(),
        reason: tier.reason.clone(),
        lacks: tier.lacks.clone(),
    };
    hello.tiers.iter().map(told).collect()
}

const fn tier_state(state: TierState) -> &'static str {
    match state {
        TierState::AtWork => "at_work",
        TierState::Failed => "failed",
        TierState::NotTried => "not_tried",
        TierState::Unspecified => "unknown",
    }
}

fn counts(discovery: &Discovery) -> Vec<Count> {
    let mut sums: BTreeMap<(u8, &str, &str), u64> = BTreeMap::new();
    for standing in discovery.standings() {
        let (state, reason) = standing.labels();
        *sums.entry((standing.rank(), state, reason)).or_default() += 1;
    }
    let count = |((_, state, reason), processes): ((u8, &str, &str), u64)| Count {
        state: state.to_owned(),
        reason: reason.to_owned(),
        processes,
    };
    sums.into_iter().map(count).collect()
}

fn process(sight: &Sight<'_>, selection: &Selection, context: Context<'_>) -> Process {
    let (state, reason) = sight.standing.labels();
    Process {
        pid: sight.process.tgid,
        parent_pid: sight.parent_tgid,
        start_ns: sight.process.start_ns,
        exe: sight.exe.map(|exe| exe.chars().take(MAX_EXE_CHARS).collect()),
        comm: sight.comm.to_owned(),
        service: sight.service.clone(),
        ports: ports(sight),
        state: state.to_owned(),
        reason: reason.to_owned(),
        detail: detail(sight, selection, context.selectors),
        calls: sight.calls,
        exchanges: sight.exchanges,
        left_out: left_out(sight),
        exports: exports(sight.own),
        not_told_again: not_told_again(sight.own, context.exclusion),
    }
}

fn exports(own: OwnSignals) -> Vec<String> {
    let signals = [("traces", own.traces), ("metrics", own.metrics)];
    signals.into_iter().filter(|(_, is_own)| *is_own).map(|(name, _)| name.to_owned()).collect()
}

fn not_told_again(own: OwnSignals, exclusion: Exclusion) -> Vec<String> {
    let signals =
        [("traces", Tells::Traces), ("metrics", Tells::Metrics), ("span metrics", Tells::SpanMetrics)];
    let excluded = signals.into_iter().filter(|(_, tells)| exclusion.excludes(own, *tells));
    excluded.map(|(name, _)| name.to_owned()).collect()
}

fn left_out(sight: &Sight<'_>) -> BTreeMap<String, u64> {
    let counted = sight.left_out.iter().filter(|(_, n)| *n > 0);
    counted.map(|(reason, n)| (reason.name().to_owned(), n)).collect()
}

/// Each port once: IPv4 and IPv6 are two sockets, and so are workers that share one.
fn ports(sight: &Sight<'_>) -> Vec<u16> {
    let mut ports = sight.ports.clone();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(MAX_PORTS);
    ports
}

fn detail(sight: &Sight<'_>, selection: &Selection, selectors: &Selectors) -> String {
    match sight.standing {
        Standing::Observed(origin) | Standing::NoTraffic(origin) => selected(origin, selection, selectors),
        Standing::Denied(Denial::Policy) => "the loader's policy denies it".to_owned(),
        Standing::Undecided => "the loader has not told yet what it runs".to_owned(),
        Standing::Unreadable => "the loader could not read which executable it runs".to_owned(),
        Standing::NotSelected(miss) => missed(miss, sight, selection, selectors),
        Standing::Own => "part of the agent, which never observes itself".to_owned(),
    }
}

fn selected(origin: Origin, selection: &Selection, selectors: &Selectors) -> String {
    match origin {
        Origin::Selector(matched) => matches(matched, selection, selectors),
        Origin::Parent(pid) => format!("runs the executable of process {pid}, which is observed"),
        Origin::Kernel => "its executable was selected before".to_owned(),
    }
}

fn matches(matched: Matched, selection: &Selection, selectors: &Selectors) -> String {
    let port = matched.port.map(|port| match selectors.ports(selection) {
        setting if setting.value == port.to_string() => setting.to_string(),
        setting => format!("{setting} (port {port})"),
    });
    let pattern = matched.executable.and_then(|place| Some((place, selection.executables.get(place)?)));
    let executable = pattern.map(|(place, pattern)| selectors.executable(place, pattern).to_string());
    let pid = matched.pid.map(|_| selectors.pids(selection).to_string());
    let entry = matched.entry.map(|place| entry(&selection.rules.instrument, place));
    let all: Vec<String> = [port, executable, pid, entry].into_iter().flatten().collect();
    all.join(" and ")
}

fn missed(miss: Miss, sight: &Sight<'_>, selection: &Selection, selectors: &Selectors) -> String {
    match miss {
        Miss::NoSelector => "nothing is selected: no setting says what to observe".to_owned(),
        Miss::Port if sight.ports.is_empty() => {
            format!("listens on no port; {} is asked for", selectors.ports(selection))
        }
        Miss::Port => format!("listens on none of {}", selectors.ports(selection)),
        Miss::Executable => {
            let patterns = selection.executables.iter().enumerate();
            let all: Vec<String> =
                patterns.map(|(place, pattern)| selectors.executable(place, pattern).to_string()).collect();
            format!("its executable does not match {}", all.join(" or "))
        }
        Miss::Pid => format!("is not one of {}", selectors.pids(selection)),
        Miss::Entry => "matches no entry of discovery.instrument".to_owned(),
        Miss::Excluded(place) => format!("{} excludes it", entry(&selection.rules.exclude, place)),
        Miss::ExcludedByDefault(place) => {
            let entry = entry(&selection.rules.default_exclude, place);
            format!("{entry} excludes it, and no setting names it explicitly")
        }
    }
}

/// Where the entry stands that did it.
fn entry(list: &[Criteria], place: usize) -> String {
    list.get(place).map(Criteria::label).unwrap_or_default()
}
