//! One process, as far as it was told.

use super::{
    look::Look,
    rules::Treatment,
    selection::{Facts, Matcher},
    standing::{Denial, Miss, Origin, Standing},
};
use crate::model::{KtimeNs, OwnSignals, ProcessId, Service};
use crate::protocol::IncompleteCounts;
use ratatosk_abi::TargetState;
use ratatosk_proto::v1::Verdict;
use std::sync::Arc;

/// Listening ports remembered of one process.
pub(super) const MAX_PORTS: usize = 256;
/// Bytes of a command line that are kept to match: 32 MiB for as many processes as are remembered.
const MAX_CMDLINE_BYTES: usize = 1024;
/// Digits of a container's id.
const CONTAINER_ID_LEN: usize = 64;
/// Characters of a service name.
const MAX_NAME_CHARS: usize = 128;

/// What was seen of a process, over all its connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    pub(super) calls: u64,
    pub(super) exchanges: u64,
    pub(super) left_out: IncompleteCounts,
}

/// One process, for people.
#[derive(Clone, Debug)]
pub struct Sight<'a> {
    /// Who.
    pub process: ProcessId,
    /// Its parent's pid.
    pub parent_tgid: u32,
    /// Path of its executable, if it could be read.
    pub exe: Option<&'a str>,
    /// Its short name.
    pub comm: &'a str,
    /// `service.name`.
    pub service: String,
    /// Ports that it listens on, at most [`MAX_PORTS`].
    pub ports: Vec<u16>,
    /// What is done with it, and why.
    pub standing: Standing,
    /// Socket calls that were seen while it was selected.
    pub calls: u64,
    /// Exchanges that were put together from them.
    pub exchanges: u64,
    /// Those that were not, or not wholly, by reason.
    pub left_out: IncompleteCounts,
    /// What it was seen to export itself.
    pub own: OwnSignals,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) parent_tgid: u32,
    pub(super) handle: Option<u64>,
    pub(super) exe: Option<String>,
    /// Kept only where a criterion asks for it.
    pub(super) cmdline: Option<String>,
    pub(super) is_in_container: bool,
    pub(super) comm: String,
    /// By the listening socket's cookie.
    pub(super) listeners: Vec<(u64, u16)>,
    pub(super) selected: Option<Origin>,
    /// Why it is not selected, once that was looked at.
    pub(super) missed: Option<Miss>,
    /// What the probes did with it when this was last told.
    pub(super) state: TargetState,
    /// The loader told what it could read of it.
    pub(super) was_read: bool,
    pub(super) activity: Activity,
    /// The last of their ports that matched, also when that socket is gone: a connection accepted from it may live on.
    pub(super) last_match: Option<u16>,
    /// Forked before our eyes, and it runs its parent's executable still.
    pub(super) is_forked: bool,
    pub(super) is_own: bool,
    pub(super) asked: Option<(u64, Verdict)>,
    pub(super) exited: Option<KtimeNs>,
    pub(super) look: Look,
    /// What it exports itself.
    pub(super) own: OwnSignals,
    /// The loader's policy holds back what was asked for.
    pub(super) is_denied: bool,
    pub(super) service: Option<Arc<Service>>,
    /// What the settings call it, and how it is told.
    pub(super) treatment: Treatment,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            parent_tgid: 0,
            handle: None,
            exe: None,
            comm: String::new(),
            cmdline: None,
            is_in_container: false,
            treatment: Treatment::default(),
            listeners: Vec::new(),
            last_match: None,
            selected: None,
            missed: None,
            state: TargetState::Unknown,
            was_read: false,
            activity: Activity::default(),
            is_forked: false,
            is_own: false,
            asked: None,
            exited: None,
            look: Look::default(),
            own: OwnSignals::default(),
            is_denied: false,
            service: None,
        }
    }
}

impl Process {
    /// Selects it, or says why not. `owns_pid`: no earlier process had this pid.
    pub(super) fn judge(&mut self, id: ProcessId, matcher: &Matcher, owns_pid: bool) {
        let judged = matcher.judge(&self.facts(id, owns_pid, &self.matchable())).map(Origin::Selector);
        self.missed = judged.err();
        self.selected = judged.ok().filter(|_| !self.is_own);
    }

    pub(super) const fn is_selected(&self) -> bool {
        self.selected.is_some()
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.listeners.iter().map(|(_, port)| *port).collect()
    }

    /// Ports that speak for it.
    pub(super) fn matchable(&self) -> Vec<u16> {
        self.listeners.iter().map(|(_, port)| *port).chain(self.last_match).collect()
    }

    pub(super) fn standing(&self) -> Standing {
        match (self.selected, self.missed) {
            _ if self.is_own => Standing::Own,
            _ if self.state == TargetState::Denied => Standing::Denied(Denial::Policy),
            (Some(_), _) if self.is_denied && self.activity.calls == 0 => Standing::Denied(Denial::Policy),
            (Some(origin), _) if self.activity.calls == 0 => Standing::NoTraffic(origin),
            (Some(origin), _) => Standing::Observed(origin),
            _ if !self.was_read => Standing::Undecided,
            (None, Some(Miss::Executable)) if self.exe.is_none() => Standing::Unreadable,
            (None, Some(miss)) => Standing::NotSelected(miss),
            (None, None) => Standing::Undecided,
        }
    }

    pub(super) fn sight(&self, process: ProcessId) -> Sight<'_> {
        Sight {
            process,
            parent_tgid: self.parent_tgid,
            exe: self.exe.as_deref(),
            comm: &self.comm,
            service: self.service.as_ref().map_or_else(|| self.name(), |service| service.name.clone()),
            ports: self.ports(),
            standing: self.standing(),
            calls: self.activity.calls,
            exchanges: self.activity.exchanges,
            left_out: self.activity.left_out,
            own: self.own,
        }
    }

    pub(super) fn facts<'a>(&'a self, id: ProcessId, owns_pid: bool, ports: &'a [u16]) -> Facts<'a> {
        Facts {
            tgid: id.tgid,
            owns_pid,
            exe: self.exe.as_deref(),
            cmdline: self.cmdline.as_deref(),
            language: Some(self.look.language.name()).filter(|name| !name.is_empty()),
            is_in_container: self.is_in_container,
            ports,
        }
    }

    /// As the settings treat it. A worker, which has its parent's listening sockets without being told so, is treated as
    /// its parent unless more entries select it.
    pub(super) fn treat(&mut self, id: ProcessId, matcher: &Matcher, owns_pid: bool) {
        let treatment = matcher.treatment(&self.facts(id, owns_pid, &self.matchable()));
        let is_worker = self.is_forked || matches!(self.selected, Some(Origin::Parent(_)));
        if !is_worker || treatment.entries >= self.treatment.entries {
            self.treatment = treatment;
        }
    }

    pub(super) fn describe(&self, pid: u32, instance_id: impl FnOnce() -> String) -> Service {
        let declared = &self.look.declared;
        Service {
            name: self.name(),
            namespace: self
                .treatment
                .naming
                .namespace
                .clone()
                .or_else(|| declared.namespace.clone())
                .unwrap_or_default(),
            instance_id: declared.instance_id.clone().unwrap_or_else(instance_id),
            language: self.look.language.name().to_owned(),
            attributes: declared.attributes.clone(),
            own: self.own,
            pid,
            executable: self.exe.clone().unwrap_or_default(),
        }
    }

    /// As the settings call it, else as it calls itself, else its executable's name, else its own short one.
    pub(super) fn name(&self) -> String {
        if let Some(name) = self.treatment.naming.name.as_ref().or(self.look.declared.name.as_ref()) {
            return name.clone();
        }
        let file = self.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
        let name = file.filter(|name| !name.is_empty()).unwrap_or(&self.comm);
        name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
    }
}

pub(super) fn short_name(comm: [u8; 16]) -> String {
    let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Arguments as a person would type them.
pub(super) fn joined(cmdline: &[u8]) -> String {
    let end = cmdline.len().min(MAX_CMDLINE_BYTES);
    let text = String::from_utf8_lossy(cmdline.get(..end).unwrap_or_default()).replace('\0', " ");
    text.trim_end().to_owned()
}

/// Every container runtime puts its 64 hexadecimal digits into the cgroup's path.
pub(super) fn is_container(cgroup: &[u8]) -> bool {
    cgroup.split(|byte| !byte.is_ascii_hexdigit()).any(|run| run.len() == CONTAINER_ID_LEN)
}

/// The kernel marks the path of a file that was unlinked.
pub(super) fn exe_path(path: &str) -> String {
    path.strip_suffix(" (deleted)").unwrap_or(path).to_owned()
}
