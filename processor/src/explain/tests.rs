use super::*;
use crate::{
    config::{PortRange, Selection},
    discover::{Discovery, Matcher, sdk::Exclusion},
    health::Readiness,
    model::{KtimeNs, ProcessChange, ProcessEvent, ProcessId, ProcessInfo},
};
use ratatosk_abi::TargetState;
use ratatosk_proto::v1::{self, Hello, TierState};

fn discovery(selection: Selection) -> Discovery {
    Discovery::new(Matcher::new(selection).expect("valid patterns"), "host".into())
}

fn announce(discovery: &mut Discovery, tgid: u32, exe: Option<&str>, port: Option<u16>, state: TargetState) {
    let process = ProcessId { tgid, start_ns: 1 };
    let parent = ProcessId { tgid: 1, start_ns: 1 };
    let comm = *b"shop\0\0\0\0\0\0\0\0\0\0\0\0";
    let change = ProcessChange::Existed;
    discovery.process(&ProcessEvent { time: KtimeNs(1), process, parent, change, state, comm });
    discovery.info(&ProcessInfo {
        process,
        parent_tgid: 1,
        handle: tgid.into(),
        exe: exe.map(str::as_bytes),
        cmdline: None,
        cgroup: None,
        comm,
        environment: None,
        language: None,
        state,
    });
    if let Some(port) = port {
        discovery.listen(process, tgid.into(), port);
    }
}

fn selection() -> Selection {
    Selection {
        open_ports: vec![PortRange { first: 80, last: 89 }, PortRange { first: 443, last: 443 }],
        executables: vec!["*/shop".into()],
        pids: vec![],
        ..Selection::default()
    }
}

fn hello() -> Hello {
    let tier = |name: &str, state: TierState, reason: &str| v1::Tier {
        name: name.into(),
        state: state.into(),
        reason: reason.into(),
        lacks: vec!["kTLS".into()],
    };
    Hello {
        loader_version: "0.9".into(),
        tier: "inet".into(),
        tiers: vec![
            tier("socket", TierState::Failed, "loading: no such hook"),
            tier("inet", TierState::AtWork, ""),
        ],
        ..Hello::default()
    }
}

fn report(discovery: &Discovery, pid: Option<u32>, offset: usize, limit: usize) -> Report {
    let context = Context {
        discovery,
        hello: Some(&hello()),
        readiness: &Readiness::Ready { tier: "inet".into() },
        selectors: &Selectors::new("OTEL_EBPF_OPEN_PORT".into(), vec![], "BEYLA_TARGET_PID".into()),
        exclusion: Exclusion::default(),
    };
    build(context, &Question::new(pid, offset, limit).0)
}

fn shops() -> Discovery {
    let mut discovery = discovery(selection());
    announce(&mut discovery, 30, Some("/bin/shop"), None, TargetState::Unknown);
    announce(&mut discovery, 20, Some("/bin/shop"), Some(85), TargetState::Unknown);
    announce(&mut discovery, 10, Some("/bin/other"), Some(80), TargetState::Unknown);
    announce(&mut discovery, 40, None, Some(80), TargetState::Unknown);
    announce(&mut discovery, 50, Some("/bin/shop"), Some(80), TargetState::Denied);
    announce(&mut discovery, 60, Some("/bin/ratatosk"), None, TargetState::Own);
    discovery
}

#[test]
fn every_process_is_told_with_the_setting_that_decides_what_was_asked_for_first() {
    let rows: Vec<_> = report(&shops(), None, 0, 100)
        .processes
        .into_iter()
        .map(|process| (process.pid, process.state, process.detail))
        .collect();
    let row = |pid, state: &str, detail: &str| (pid, state.to_owned(), detail.to_owned());
    let ports = "OTEL_EBPF_OPEN_PORT=80-89,443";
    let exe = "BEYLA_AUTO_TARGET_EXE=*/shop";
    assert_eq!(
        rows,
        [
            row(20, "no_traffic", &format!("{ports} (port 85) and {exe}")),
            row(50, "denied", "the loader's policy denies it"),
            row(40, "unreadable", "the loader could not read which executable it runs"),
            row(10, "not_selected", &format!("its executable does not match {exe}")),
            row(30, "not_selected", &format!("listens on no port; {ports} is asked for")),
            row(60, "own", "part of the agent, which never observes itself"),
        ]
    );
}

#[test]
fn pages_meet_and_say_how_much_there_is() {
    let discovery = shops();
    let pids = |offset, limit| {
        let report = report(&discovery, None, offset, limit);
        assert_eq!((report.total, report.offset), (6, offset));
        report.processes.iter().map(|process| process.pid).collect::<Vec<_>>()
    };
    assert_eq!([pids(0, 2), pids(2, 3), pids(5, 9)].concat(), pids(0, usize::MAX));
    assert!(pids(7, 1).is_empty());
    let mut discovery = self::discovery(selection());
    let many = MAX_PAGE + 1;
    for tgid in 1..=u32::try_from(many).expect("small") {
        announce(&mut discovery, tgid, Some("/bin/x"), None, TargetState::Unknown);
    }
    let report = report(&discovery, None, 0, usize::MAX);
    assert_eq!((report.processes.len(), report.total), (MAX_PAGE, many));
}

#[test]
fn a_question_about_one_process_gets_only_that_one_and_all_counts() {
    let report = report(&shops(), Some(10), 0, 100);
    assert_eq!(report.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [10]);
    assert_eq!(report.counts.iter().map(|count| count.processes).sum::<u64>(), 6);
}

#[test]
fn a_loader_without_the_list_of_tiers_is_understood() {
    let hello = Hello { tiers: vec![], tier_lacks: vec!["kTLS".into()], ..hello() };
    let discovery = discovery(Selection::default());
    let context = Context {
        discovery: &discovery,
        hello: Some(&hello),
        readiness: &Readiness::NoSnapshot,
        selectors: &Selectors::default(),
        exclusion: Exclusion::default(),
    };
    let report = build(context, &Question::new(None, 0, 1).0);
    let tier = Tier {
        name: "inet".into(),
        state: "at_work".into(),
        reason: String::new(),
        lacks: vec!["kTLS".into()],
    };
    assert_eq!(report.tiers, [tier]);
    assert!(!report.loader.is_ready && report.selectors.is_empty());
}

#[test]
fn an_answer_of_another_version_is_read() {
    let text = r#"{"processes":[{"pid":7,"state":"dreaming","mood":"good"}],"weather":{"sun":true}}"#;
    let report: Report = serde_json::from_str(text).expect("understood");
    assert_eq!(report.processes[0].pid, 7);
    assert!(table(&report, Style::Plain).contains("dreaming"));
    assert!(sentences(&report.processes[0], &report).contains("Its state is dreaming"));
    let own = self::report(&shops(), None, 0, 100);
    let read: Report = serde_json::from_str(&serde_json::to_string(&own).expect("JSON")).expect("own JSON");
    assert_eq!(read, own);
}

#[test]
fn the_table_names_loader_tiers_selectors_and_what_is_left_out() {
    let text = table(&report(&shops(), None, 0, 2), Style::Plain);
    for line in [
        "Loader: ready, tier inet",
        "Tier socket: failed: loading: no such hook; does not see: kTLS",
        "Tier inet: at work; does not see: kTLS",
        "Selectors: OTEL_EBPF_OPEN_PORT=80-89,443, BEYLA_AUTO_TARGET_EXE=*/shop",
        "4 of them are not shown: --limit 6 shows all",
    ] {
        assert!(text.lines().any(|l| l == line), "{line:?} not in\n{text}");
    }
    assert!(text.lines().all(|line| line.trim_end() == line && !line.contains('\u{1b}')), "{text}");
    assert!(table(&report(&shops(), None, 0, 2), Style::Colour).contains("\u{1b}[32m"));
}

#[test]
fn a_strangers_name_moves_no_cursor() {
    let mut discovery = discovery(selection());
    let exe = format!("/{}/\u{1b}[2J\n\u{202e}evil", "x".repeat(300));
    announce(&mut discovery, 7, Some(&exe), None, TargetState::Unknown);
    let report = report(&discovery, None, 0, 9);
    let text = table(&report, Style::Plain) + &sentences(&report.processes[0], &report);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

#[test]
fn sentences_say_what_can_be_done() {
    let report = report(&shops(), None, 0, 100);
    let said = |pid| {
        let process = report.processes.iter().find(|process| process.pid == pid).expect("told");
        sentences(process, &report)
    };
    for (pid, words) in [
        (20, "Send it a request"),
        (50, "policy"),
        (40, "BEYLA_OPEN_PORT"),
        (10, "let BEYLA_AUTO_TARGET_EXE match /bin/other"),
        (30, "without BEYLA_OPEN_PORT"),
        (60, "never observed"),
    ] {
        assert!(said(pid).contains(words), "{words} not in {}", said(pid));
    }
}

#[test]
fn a_service_that_exports_itself_says_what_is_not_told_again() {
    let exporter = |exports: &[&str], not_told_again: &[&str]| Process {
        exports: exports.iter().map(ToString::to_string).collect(),
        not_told_again: not_told_again.iter().map(ToString::to_string).collect(),
        ..Process::default()
    };
    let said = |process: Process| sentences(&process, &Report::default());
    assert!(said(exporter(&["traces"], &["traces"])).contains("its traces are not told again"));
    assert!(
        said(exporter(&["traces", "metrics"], &[]))
            .contains("traces and metrics itself, and the same is told")
    );
    assert!(!said(exporter(&[], &[])).contains("itself"));
}
