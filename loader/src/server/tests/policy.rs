//! What the operator's policy lets a processor have.

use super::fake::{FakeKernel, answer, handover, kinds, listen, process, process_with};
use crate::policy::{Cgroup, Policy};
use crate::process::ipc::RequestKind;
use crate::server::clock::Identity;
use crate::server::hub::Hub;
use crate::server::queue::QueueBounds;
use crate::server::request::Event;
use ratatosk_abi::{PortMode, RecordKind, TargetState};
use ratatosk_proto::v1::loader_message::Kind;
use ratatosk_proto::v1::processor_message::Kind as Sent;
use ratatosk_proto::v1::{
    Decide, Denied, Examine, LoaderMessage, PortRange, ProcessorMessage, Scope, Start, Verdict, WantPorts,
};
use std::os::fd::OwnedFd;
use tokio::sync::mpsc;

struct Rig {
    hub: Hub<FakeKernel>,
    kernel: FakeKernel,
    attacher: OwnedFd,
    inbox: mpsc::Receiver<Result<LoaderMessage, tonic::Status>>,
}

impl Rig {
    /// Process 7 with handle 1 runs `/bin/7`, and a processor is connected.
    fn new(policy: Policy) -> Self {
        let kernel = FakeKernel::new();
        let (mut handover, attacher, path) = handover(&kernel, QueueBounds::default(), 0);
        handover.options.policy = policy;
        let (hub, _) = Hub::new(handover, Identity { boot_id: "boot".to_owned(), epoch: 1 });
        std::fs::remove_file(path).expect("bound");
        let (outbound, inbox) = mpsc::channel(64);
        let mut rig = Self { hub, kernel, attacher, inbox };
        rig.control(process(RecordKind::Process, 7, 1));
        rig.settle();
        let start = Start { protocol_version: 1, ..Start::default() };
        rig.hub.on_event(Event::Start { id: 1, start, outbound });
        rig
    }

    fn control(&mut self, record: Vec<u8>) {
        self.kernel.with(|world| world.control.push(record));
        self.hub.drain();
    }

    fn settle(&mut self) -> Vec<RequestKind> {
        self.hub.ask().expect("attacher");
        let asked = answer(&self.attacher);
        self.hub.on_replies().expect("attacher");
        asked
    }

    fn send(&mut self, kind: Sent) {
        self.hub.on_event(Event::Message { id: 1, message: ProcessorMessage { kind: Some(kind) } });
    }

    fn observe(&mut self, scope: Scope) {
        let (verdict, scope) = (Verdict::Observe.into(), scope.into());
        self.send(Sent::Decide(Decide { handle: 1, verdict, scope }));
    }

    fn want(&mut self, first: u32, last: u32) {
        self.send(Sent::WantPorts(WantPorts { ranges: vec![PortRange { first, last }], mark_only: false }));
    }

    fn target(&self) -> TargetState {
        self.kernel.with(|world| world.targets.get(&7).copied().unwrap_or(TargetState::Unknown))
    }

    fn messages(&mut self) -> Vec<Kind> {
        self.hub.pump();
        std::iter::from_fn(|| self.inbox.try_recv().ok())
            .filter_map(|message| message.expect("open").kind)
            .collect()
    }

    fn denials(&mut self) -> Vec<Denied> {
        let of = |kind| match kind {
            Kind::Denied(denied) => Some(denied),
            _ => None,
        };
        self.messages().into_iter().filter_map(of).collect()
    }

    fn counted(&self, reason: &str) -> u64 {
        let counts = self.hub.status().denied;
        counts.into_iter().find(|count| count.reason == reason).map_or(0, |count| count.records)
    }
}

fn executables(pattern: &str) -> Policy {
    let executables = Some(vec![glob::Pattern::new(pattern).expect("glob")]);
    Policy { executables, file: Some("/etc/policy".into()), ..Policy::default() }
}

#[test]
fn a_denied_executable_is_denied_in_the_kernel_too_and_its_user_told_the_rule() {
    let mut rig = Rig::new(executables("/usr/**/*"));
    rig.observe(Scope::Executable);
    assert_eq!(rig.target(), TargetState::Denied);
    assert!(rig.kernel.with(|world| world.decisions.is_empty()), "no later process inherits it");
    let denials = rig.denials();
    let [denied] = denials.as_slice() else { panic!("{denials:?}") };
    assert_eq!((denied.handle, denied.reason.as_str()), (1, "executable"));
    assert_eq!(
        (denied.rule.as_str(), denied.file.as_str()),
        (r#"executables = ["/usr/**/*"]"#, "/etc/policy")
    );
    assert_eq!(rig.counted("executable"), 1);
}

#[test]
fn a_permitted_executable_is_observed_and_ports_alone_let_nothing_through() {
    let mut rig = Rig::new(executables("/bin/*"));
    rig.want(80, 81);
    assert_eq!(rig.kernel.with(|world| world.ports.get(&80).copied()), Some(PortMode::Mark));
    rig.control(listen(7, 80));
    assert_eq!(rig.target(), TargetState::Wanted);
    rig.observe(Scope::Process);
    assert_eq!(rig.target(), TargetState::Observed);
    assert!(rig.denials().is_empty());
}

#[test]
fn an_executable_that_could_not_be_read_is_not_permitted() {
    let mut rig = Rig::new(executables("/**/*"));
    rig.control(process(RecordKind::Process, 8, 1)); // nobody answers for it
    let (verdict, scope) = (Verdict::Observe.into(), Scope::Process.into());
    rig.send(Sent::Decide(Decide { handle: 2, verdict, scope }));
    assert_eq!(rig.denials().len(), 1);
}

#[test]
fn ports_beyond_the_policy_are_left_out_and_named() {
    let mut rig = Rig::new(Policy { ports: Some(vec![80..=80, 8000..=8999]), ..Policy::default() });
    rig.want(79, 8001);
    let modes = rig.kernel.with(|world| [79, 80, 81, 8000].map(|port| world.ports.get(&port).copied()));
    assert_eq!(modes, [None, Some(PortMode::Observe), None, Some(PortMode::Observe)]);
    let denials = rig.denials();
    let [denied] = denials.as_slice() else { panic!("{denials:?}") };
    let runs = [PortRange { first: 79, last: 79 }, PortRange { first: 81, last: 7999 }];
    assert_eq!(
        (denied.handle, denied.ports.as_slice(), denied.reason.as_str()),
        (0, runs.as_slice(), "port")
    );
}

#[test]
fn who_listens_on_no_permitted_port_is_observed_once_it_does() {
    let mut rig = Rig::new(Policy { ports: Some(vec![80..=80]), ..Policy::default() });
    rig.control(listen(7, 81));
    rig.observe(Scope::Executable);
    assert_eq!((rig.target(), rig.counted("port")), (TargetState::Unknown, 1));
    rig.control(listen(7, 80));
    assert_eq!(rig.target(), TargetState::Observed);
    assert!(rig.kernel.with(|world| world.decisions.is_empty()), "others may listen elsewhere");
}

#[test]
fn a_worker_keeps_what_its_parent_was_given() {
    let mut rig = Rig::new(Policy { ports: Some(vec![80..=80]), ..Policy::default() });
    rig.kernel.with(|world| world.targets.insert(7, TargetState::Observed));
    rig.observe(Scope::Process);
    assert_eq!((rig.target(), rig.counted("port")), (TargetState::Observed, 0));
}

#[test]
fn what_the_kernel_holds_back_is_said_and_left_to_it() {
    let cgroups = Some(vec![Cgroup { path: "/shop".into(), id: Some(9) }]);
    for (policy, reason) in [
        (Policy { uids: Some(vec![5..=6]), ..Policy::default() }, "uid"),
        (Policy { cgroups, ..Policy::default() }, "cgroup"),
    ] {
        let mut rig = Rig::new(policy);
        rig.hub.processes.describe(
            1,
            crate::server::processes::Info {
                cgroup: (*b"1:cpu:/shop\n0::/other\n").into(),
                ..Default::default()
            },
        );
        rig.observe(Scope::Process);
        assert_eq!(
            rig.target(),
            TargetState::Observed,
            "it may change both, and the kernel looks at each call"
        );
        let denials = rig.denials();
        assert_eq!(denials.iter().map(|denied| denied.reason.as_str()).collect::<Vec<_>>(), [reason]);
    }
    let mut rig = Rig::new(Policy { uids: Some(vec![5..=6]), ..Policy::default() });
    rig.control(process_with(RecordKind::Process, 7, 2, |record| record.uid = 6));
    rig.observe(Scope::Process);
    assert!(rig.denials().is_empty());
}

#[test]
fn hello_says_what_is_bounded() {
    let mut rig = Rig::new(executables("/bin/*"));
    let hello = rig.messages().into_iter().find_map(|kind| match kind {
        Kind::Hello(hello) => Some(hello.policy),
        _ => None,
    });
    assert_eq!(hello, Some(vec![r#"executables = ["/bin/*"]"#.to_owned()]));
}

#[test]
fn a_process_is_examined_a_few_times_and_what_was_found_is_announced() {
    let mut rig = Rig::new(Policy::default());
    rig.settle();
    rig.messages();
    for _ in 0..10 {
        rig.send(Sent::Examine(Examine { handle: 1 }));
        rig.send(Sent::Examine(Examine { handle: 1 })); // asked already
        let asked = rig.settle();
        assert!(asked.iter().all(|kind| *kind == RequestKind::Examine) && asked.len() <= 1, "{asked:?}");
    }
    let batches = rig.messages().into_iter().filter_map(|kind| match kind {
        Kind::Batch(batch) => Some(kinds(&batch.records)),
        _ => None,
    });
    let told = batches.flatten().filter(|kind| *kind == RecordKind::ProcessInfo).count();
    assert_eq!(told, 4);
}

#[test]
fn nobody_is_examined_where_the_policy_says_so() {
    let mut rig = Rig::new(Policy { examine: false, ..Policy::default() });
    rig.settle();
    rig.send(Sent::Examine(Examine { handle: 1 }));
    assert_eq!((rig.settle(), rig.counted("examine")), (Vec::new(), 1));
}

#[test]
fn a_flood_of_denied_requests_stays_bounded() {
    let mut rig = Rig::new(executables("/none"));
    for _ in 0..10_000 {
        rig.kernel.with(|world| world.targets.clear());
        rig.observe(Scope::Process);
    }
    assert_eq!(rig.counted("executable"), 10_000);
    let mut told = 0;
    while let more @ 1.. = rig.denials().len() {
        told += more;
    }
    assert_eq!(told, 256);
}
