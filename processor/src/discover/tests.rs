//! What is decided about whom.

use super::*;
use crate::{
    config::{PortRange, Selection},
    model::{KtimeNs, ProcessChange, ProcessEvent, ProcessId, ProcessInfo},
};
use ratatosk_abi::TargetState;
use ratatosk_proto::v1::{Scope, Verdict};

const PARENT: ProcessId = ProcessId { tgid: 1, start_ns: 1 };
const SHOP: ProcessId = ProcessId { tgid: 42, start_ns: 7 };

fn ports(first: u16, last: u16) -> Selection {
    Selection { open_ports: vec![PortRange { first, last }], ..Selection::default() }
}

fn executables(pattern: &str) -> Selection {
    Selection { executables: vec![pattern.into()], ..Selection::default() }
}

fn discovery(selection: Selection) -> Discovery {
    let mut discovery = Discovery::new(Matcher::new(selection).expect("valid patterns"), "host".into());
    discovery.connected();
    assert!(matches!(discovery.next_wish(), Some(Wish::WantPorts(_))));
    discovery
}

fn event(process: ProcessId, parent: ProcessId, change: ProcessChange) -> ProcessEvent {
    ProcessEvent {
        time: KtimeNs(1),
        process,
        parent,
        change,
        state: TargetState::Unknown,
        comm: *b"child\0\0\0\0\0\0\0\0\0\0\0",
    }
}

fn info(process: ProcessId, handle: u64, exe: &str) -> ProcessInfo<'_> {
    ProcessInfo {
        process,
        parent_tgid: PARENT.tgid,
        handle,
        exe: Some(exe.as_bytes()),
        cmdline: None,
        cgroup: None,
        language: None,
        environment: None,
        comm: *b"comm\0\0\0\0\0\0\0\0\0\0\0\0",
        state: TargetState::Unknown,
    }
}

/// A process that runs `exe` and listens on `port`.
fn announce(discovery: &mut Discovery, process: ProcessId, handle: u64, exe: &str, port: Option<u16>) {
    discovery.process(&event(process, PARENT, ProcessChange::Existed));
    discovery.info(&info(process, handle, exe));
    if let Some(port) = port {
        discovery.listen(process, u64::from(port), port);
    }
}

fn decisions(discovery: &mut Discovery) -> Vec<(u64, Verdict, Scope)> {
    std::iter::from_fn(|| discovery.next_wish())
        .filter_map(|wish| match wish {
            Wish::Decide(decide) => Some((decide.handle, decide.verdict(), decide.scope())),
            Wish::WantPorts(_) | Wish::Examine(_) => None,
        })
        .collect()
}

#[test]
fn the_decision_and_how_far_it_reaches_depend_on_what_selects() {
    use {Scope::Executable, Scope::Process, Verdict::Ignore, Verdict::Observe};
    let both = Selection { executables: vec!["*/shop".into()], ..ports(80, 80) };
    let pid = |pid| Selection { pids: vec![pid], ..Selection::default() };
    for (selection, exe, port, verdict, scope) in [
        (ports(80, 90), "/bin/shop", Some(85), Observe, Process),
        (ports(80, 90), "/bin/shop", Some(91), Ignore, Executable),
        (ports(80, 90), "/bin/shop", None, Ignore, Executable),
        (executables("*/shop"), "/bin/shop", None, Observe, Executable),
        (executables("*/shop"), "/bin/shop (deleted)", None, Observe, Executable),
        (executables("*/shop"), "/bin/shopper", Some(80), Ignore, Executable),
        (both.clone(), "/bin/shop", Some(80), Observe, Process),
        (both.clone(), "/bin/other", Some(80), Ignore, Executable),
        (both, "/bin/shop", Some(81), Ignore, Executable),
        (pid(42), "/bin/shop", None, Observe, Process),
        (pid(43), "/bin/shop", None, Ignore, Executable),
        (Selection::default(), "/bin/shop", Some(80), Ignore, Executable),
    ] {
        let mut discovery = discovery(selection.clone());
        discovery.snapshot_begin();
        announce(&mut discovery, SHOP, 9, exe, port);
        assert_eq!(decisions(&mut discovery), [], "nobody is decided about within a snapshot");
        discovery.snapshot_end();
        let case = format!("{selection:?} {exe} {port:?}");
        assert_eq!(decisions(&mut discovery), [(9, verdict, scope)], "{case}");
        assert_eq!(discovery.is_selected(SHOP), verdict == Observe, "{case}");
    }
}

#[test]
fn who_was_given_an_accepted_connection_stays_selected_when_it_ends_until_it_runs_something_else() {
    let mut discovery = discovery(ports(80, 80));
    discovery.process(&event(SHOP, PARENT, ProcessChange::Executed));
    discovery.listen(SHOP, 5, 80); // the connection that it works on was accepted from this port
    discovery.listen(SHOP, 6, 9_000);
    discovery.unlisten(5);
    discovery.info(&info(SHOP, 9, "/bin/handler"));
    assert!(discovery.is_selected(SHOP), "its last bytes may still be on their way");
    discovery.process(&event(SHOP, PARENT, ProcessChange::Executed));
    discovery.info(&info(SHOP, 10, "/bin/cat"));
    assert!(!discovery.is_selected(SHOP));
}

#[test]
fn who_listens_later_is_decided_about_again_and_only_then() {
    let mut discovery = discovery(ports(80, 80));
    announce(&mut discovery, SHOP, 9, "/bin/shop", None);
    assert_eq!(decisions(&mut discovery), [(9, Verdict::Ignore, Scope::Executable)]);
    discovery.info(&info(SHOP, 9, "/bin/shop"));
    assert_eq!(decisions(&mut discovery), []);
    discovery.listen(SHOP, 5, 80);
    assert_eq!(decisions(&mut discovery), [(9, Verdict::Observe, Scope::Process)]);
    discovery.unlisten(5);
    assert!(discovery.is_selected(SHOP), "its connections live on");
    assert_eq!(decisions(&mut discovery), []);
}

#[test]
fn after_a_reconnect_everything_is_asked_again() {
    let mut discovery = discovery(executables("*/shop"));
    announce(&mut discovery, SHOP, 9, "/bin/shop", None);
    assert_eq!(decisions(&mut discovery).len(), 1);
    discovery.connected();
    discovery.snapshot_begin();
    assert!(discovery.is_selected(SHOP), "what was known holds until the snapshot is whole");
    announce(&mut discovery, SHOP, 10, "/bin/shop", None);
    discovery.snapshot_end();
    assert_eq!(decisions(&mut discovery), [(10, Verdict::Observe, Scope::Executable)]);
}

#[test]
fn who_is_not_in_the_new_snapshot_is_forgotten() {
    let mut discovery = discovery(executables("*/shop"));
    announce(&mut discovery, SHOP, 9, "/bin/shop", None);
    discovery.snapshot_begin();
    discovery.snapshot_end();
    assert!(!discovery.is_selected(SHOP));
    assert_eq!(discovery.selected(), 0);
}

#[test]
fn our_own_processes_are_never_asked_for() {
    let mut discovery = discovery(executables("*"));
    let own = ProcessEvent { state: TargetState::Own, ..event(SHOP, PARENT, ProcessChange::Existed) };
    discovery.process(&own);
    discovery.info(&info(SHOP, 9, "/bin/shop"));
    discovery.listen(SHOP, 5, 80);
    assert_eq!(decisions(&mut discovery), []);
    assert!(!discovery.is_selected(SHOP));
}

#[test]
fn an_exec_is_decided_about_by_its_new_executable() {
    let mut discovery = discovery(executables("*/shop"));
    announce(&mut discovery, SHOP, 9, "/bin/sh", None);
    assert_eq!(decisions(&mut discovery), [(9, Verdict::Ignore, Scope::Executable)]);
    discovery.process(&event(SHOP, PARENT, ProcessChange::Executed));
    discovery.info(&info(SHOP, 10, "/bin/shop"));
    assert_eq!(decisions(&mut discovery), [(10, Verdict::Observe, Scope::Executable)]);
    assert_eq!(discovery.service(SHOP).name, "shop");
}

#[test]
fn a_forked_child_is_what_its_parent_is() {
    let child = ProcessId { tgid: 43, start_ns: 8 };
    let mut discovery = discovery(ports(80, 80));
    announce(&mut discovery, SHOP, 9, "/bin/shop", Some(80));
    discovery.process(&event(child, SHOP, ProcessChange::Forked));
    assert!(discovery.is_selected(child));
    discovery.info(&info(child, 10, "/bin/shop"));
    assert!(discovery.is_selected(child), "although it does not listen itself");
    assert!(decisions(&mut discovery).contains(&(10, Verdict::Observe, Scope::Process)));
}

#[test]
fn processes_are_bounded_and_the_rest_is_counted() {
    let mut discovery = discovery(ports(80, 80));
    let surplus = 3;
    for tgid in 0..u32::try_from(MAX_PROCESSES).expect("small") + surplus {
        let process = ProcessId { tgid, start_ns: 1 };
        discovery.process(&event(process, PARENT, ProcessChange::Existed));
    }
    assert_eq!(discovery.take_overflows(), u64::from(surplus));
    assert_eq!(discovery.take_overflows(), 0);
}

#[test]
fn who_ended_is_forgotten_after_its_last_bytes_can_have_come() {
    let mut discovery = discovery(executables("*/shop"));
    announce(&mut discovery, SHOP, 9, "/bin/shop", None);
    discovery.process(&event(SHOP, PARENT, ProcessChange::Exited));
    assert_eq!(discovery.selected(), 0);
    discovery.retire(KtimeNs(1_000_000_000));
    assert!(discovery.is_selected(SHOP));
    discovery.retire(KtimeNs(60_000_000_000));
    assert!(!discovery.is_selected(SHOP));
}

#[test]
fn a_worker_that_was_forked_before_anything_was_read_stays_a_worker() {
    const WORKER: ProcessId = ProcessId { tgid: 43, start_ns: 8 };
    let mut discovery = discovery(ports(80, 80));
    discovery.process(&event(SHOP, PARENT, ProcessChange::Executed));
    discovery.listen(SHOP, 1, 80);
    discovery.process(&event(WORKER, SHOP, ProcessChange::Forked));
    discovery.info(&info(WORKER, 2, "/usr/sbin/nginx"));
    discovery.info(&info(SHOP, 1, "/usr/sbin/nginx"));
    assert!(discovery.is_selected(WORKER) && discovery.is_selected(SHOP));
    let asked: Vec<_> =
        decisions(&mut discovery).into_iter().map(|(handle, verdict, _)| (handle, verdict)).collect();
    assert_eq!(asked, [(2, Verdict::Observe), (1, Verdict::Observe)]);
}

#[test]
fn a_pid_means_the_first_process_that_had_it() {
    let reused = ProcessId { start_ns: SHOP.start_ns + 1, ..SHOP };
    let mut discovery = discovery(Selection { pids: vec![SHOP.tgid], ..Selection::default() });
    announce(&mut discovery, SHOP, 1, "/bin/shop", None);
    announce(&mut discovery, reused, 2, "/bin/other", None);
    assert!(discovery.is_selected(SHOP) && !discovery.is_selected(reused));
}

/// How the only process stands.
fn standing(discovery: &Discovery) -> Standing {
    let all: Vec<_> = discovery.standings().collect();
    let [standing] = all[..] else { panic!("{all:?}") };
    standing
}

#[test]
fn where_a_process_stands_names_the_criterion() {
    let both = Selection { executables: vec!["*/no".into(), "*/shop".into()], ..ports(80, 90) };
    let pid = |pid| Selection { pids: vec![pid], ..Selection::default() };
    let by_both = Matched { port: Some(85), executable: Some(1), ..Matched::default() };
    let by_pid = Matched { pid: Some(42), ..Matched::default() };
    for (selection, port, expected) in [
        (both.clone(), Some(85), Standing::NoTraffic(Origin::Selector(by_both))),
        (both.clone(), Some(91), Standing::NotSelected(Miss::Port)),
        (both, None, Standing::NotSelected(Miss::Port)),
        (executables("*/other"), Some(80), Standing::NotSelected(Miss::Executable)),
        (pid(42), None, Standing::NoTraffic(Origin::Selector(by_pid))),
        (pid(43), None, Standing::NotSelected(Miss::Pid)),
        (Selection::default(), Some(80), Standing::NotSelected(Miss::NoSelector)),
    ] {
        let mut discovery = discovery(selection.clone());
        announce(&mut discovery, SHOP, 9, "/bin/shop", port);
        assert_eq!(standing(&discovery), expected, "{selection:?} {port:?}");
    }
}

#[test]
fn a_process_is_undecided_until_it_was_read_and_unreadable_if_that_failed() {
    let mut discovery = discovery(executables("*/shop"));
    discovery.process(&event(SHOP, PARENT, ProcessChange::Existed));
    discovery.listen(SHOP, 1, 80);
    assert_eq!(standing(&discovery), Standing::Undecided);
    discovery.info(&ProcessInfo { exe: None, ..info(SHOP, 9, "") });
    assert_eq!(standing(&discovery), Standing::Unreadable);
    let denied = ProcessEvent { state: TargetState::Denied, ..event(SHOP, PARENT, ProcessChange::Existed) };
    discovery.process(&denied);
    assert_eq!(standing(&discovery), Standing::Denied(Denial::Policy));
    let own = ProcessEvent { state: TargetState::Own, ..denied };
    discovery.process(&own);
    assert_eq!(standing(&discovery), Standing::Own);
    discovery.process(&event(SHOP, PARENT, ProcessChange::Exited));
    assert_eq!(discovery.standings().count(), 0);
}

#[test]
fn calls_make_it_observed_and_a_new_snapshot_forgets_none() {
    let origin = Origin::Selector(Matched { port: Some(80), ..Matched::default() });
    let mut discovery = discovery(ports(80, 80));
    announce(&mut discovery, SHOP, 9, "/bin/shop", Some(80));
    assert_eq!(standing(&discovery), Standing::NoTraffic(origin));
    assert!(discovery.called(SHOP) && !discovery.called(PARENT));
    assert!(discovery.exchanged(SHOP, true));
    assert_eq!(standing(&discovery), Standing::Observed(origin));
    discovery.snapshot_begin();
    assert_eq!(standing(&discovery), Standing::Observed(origin), "not announced again yet");
    announce(&mut discovery, SHOP, 10, "/bin/shop", Some(80));
    discovery.snapshot_end();
    let sights: Vec<_> = discovery.sights().map(|sight| (sight.calls, sight.exchanges)).collect();
    assert_eq!((standing(&discovery), sights), (Standing::Observed(origin), vec![(1, 1)]));
}

#[test]
fn a_worker_names_its_parent() {
    let child = ProcessId { tgid: 43, start_ns: 8 };
    let mut discovery = discovery(ports(80, 80));
    announce(&mut discovery, SHOP, 9, "/bin/shop", Some(80));
    discovery.process(&event(child, SHOP, ProcessChange::Forked));
    discovery.info(&info(child, 10, "/bin/shop"));
    let standing = discovery.sights().find(|sight| sight.process == child).map(|sight| sight.standing);
    assert_eq!(standing, Some(Standing::NoTraffic(Origin::Parent(SHOP.tgid))));
}
