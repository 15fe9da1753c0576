//! What a processor asks for. It can only narrow: whatever it sends, the policy and the kernel's own states stand.

use crate::server::hub::Hub;
use crate::server::kernel::Kernel;
use crate::server::policy::{Denial, denied_runs};
use crate::server::processes::Process;
use crate::server::session::Outbound;
use crate::server::targets::Targets;
use ratatosk_abi::{ExeDecision, PortMode, TargetState};
use ratatosk_proto::v1::processor_message::Kind;
use ratatosk_proto::v1::{Decide, Examine, PortRange, ProcessorMessage, Scope, Start, Verdict, WantPorts};

/// Examinations of one process: right after it was found, and while a runtime may not have been loaded yet.
const MAX_EXAMINATIONS: u8 = 4;

/// What the gRPC tasks tell the hub.
#[derive(Debug)]
pub enum Event {
    /// A peer with the right uid connected; `None`: it is in another pid namespace.
    Accepted {
        /// In the loader's pid namespace.
        pid: Option<u32>,
    },
    /// A stream began with Start.
    Start {
        /// Of the stream, never reused.
        id: u64,
        /// Its first message.
        start: Start,
        /// The way back.
        outbound: Outbound,
    },
    /// A later message.
    Message {
        /// Of the stream.
        id: u64,
        /// As sent.
        message: ProcessorMessage,
    },
    /// A stream ended.
    Gone {
        /// Of the stream.
        id: u64,
    },
}

impl<K: Kernel> Hub<K> {
    /// Takes what a gRPC task tells.
    pub fn on_event(&mut self, event: Event) {
        match event {
            Event::Accepted { pid } => {
                pid.into_iter().for_each(|pid| self.kernel.set_target(pid, TargetState::Own));
            }
            Event::Start { id, start, outbound } => self.open(id, &start, outbound),
            Event::Message { id, message } => {
                if self.session.as_ref().is_some_and(|session| session.id == id) {
                    self.on_message(message);
                }
            }
            Event::Gone { id } => self.closed(id),
        }
    }

    fn on_message(&mut self, message: ProcessorMessage) {
        match message.kind {
            Some(Kind::Acknowledge(acknowledge)) => self.acknowledge(acknowledge.through),
            Some(Kind::Decide(decide)) => self.decide(decide),
            Some(Kind::WantPorts(wanted)) => self.want_ports(&wanted),
            Some(Kind::Examine(examine)) => self.examine(&examine),
            Some(Kind::Start(_)) => self.refuse("Start sent twice"),
            // Of a newer processor.
            None => {}
        }
    }

    /// Books an acknowledgement and has it echoed.
    fn acknowledge(&mut self, through: u64) {
        match self.queue.acknowledge(through) {
            Ok(records) => {
                self.ledger.acknowledge(records);
                self.echo();
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    fn decide(&mut self, decide: Decide) {
        // The handle may have ended by now, and its tgid belong to somebody else.
        self.drain();
        let state = match decide.verdict() {
            Verdict::Observe => TargetState::Observed,
            Verdict::Ignore => TargetState::Ignored,
            Verdict::Unspecified => return self.complain("unknown_verdict", decide.handle),
        };
        let is_matched = self.is_matched_by_port(decide.handle);
        let Some(process) = self.processes.get_mut(decide.handle) else {
            return self.unknown_handle(decide.handle);
        };
        if state == TargetState::Ignored && is_matched {
            return; // it listened after the processor looked: a port that decides alone overrides this
        }
        process.waits_for_port = false;
        if state == TargetState::Observed {
            return self.observe(decide.handle, decide.scope());
        }
        if Targets::decide(&mut self.kernel, process, state) && decide.scope() == Scope::Executable {
            let decision = exe_decision(process, state);
            self.kernel.remember_exe(decision);
        }
    }

    /// Observes a process as far as the policy lets it be.
    fn observe(&mut self, handle: u64, scope: Scope) {
        let Some(process) = self.processes.get(handle) else { return };
        let withheld = self.guard.withheld(process);
        if let Err(denial) = self.check(process) {
            return self.refuse_process(handle, denial);
        }
        let Some(process) = self.processes.get_mut(handle) else { return };
        let is_written = Targets::decide(&mut self.kernel, process, TargetState::Observed);
        if is_written && scope == Scope::Executable && self.guard.may_remember() {
            let decision = exe_decision(process, TargetState::Observed);
            self.kernel.remember_exe(decision);
        }
        // the kernel holds its bytes back at each call, as it may change uid or cgroup
        withheld.into_iter().for_each(|denial| self.deny(denial, handle, Vec::new()));
    }

    fn check(&self, process: &Process) -> Result<(), Denial> {
        self.guard.check_executable(process)?;
        // a worker has what its parent was given: it may listen on nothing itself
        let is_worker = self.kernel.target(process.tgid()) == TargetState::Observed;
        if is_worker { Ok(()) } else { self.guard.check_ports(self.processes.ports_of(process.tgid())) }
    }

    fn refuse_process(&mut self, handle: u64, denial: Denial) {
        let Some(process) = self.processes.get_mut(handle) else { return };
        process.waits_for_port = denial == Denial::Port;
        if denial == Denial::Executable {
            Targets::decide(&mut self.kernel, process, TargetState::Denied);
        }
        self.deny(denial, handle, Vec::new());
    }

    fn deny(&mut self, denial: Denial, handle: u64, ports: Vec<PortRange>) {
        if self.may_complain() {
            let pid = self.processes.get(handle).map(Process::tgid);
            let ports = ports_text(&ports);
            tracing::warn!(target: "audit", event = "denied_by_policy", reason = denial.name(), handle, pid, ports, "Request denied");
        }
        self.guard.deny(denial, handle, ports);
    }

    /// Has a process looked at, if it may be observed at all. The attacher checks uid, cgroup and executable again.
    fn examine(&mut self, examine: &Examine) {
        let handle = examine.handle;
        if !self.guard.policy().examine {
            return self.deny(Denial::Examine, handle, Vec::new());
        }
        let Some(process) = self.processes.get_mut(handle) else { return self.unknown_handle(handle) };
        let may = process.info.is_some() && process.examinations < MAX_EXAMINATIONS;
        if may && self.describe.ask_examination(handle) {
            process.examinations += 1;
        }
    }

    fn is_matched_by_port(&self, handle: u64) -> bool {
        let Some(process) = self.processes.get(handle) else { return false };
        let wanted = |port| self.targets.wanted_by(port) == Some(TargetState::Observed);
        self.processes.ports_of(process.tgid()).any(wanted)
    }

    fn unknown_handle(&mut self, handle: u64) {
        // One that ended meanwhile is no fault of the processor.
        if !self.processes.was_announced(handle) {
            self.complain("unknown_handle", handle);
        }
    }

    fn want_ports(&mut self, wanted: &WantPorts) {
        let policy = self.guard.policy();
        let by_port = !wanted.mark_only && policy.permits_by_port();
        let mode = if by_port { PortMode::Observe } else { PortMode::Mark };
        if let Err(error) = self.targets.want(&mut self.kernel, &wanted.ranges, mode, policy) {
            return self.refuse(&error.to_string());
        }
        let asked = wanted.ranges.iter().flat_map(|range| range.first..=range.last);
        let denied = denied_runs(policy, asked.filter_map(|port| u16::try_from(port).ok()));
        if !denied.is_empty() {
            self.deny(Denial::Port, 0, denied);
        }
        let listening: Vec<(u16, u32)> =
            self.processes.listeners().map(|record| (record.sock.local_port, record.hdr.tgid)).collect();
        listening.into_iter().for_each(|(port, tgid)| self.apply_port(port, tgid));
        // Workers that were forked after their parent listened are known to the iterators only.
        self.describe.ask_resnapshot();
    }

    fn complain(&mut self, event: &'static str, handle: u64) {
        if self.may_complain() {
            tracing::warn!(target: "audit", event, handle, "Request ignored");
        }
    }

    fn refuse(&mut self, reason: &str) {
        tracing::warn!(target: "audit", event = "closed_stream", reason, "Stream closed for a protocol error");
        self.close(tonic::Status::invalid_argument(reason));
    }
}

/// As people write them: `80,8000-8999`.
fn ports_text(ranges: &[PortRange]) -> Option<String> {
    let text = |range: &PortRange| match range {
        PortRange { first, last } if first == last => first.to_string(),
        PortRange { first, last } => format!("{first}-{last}"),
    };
    (!ranges.is_empty()).then(|| ranges.iter().map(text).collect::<Vec<_>>().join(","))
}

fn exe_decision(process: &Process, state: TargetState) -> ExeDecision {
    let record = &process.record;
    ExeDecision {
        exe_ino: record.exe_ino,
        cgroup_id: record.cgroup_id,
        exe_dev: record.exe_dev,
        state: u32::from(state as u8),
    }
}
