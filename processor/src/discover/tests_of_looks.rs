//! What the loader finds when it looks into a process, and what its policy denies.

use super::*;
use crate::{
    config::{PortRange, Selection},
    model::{KtimeNs, OwnSignals, ProcessChange, ProcessEvent, ProcessId, ProcessInfo},
};
use ratatosk_abi::{Language, TargetState};
use ratatosk_proto::v1::{Denied, Verdict};

const SHOP: ProcessId = ProcessId { tgid: 42, start_ns: 7 };
const CHILD: ProcessId = ProcessId { tgid: 43, start_ns: 8 };

fn discovery() -> Discovery {
    let ports = PortRange { first: 80, last: 80 };
    let selection = Selection { open_ports: vec![ports], ..Selection::default() };
    let mut discovery = Discovery::new(Matcher::new(selection).expect("valid"), "host".into());
    discovery.connected();
    discovery.set_loader_examines(true);
    discovery.process(&event(SHOP, ProcessChange::Existed));
    discovery.info(&info(SHOP, 9));
    discovery.listen(SHOP, 1, 80);
    discovery
}

fn event(process: ProcessId, change: ProcessChange) -> ProcessEvent {
    ProcessEvent {
        time: KtimeNs(1),
        process,
        parent: SHOP,
        change,
        state: TargetState::Unknown,
        comm: *b"comm\0\0\0\0\0\0\0\0\0\0\0\0",
    }
}

fn info(process: ProcessId, handle: u64) -> ProcessInfo<'static> {
    ProcessInfo {
        process,
        parent_tgid: 1,
        handle,
        exe: Some(b"/bin/shop"),
        cmdline: None,
        cgroup: None,
        language: None,
        environment: None,
        comm: *b"comm\0\0\0\0\0\0\0\0\0\0\0\0",
        state: TargetState::Unknown,
    }
}

fn looked(process: ProcessId, handle: u64, language: Language) -> ProcessInfo<'static> {
    let environment = Some(b"OTEL_SERVICE_NAME=till\0OTEL_RESOURCE_ATTRIBUTES=team=a\0".as_slice());
    ProcessInfo { language: Some(language), environment, ..info(process, handle) }
}

/// Handles that the loader is to look into.
fn looks(discovery: &mut Discovery) -> Vec<u64> {
    std::iter::from_fn(|| discovery.next_wish())
        .filter_map(|wish| match wish {
            Wish::Examine(examine) => Some(examine.handle),
            _ => None,
        })
        .collect()
}

#[test]
fn who_is_selected_is_looked_into_once_and_named_by_what_it_declares() {
    let mut discovery = discovery();
    assert_eq!(looks(&mut discovery), [9]);
    assert_eq!(discovery.service(SHOP).name, "shop");
    assert_eq!(looks(&mut discovery), [0; 0], "the answer is still to come");
    discovery.info(&looked(SHOP, 9, Language::Go));
    let service = discovery.service(SHOP);
    assert_eq!((service.name.as_str(), service.language.as_str()), ("till", "go"));
    assert_eq!(service.attributes, [("team".to_owned(), "a".to_owned())]);
    assert_eq!(looks(&mut discovery), [0; 0]);
}

#[test]
fn who_is_not_selected_is_not_looked_into() {
    let mut discovery = discovery();
    looks(&mut discovery);
    discovery.process(&event(CHILD, ProcessChange::Existed));
    discovery.info(&info(CHILD, 10));
    discovery.listen(CHILD, 2, 81);
    assert_eq!(looks(&mut discovery), [0; 0]);
}

#[test]
fn a_loader_that_does_not_examine_is_not_asked_and_nothing_waits() {
    let mut discovery = discovery();
    discovery.set_loader_examines(false);
    assert_eq!(looks(&mut discovery), [9], "as it was asked before");
    discovery.process(&event(CHILD, ProcessChange::Existed));
    discovery.info(&info(CHILD, 10));
    discovery.listen(CHILD, 2, 80);
    assert_eq!(looks(&mut discovery), [0; 0]);
    assert!(discovery.exchanged(SHOP, true) && discovery.exchanged(CHILD, true));
}

#[test]
fn a_name_is_waited_for_until_it_comes_or_three_seconds_are_over() {
    let mut named = discovery();
    assert!(!named.exchanged(SHOP, true) && named.exchanged(CHILD, true));
    named.info(&looked(SHOP, 9, Language::Generic));
    assert!(named.exchanged(SHOP, true));
    let mut silent = discovery();
    silent.retire(KtimeNs(999_999_999));
    assert!(!silent.exchanged(SHOP, true));
    silent.retire(KtimeNs(3_000_000_000));
    assert!(silent.exchanged(SHOP, true));
}

#[test]
fn a_process_that_speaks_before_it_was_described_is_waited_for() {
    let mut discovery = discovery();
    discovery.process(&event(CHILD, ProcessChange::Existed));
    discovery.listen(CHILD, 2, 80);
    assert!(discovery.is_selected(CHILD) && !discovery.exchanged(CHILD, true));
    discovery.info(&info(CHILD, 10));
    assert!(!discovery.exchanged(CHILD, true), "now it was asked about");
    discovery.info(&looked(CHILD, 10, Language::Go));
    assert!(discovery.exchanged(CHILD, true));
    assert_eq!(discovery.service(CHILD).language, "go");
}

#[test]
fn candidates_are_looked_into_where_a_criterion_needs_it() {
    let mut discovery = discovery();
    looks(&mut discovery);
    discovery.set_examines_candidates(true);
    discovery.process(&event(CHILD, ProcessChange::Existed));
    discovery.info(&info(CHILD, 10));
    assert_eq!(looks(&mut discovery), [10]);
    discovery.info(&ProcessInfo { exe: None, ..info(CHILD, 11) });
    assert_eq!(looks(&mut discovery), [0; 0], "a kernel thread");
}

#[test]
fn a_runtime_that_is_loaded_late_is_found_and_asking_ends() {
    let mut discovery = discovery();
    let mut asked = looks(&mut discovery).len();
    for _ in 0..5 {
        discovery.info(&looked(SHOP, 9, Language::Cpp));
        discovery.service(SHOP);
        asked += looks(&mut discovery).len();
    }
    assert_eq!(asked, 3);
    discovery.info(&looked(SHOP, 9, Language::Java));
    assert_eq!(discovery.service(SHOP).language, "java");
}

#[test]
fn a_forked_child_is_what_its_parent_is_and_an_executed_program_is_nothing_yet() {
    let mut discovery = discovery();
    discovery.info(&looked(SHOP, 9, Language::Python));
    looks(&mut discovery);
    discovery.process(&event(CHILD, ProcessChange::Forked));
    discovery.info(&info(CHILD, 10));
    assert_eq!(discovery.service(CHILD).name, "till");
    assert_eq!(looks(&mut discovery), [0; 0]);
    discovery.process(&event(CHILD, ProcessChange::Executed));
    assert_eq!(
        (discovery.service(CHILD).name.as_str(), discovery.service(CHILD).language.as_str()),
        ("comm", "")
    );
}

#[test]
fn being_looked_into_deselects_nobody() {
    let mut discovery = discovery();
    discovery.unlisten(1);
    discovery.info(&looked(SHOP, 9, Language::Go));
    assert!(discovery.is_selected(SHOP), "its connections live on");
}

#[test]
fn another_server_of_the_loader_is_asked_again() {
    let mut discovery = discovery();
    assert_eq!(looks(&mut discovery), [9]);
    discovery.connected();
    discovery.info(&info(SHOP, 11));
    assert_eq!(looks(&mut discovery), [11]);
}

#[test]
fn what_a_service_exports_itself_is_kept_until_it_executes_another_program() {
    let mut discovery = discovery();
    let traces = OwnSignals { traces: true, metrics: false };
    assert_eq!(discovery.exports(SHOP, traces).as_deref(), Some("shop"));
    assert_eq!(discovery.exports(SHOP, traces), None, "no news");
    assert_eq!(discovery.service(SHOP).own, traces);
    discovery.process(&event(SHOP, ProcessChange::Executed));
    assert_eq!(discovery.service(SHOP).own, OwnSignals::default());
}

#[test]
fn a_denied_process_stands_so_until_bytes_of_it_come() {
    let mut discovery = discovery();
    let mut denials = Denials::default();
    let denied = Denied { handle: 9, reason: "uid".into(), rule: "uids = [1]".into(), ..Denied::default() };
    denials.tell(&denied, &mut discovery);
    let standing = |discovery: &Discovery| discovery.standings().next().expect("one");
    assert_eq!(standing(&discovery), Standing::Denied(Denial::Policy));
    assert!(discovery.called(SHOP));
    assert!(matches!(standing(&discovery), Standing::Observed(_)), "it changed its uid");
    denials.tell(&Denied { handle: 77, ..Denied::default() }, &mut discovery);
}

#[test]
fn a_verdict_comes_before_the_look_it_causes() {
    let mut discovery = discovery();
    let wishes: Vec<Wish> = std::iter::from_fn(|| discovery.next_wish()).collect();
    let at = |wanted: fn(&Wish) -> bool| wishes.iter().position(wanted).expect("asked");
    let observe = at(|wish| matches!(wish, Wish::Decide(decide) if decide.verdict() == Verdict::Observe));
    assert!(observe < at(|wish| matches!(wish, Wish::Examine(_))));
}
