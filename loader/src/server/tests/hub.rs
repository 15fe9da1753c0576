//! Without network: what is learned, decided, repaired and lost.

use super::fake::{FakeKernel, answer, answer_with, chunk, handover, kinds, listen, process, process_with};
use crate::server::clock::Identity;
use crate::server::hub::Hub;
use crate::server::ledger::DropReason;
use crate::server::processes::MAX_PROCESSES;
use crate::server::queue::QueueBounds;
use crate::server::request::Event;
use crate::server::session::OUTBOUND_MESSAGES;
use ratatosk_abi::{PortMode, RecordKind, TargetState, counter};
use ratatosk_proto::v1::loader_message::Kind;
use ratatosk_proto::v1::processor_message::Kind as Sent;
use ratatosk_proto::v1::{
    Acknowledge, Decide, LoaderMessage, PortRange, ProcessorMessage, Scope, Start, Verdict, WantPorts,
};
use std::os::fd::OwnedFd;
use tokio::sync::mpsc;

type Inbox = mpsc::Receiver<Result<LoaderMessage, tonic::Status>>;

struct Rig {
    hub: Hub<FakeKernel>,
    kernel: FakeKernel,
    attacher: OwnedFd,
}

impl Rig {
    fn new(bounds: QueueBounds) -> Self {
        let kernel = FakeKernel::new();
        let (handover, attacher, path) = handover(&kernel, bounds, 0);
        let identity = Identity { boot_id: "boot".to_owned(), epoch: 1 };
        let (hub, _) = Hub::new(handover, identity);
        std::fs::remove_file(path).expect("bound");
        Self { hub, kernel, attacher }
    }

    fn with_process(tgid: u32) -> Self {
        let mut rig = Self::new(QueueBounds::default());
        rig.control(process(RecordKind::Process, tgid, 1));
        rig.settle();
        rig
    }

    fn control(&mut self, record: Vec<u8>) {
        self.kernel.with(|world| world.control.push(record));
        self.hub.drain();
    }

    fn data(&mut self, record: Vec<u8>) {
        self.kernel.with(|world| world.data.push(record));
        self.hub.drain();
    }

    /// Lets the attacher answer everything.
    fn settle(&mut self) {
        self.hub.ask().expect("attacher");
        answer(&self.attacher);
        self.hub.on_replies().expect("attacher");
    }

    fn connect(&mut self, id: u64) -> Inbox {
        let (outbound, inbox) = mpsc::channel(OUTBOUND_MESSAGES);
        let start = Start { protocol_version: 1, processor_version: String::new() };
        self.hub.on_event(Event::Start { id, start, outbound });
        inbox
    }

    fn say(&mut self, kind: Sent) {
        let message = ProcessorMessage { kind: Some(kind) };
        self.hub.on_event(Event::Message { id: 1, message });
    }

    fn decide(&mut self, handle: u64, verdict: Verdict, scope: Scope) {
        self.say(Sent::Decide(Decide { handle, verdict: verdict.into(), scope: scope.into() }));
    }

    fn target(&self, tgid: u32) -> TargetState {
        self.kernel.with(|world| world.targets.get(&tgid).copied().unwrap_or(TargetState::Unknown))
    }

    fn set(&self, tgid: u32, state: TargetState) {
        self.kernel.with(|world| world.targets.insert(tgid, state));
    }

    /// Everything the stream has for us, acknowledged batch by batch.
    fn receive_all(&mut self, inbox: &mut Inbox) -> Vec<RecordKind> {
        let mut told = Vec::new();
        loop {
            self.hub.pump();
            let Ok(message) = inbox.try_recv() else { return told };
            if let Some(Kind::Batch(batch)) = message.expect("open").kind {
                told.extend(kinds(&batch.records));
                self.say(Sent::Acknowledge(Acknowledge { through: batch.number }));
            }
        }
    }

    fn assert_identity(&self) {
        let status = self.hub.status();
        let produced: u64 = status.produced.iter().map(|p| p.records).sum();
        let dropped: u64 = status.dropped.iter().map(|d| d.records).sum();
        assert_eq!(produced, status.acknowledged_records + dropped + status.held_records);
    }
}

#[test]
fn a_snapshot_tells_processes_with_their_strings_and_listeners() {
    let mut rig = Rig::with_process(7);
    rig.control(listen(7, 80));
    let mut inbox = rig.connect(1);
    let told = rig.receive_all(&mut inbox);
    use RecordKind::{Listen, Process, ProcessInfo, SnapshotBegin, SnapshotEnd};
    let live = [Process, ProcessInfo, Listen];
    assert_eq!(told, [&live[..], &[SnapshotBegin, Process, ProcessInfo, Listen, SnapshotEnd]].concat());
    rig.assert_identity();
}

#[test]
fn a_snapshot_larger_than_every_bound_arrives_whole() {
    let bounds = QueueBounds { queue_bytes: 4000, control_bytes: 2000, batch_bytes: 500 };
    let mut rig = Rig::new(bounds);
    for tgid in 10..210 {
        rig.control(process(RecordKind::Process, tgid, 1));
        rig.settle();
    }
    let collapsed = rig.hub.status().control_collapsed;
    assert!(collapsed > 0);
    let mut inbox = rig.connect(1);
    let told = rig.receive_all(&mut inbox);
    let begin = told.iter().rposition(|kind| *kind == RecordKind::SnapshotBegin).expect("begun");
    let processes = told[begin..].iter().filter(|kind| **kind == RecordKind::Process).count();
    assert_eq!((processes, told.last()), (200, Some(&RecordKind::SnapshotEnd)));
    assert_eq!(rig.hub.status().control_collapsed, collapsed);
    rig.assert_identity();
}

#[test]
fn collapsed_control_is_booked_and_replaced() {
    let bounds = QueueBounds { control_bytes: 500, ..QueueBounds::default() };
    let mut rig = Rig::new(bounds);
    for tgid in 10..30 {
        rig.control(process(RecordKind::Exit, tgid, 1));
        rig.assert_identity();
    }
    let lost = rig.hub.ledger.dropped(DropReason::Collapsed);
    assert_eq!((lost, rig.hub.status().control_collapsed, rig.hub.status().held_records), (20, 1, 0));
    let mut inbox = rig.connect(1);
    let told = rig.receive_all(&mut inbox);
    assert_eq!(told, [RecordKind::SnapshotBegin, RecordKind::SnapshotEnd]);
    rig.assert_identity();
}

#[test]
fn data_beyond_the_bound_is_dropped_and_counted() {
    let mut rig = Rig::new(QueueBounds { queue_bytes: 64, ..QueueBounds::default() });
    (0..5).for_each(|_| rig.data(chunk(1)));
    assert_eq!(rig.hub.ledger.dropped(DropReason::QueueFull), 3);
    rig.data(vec![1, 2, 3]);
    assert_eq!(rig.hub.ledger.dropped(DropReason::Malformed), 1);
    rig.assert_identity();
}

#[test]
fn a_decision_sets_the_byte_and_the_executables() {
    let mut rig = Rig::with_process(7);
    let _inbox = rig.connect(1);
    rig.decide(1, Verdict::Observe, Scope::Process);
    assert_eq!(rig.target(7), TargetState::Observed);
    assert!(rig.kernel.with(|world| world.decisions.is_empty()));
    rig.decide(1, Verdict::Ignore, Scope::Executable);
    assert_eq!(rig.target(7), TargetState::Ignored);
    let decision = rig.kernel.with(|world| world.decisions[0]);
    assert_eq!((decision.exe_ino, decision.cgroup_id, decision.state), (107, 5, 5));
}

#[test]
fn own_and_denied_processes_stay_what_they_are() {
    let mut rig = Rig::with_process(7);
    let _inbox = rig.connect(1);
    for state in [TargetState::Own, TargetState::Denied] {
        rig.set(7, state);
        rig.decide(1, Verdict::Observe, Scope::Executable);
        assert_eq!(rig.target(7), state);
    }
    assert!(rig.kernel.with(|world| world.decisions.is_empty()));
}

#[test]
fn an_unknown_handle_changes_nothing_and_the_stream_goes_on() {
    let mut rig = Rig::with_process(7);
    let mut inbox = rig.connect(1);
    rig.decide(999, Verdict::Observe, Scope::Process);
    rig.decide(1, Verdict::Unspecified, Scope::Process);
    assert_eq!(rig.target(7), TargetState::Unknown);
    assert!(!rig.receive_all(&mut inbox).is_empty());
}

#[test]
fn a_decision_about_a_process_that_ended_meanwhile_is_not_applied() {
    let mut rig = Rig::with_process(7);
    let _inbox = rig.connect(1);
    rig.kernel.with(|world| world.control.push(process(RecordKind::Exit, 7, 2)));
    rig.decide(1, Verdict::Observe, Scope::Process);
    assert_eq!(rig.target(7), TargetState::Unknown);
}

#[test]
fn a_write_that_raced_with_an_exec_is_repaired() {
    let mut rig = Rig::with_process(7);
    let _inbox = rig.connect(1);
    let before_ns = rig.kernel.with(|world| world.now_ns);
    rig.decide(1, Verdict::Observe, Scope::Process);
    rig.control(process_with(RecordKind::Exec, 7, before_ns, |record| record.exe_ino = 1));
    assert_eq!(rig.target(7), TargetState::Unknown);
}

#[test]
fn a_write_that_an_exec_followed_is_left_to_the_kernel() {
    let mut rig = Rig::with_process(7);
    let _inbox = rig.connect(1);
    rig.decide(1, Verdict::Observe, Scope::Process);
    rig.control(process_with(RecordKind::Exec, 7, u64::MAX, |record| record.exe_ino = 1));
    assert_eq!(rig.target(7), TargetState::Observed);
}

#[test]
fn a_write_that_raced_with_an_exit_is_cleared_or_given_to_the_successor() {
    for successor in [None, Some(TargetState::Ignored)] {
        let mut rig = Rig::with_process(7);
        let _inbox = rig.connect(1);
        let before_ns = rig.kernel.with(|world| world.now_ns);
        rig.decide(1, Verdict::Observe, Scope::Process);
        rig.control(process(RecordKind::Exit, 7, before_ns));
        assert_eq!(rig.target(7), TargetState::Unknown);
        let Some(state) = successor else { continue };
        rig.control(process_with(RecordKind::Fork, 7, before_ns + 1, |record| {
            record.hdr.task_start_ns = 99;
            record.target_state = state as u8;
        }));
        assert_eq!(rig.target(7), state);
    }
}

#[test]
fn a_forked_child_is_announced_without_asking() {
    let mut rig = Rig::with_process(7);
    let mut inbox = rig.connect(1);
    rig.receive_all(&mut inbox);
    rig.control(process_with(RecordKind::Fork, 8, 2, |record| {
        (record.parent_tgid, record.parent_start_ns) = (7, 70);
    }));
    assert_eq!(rig.receive_all(&mut inbox), [RecordKind::Fork, RecordKind::ProcessInfo]);
    rig.hub.ask().expect("attacher");
    assert!(answer(&rig.attacher).is_empty());
}

#[test]
fn wanted_ports_select_who_listens_already_and_later() {
    for (mark_only, mode, state) in
        [(false, PortMode::Observe, TargetState::Observed), (true, PortMode::Mark, TargetState::Wanted)]
    {
        let mut rig = Rig::with_process(7);
        rig.control(process(RecordKind::Process, 8, 1));
        rig.control(listen(7, 80));
        let _inbox = rig.connect(1);
        let ranges = vec![PortRange { first: 80, last: 81 }];
        rig.say(Sent::WantPorts(WantPorts { ranges, mark_only }));
        assert_eq!(rig.kernel.with(|world| world.ports.clone()), [(80, mode), (81, mode)].into());
        assert_eq!((rig.target(7), rig.target(8)), (state, TargetState::Unknown));
        rig.control(listen(8, 81));
        assert_eq!(rig.target(8), state);
        rig.say(Sent::WantPorts(WantPorts { ranges: vec![], mark_only }));
        assert_eq!(rig.kernel.with(|world| world.ports[&80]), PortMode::None);
    }
}

#[test]
fn a_port_range_that_means_nothing_ends_the_stream() {
    let mut rig = Rig::with_process(7);
    let mut inbox = rig.connect(1);
    rig.say(Sent::WantPorts(WantPorts { ranges: vec![PortRange { first: 2, last: 1 }], mark_only: false }));
    assert!(matches!(inbox.try_recv().expect("hello").expect("ok").kind, Some(Kind::Hello(_))));
    let end = inbox.try_recv().expect("an end").expect_err("an error");
    assert_eq!(end.code(), tonic::Code::InvalidArgument);
    assert!(rig.kernel.with(|world| world.ports.is_empty()));
}

#[test]
fn the_watermark_waits_for_what_was_not_sent() {
    let mut rig = Rig::new(QueueBounds::default());
    rig.hub.drain();
    let first_ns = rig.hub.watermark_ns;
    rig.data(chunk(first_ns + 1));
    rig.hub.drain();
    assert!(rig.hub.watermark_ns > first_ns);
    assert_eq!(rig.hub.queue.watermark_ns(rig.hub.watermark_ns), first_ns);
    let mut inbox = rig.connect(1);
    rig.hub.pump();
    let messages: Vec<Kind> =
        std::iter::from_fn(|| inbox.try_recv().ok()).filter_map(|m| m.expect("ok").kind).collect();
    let ticks = messages.iter().filter_map(|kind| match kind {
        Kind::Tick(tick) => Some(tick.watermark_ktime_ns),
        _ => None,
    });
    assert_eq!(ticks.collect::<Vec<_>>(), [rig.hub.watermark_ns]);
    assert!(matches!(messages.last(), Some(Kind::Status(_))));
}

#[test]
fn control_records_lost_in_the_kernel_are_looked_for() {
    let mut rig = Rig::with_process(7);
    rig.hub.beat();
    rig.kernel.with(|world| world.counters[counter::CONTROL_RING_FULL] = 1);
    rig.hub.beat();
    assert!(rig.hub.describe.wants_resnapshot());
}

#[test]
fn a_process_whose_exit_was_lost_goes_with_the_next_whole_resnapshot() {
    let mut rig = Rig::new(QueueBounds::default());
    rig.control(process(RecordKind::Process, 7, 1));
    let mut inbox = rig.connect(1);
    rig.receive_all(&mut inbox);
    rig.hub.ask().expect("attacher");
    answer_with(&rig.attacher, 1);
    rig.hub.on_replies().expect("attacher");
    let told = rig.receive_all(&mut inbox);
    assert_eq!(told, [RecordKind::SnapshotBegin, RecordKind::SnapshotEnd]);
    rig.assert_identity();
}

#[test]
fn a_resnapshot_that_lost_records_forgets_nobody() {
    let mut rig = Rig::new(QueueBounds::default());
    rig.control(process(RecordKind::Process, 7, 1));
    rig.hub.ask().expect("attacher");
    rig.kernel.with(|world| world.counters[counter::CONTROL_RING_FULL] = 1);
    answer_with(&rig.attacher, 1);
    rig.hub.on_replies().expect("attacher");
    assert!(rig.hub.processes.by_tgid(7).is_some());
}

#[test]
fn an_exec_storm_beside_a_silent_attacher_stays_bounded() {
    let mut rig = Rig::with_process(7);
    for _ in 0..100 {
        rig.kernel.with(|world| {
            world.control.extend((0..1000).map(|_| process(RecordKind::Exec, 7, 1)));
        });
        rig.hub.drain();
        rig.hub.ask().expect("attacher");
    }
    assert!(rig.hub.describe.waiting() <= 2 * MAX_PROCESSES);
    assert!(rig.hub.status().control_collapsed > 0);
    rig.assert_identity();
}

#[test]
fn the_accepted_peer_and_the_agent_are_own() {
    let mut rig = Rig::new(QueueBounds::default());
    rig.hub.on_event(Event::Accepted { pid: Some(42) });
    assert_eq!((rig.target(42), rig.target(1)), (TargetState::Own, TargetState::Own));
}
