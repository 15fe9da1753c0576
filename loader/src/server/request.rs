//! What a processor asks for. It can only narrow: whatever it sends, the policy and the kernel's own states stand.

use crate::server::hub::Hub;
use crate::server::kernel::Kernel;
use crate::server::processes::Process;
use crate::server::session::Outbound;
use crate::server::targets::Targets;
use ratatosk_abi::{ExeDecision, PortMode, TargetState};
use ratatosk_proto::v1::processor_message::Kind;
use ratatosk_proto::v1::{Decide, ProcessorMessage, Scope, Start, Verdict, WantPorts};

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
        if state == TargetState::Observed && !self.policy.permits(process) {
            return self.complain("denied_by_policy", decide.handle);
        }
        if Targets::decide(&mut self.kernel, process, state) && decide.scope() == Scope::Executable {
            let decision = exe_decision(process, state);
            self.kernel.remember_exe(decision);
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
        let by_port = !wanted.mark_only && self.policy.permits_by_port();
        let mode = if by_port { PortMode::Observe } else { PortMode::Mark };
        if let Err(error) = self.targets.want(&mut self.kernel, &wanted.ranges, mode) {
            return self.refuse(&error.to_string());
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

fn exe_decision(process: &Process, state: TargetState) -> ExeDecision {
    let record = &process.record;
    ExeDecision {
        exe_ino: record.exe_ino,
        cgroup_id: record.cgroup_id,
        exe_dev: record.exe_dev,
        state: u32::from(state as u8),
    }
}
