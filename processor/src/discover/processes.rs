//! The processes that the loader announced.

use super::{
    Wish,
    selection::{Facts, Matcher},
};
use crate::model::{KtimeNs, ProcessChange, ProcessEvent, ProcessId, ProcessInfo, Service};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use ratatosk_abi::TargetState;
use ratatosk_proto::v1::{Decide, Scope, Verdict};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Processes remembered: `kernel.pid_max` of a plain machine. Beyond, new ones are not told, and counted.
pub const MAX_PROCESSES: usize = 32_768;
/// Listening ports remembered of one process.
const MAX_PORTS: usize = 256;
/// How long an ended process is remembered: its connections may still be waited for.
const GRACE: Duration = Duration::from_secs(5);
/// Characters of a service name.
const MAX_NAME_CHARS: usize = 128;

#[derive(Clone, Debug, Default)]
struct Process {
    parent_tgid: u32,
    handle: Option<u64>,
    exe: Option<String>,
    comm: String,
    /// By the listening socket's cookie.
    listeners: Vec<(u64, u16)>,
    /// The last of their ports that matched, also when that socket is gone: a connection accepted from it may live on.
    last_match: Option<u16>,
    is_selected: bool,
    /// Forked before our eyes, and it runs its parent's executable still.
    is_forked: bool,
    is_own: bool,
    asked: Option<(u64, Verdict)>,
    exited: Option<KtimeNs>,
    service: Option<Arc<Service>>,
}

/// Who is there, and who is wanted.
#[derive(Debug)]
pub struct Discovery {
    matcher: Matcher,
    host: String,
    processes: HashMap<ProcessId, Process, RandomState>,
    /// Which process a selected pid meant: the first one that had it.
    pid_owners: HashMap<u32, u64, RandomState>,
    /// Cookies of listening sockets, so that the end of any other socket costs one look.
    listening: HashSet<u64, RandomState>,
    /// What was known before the snapshot that is being read.
    before: HashMap<ProcessId, Process, RandomState>,
    in_snapshot: bool,
    wishes: VecDeque<Wish>,
    overflows: u64,
}

impl Process {
    /// `owns_pid`: no earlier process had this pid.
    fn selects(&self, id: ProcessId, matcher: &Matcher, owns_pid: bool) -> bool {
        let ports: Vec<u16> = self.listeners.iter().map(|(_, port)| *port).chain(self.last_match).collect();
        let facts = Facts { tgid: id.tgid, exe: self.exe.as_deref(), ports: &ports };
        !self.is_own && (owns_pid || !matcher.is_by_pid()) && matcher.selects(&facts)
    }

    fn name(&self) -> String {
        let file = self.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
        let name = file.filter(|name| !name.is_empty()).unwrap_or(&self.comm);
        name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
    }
}

impl Discovery {
    /// Nobody is known yet. `host` becomes part of `service.instance.id`.
    #[must_use]
    pub fn new(matcher: Matcher, host: String) -> Self {
        Self {
            matcher,
            host,
            processes: HashMap::with_hasher(RandomState::default()),
            pid_owners: HashMap::with_hasher(RandomState::default()),
            listening: HashSet::with_hasher(RandomState::default()),
            before: HashMap::with_hasher(RandomState::default()),
            in_snapshot: false,
            wishes: VecDeque::new(),
            overflows: 0,
        }
    }

    /// Another name for the machine.
    pub fn rename_host(&mut self, host: String) {
        self.host = host;
    }

    /// A stream begins: what was asked before is asked again.
    pub fn connected(&mut self) {
        self.wishes.clear();
        self.wishes.push_back(Wish::WantPorts(self.matcher.want_ports()));
        self.processes.values_mut().for_each(|process| process.asked = None);
    }

    /// The next wish for the loader.
    pub fn next_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// Processes that did not fit since this was last asked.
    pub fn take_overflows(&mut self) -> u64 {
        std::mem::take(&mut self.overflows)
    }

    /// Selected processes.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.processes.values().filter(|process| process.is_selected && process.exited.is_none()).count()
    }

    /// Whether this very process is selected.
    #[must_use]
    pub fn is_selected(&self, id: ProcessId) -> bool {
        // within a snapshot, what was announced again is decided about at its end
        let known = [self.processes.get(&id), self.before.get(&id)];
        known.into_iter().flatten().any(|process| process.is_selected)
    }

    /// What telemetry says about a process.
    pub fn service(&mut self, id: ProcessId) -> Arc<Service> {
        let host = &self.host;
        let known = self.processes.get_mut(&id).or_else(|| self.before.get_mut(&id));
        let make = |name, executable| {
            let instance_id = format!("{host}:{}", id.tgid);
            Arc::new(Service { name, instance_id, pid: id.tgid, executable, ..Service::default() })
        };
        match known {
            Some(process) => match &process.service {
                Some(service) => Arc::clone(service),
                None => {
                    let executable = process.exe.clone().unwrap_or_default();
                    Arc::clone(process.service.insert(make(process.name(), executable)))
                }
            },
            None => make(String::new(), String::new()),
        }
    }

    /// What follows replaces all that is known.
    pub fn snapshot_begin(&mut self) {
        self.before = std::mem::take(&mut self.processes);
        self.in_snapshot = true;
    }

    /// The snapshot is whole: now it can be decided about everybody, children after their parents included.
    pub fn snapshot_end(&mut self) {
        self.before.clear();
        self.in_snapshot = false;
        self.select_workers();
        let ids: Vec<ProcessId> = self.processes.keys().copied().collect();
        for id in ids {
            self.ask(id);
        }
    }

    /// A child that runs its selected parent's executable was forked and never executed another: it is a worker.
    fn select_workers(&mut self) {
        loop {
            let selected: HashMap<u32, String> = self
                .processes
                .iter()
                .filter(|(_, process)| process.is_selected)
                .filter_map(|(id, process)| Some((id.tgid, process.exe.clone()?)))
                .collect();
            let is_worker = |process: &Process| {
                !process.is_selected
                    && !process.is_own
                    && process.exe.is_some()
                    && selected.get(&process.parent_tgid) == process.exe.as_ref()
            };
            let workers: Vec<&mut Process> =
                self.processes.values_mut().filter(|process| is_worker(process)).collect();
            if workers.is_empty() {
                break;
            }
            workers.into_iter().for_each(|worker| worker.is_selected = true);
        }
    }

    /// A process came, changed or went.
    pub fn process(&mut self, event: &ProcessEvent) {
        match event.change {
            ProcessChange::Existed => _ = self.entry(event),
            ProcessChange::Forked => self.forked(event),
            ProcessChange::Executed => self.executed(event),
            ProcessChange::Exited => {
                if let Some(process) = self.processes.get_mut(&event.process) {
                    process.exited = Some(event.time);
                }
            }
        }
    }

    /// Whether the pid of `id` means this very process.
    fn owns_pid(&mut self, id: ProcessId) -> bool {
        self.matcher.names_pid(id.tgid)
            && *self.pid_owners.entry(id.tgid).or_insert(id.start_ns) == id.start_ns
    }

    fn entry(&mut self, event: &ProcessEvent) -> Option<&mut Process> {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&event.process) {
            self.overflows += 1;
            return None;
        }
        let process = self.processes.entry(event.process).or_default();
        process.parent_tgid = event.parent.tgid;
        process.is_own = event.state == TargetState::Own;
        process.comm = short_name(event.comm);
        Some(process)
    }

    /// A child begins as its parent is, in the kernel too.
    fn forked(&mut self, event: &ProcessEvent) {
        let parent = self.processes.get(&event.parent).cloned().unwrap_or_default();
        if let Some(process) = self.entry(event) {
            process.is_selected = parent.is_selected && !process.is_own;
            process.is_forked = true;
            process.exe = parent.exe;
        }
    }

    /// Another executable: what the kernel remembers of it counts until its path is known.
    fn executed(&mut self, event: &ProcessEvent) {
        if let Some(process) = self.entry(event) {
            process.is_selected = event.state == TargetState::Observed;
            process.is_forked = false;
            process.last_match = None;
            process.exe = None;
            process.handle = None;
            process.service = None;
        }
    }

    /// What the loader could read about a process.
    pub fn info(&mut self, info: &ProcessInfo<'_>) {
        let owns_pid = self.owns_pid(info.process);
        let Some(process) = self.processes.get_mut(&info.process) else { return };
        let is_worker = process.is_selected && process.is_forked;
        process.handle = Some(info.handle);
        process.exe = info.exe.map(|bytes| exe_path(&String::from_utf8_lossy(bytes)));
        process.comm = short_name(info.comm);
        process.is_own |= info.state == TargetState::Own;
        process.service = None;
        // a worker stays what its parent was when it was forked
        if !is_worker {
            process.is_selected = process.selects(info.process, &self.matcher, owns_pid);
        }
        self.ask(info.process);
    }

    /// A process listens on `port`, by the socket `cookie`.
    pub fn listen(&mut self, id: ProcessId, cookie: u64, port: u16) {
        let owns_pid = self.owns_pid(id);
        let Some(process) = self.processes.get_mut(&id) else { return };
        self.listening.insert(cookie);
        if self.matcher.wants_port(port) {
            process.last_match = Some(port);
        }
        if process.listeners.len() < MAX_PORTS && !process.listeners.iter().any(|(known, _)| *known == cookie)
        {
            process.listeners.push((cookie, port));
        }
        if !process.is_selected && process.selects(id, &self.matcher, owns_pid) {
            process.is_selected = true;
            self.ask(id);
        }
    }

    /// A listening socket is gone. Who was selected by it stays so: its connections live on.
    pub fn unlisten(&mut self, cookie: u64) {
        if !self.listening.remove(&cookie) {
            return;
        }
        for process in self.processes.values_mut() {
            process.listeners.retain(|(known, _)| *known != cookie);
        }
    }

    /// Asks the loader, if it was not asked the same before. Within a snapshot nobody is decided about yet.
    fn ask(&mut self, id: ProcessId) {
        let by_executable = self.matcher.is_by_executable();
        let Some(process) = self.processes.get_mut(&id).filter(|process| !process.is_own) else { return };
        let Some(handle) = process.handle.filter(|_| !self.in_snapshot) else { return };
        let verdict = if process.is_selected { Verdict::Observe } else { Verdict::Ignore };
        if process.asked == Some((handle, verdict)) {
            return;
        }
        process.asked = Some((handle, verdict));
        // ignoring an executable is no loss: a listening port that matches overrides it in the kernel
        let whole = verdict == Verdict::Ignore || by_executable;
        let scope = if whole { Scope::Executable } else { Scope::Process };
        self.wishes.push_back(Wish::Decide(Decide { handle, verdict: verdict.into(), scope: scope.into() }));
    }

    /// Records made before `watermark` have all come: who ended before is forgotten.
    pub fn retire(&mut self, watermark: KtimeNs) {
        self.processes
            .retain(|_, process| process.exited.is_none_or(|exited| exited.after(GRACE) >= watermark));
    }
}

fn short_name(comm: [u8; 16]) -> String {
    let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The kernel marks the path of a file that was unlinked.
fn exe_path(path: &str) -> String {
    path.strip_suffix(" (deleted)").unwrap_or(path).to_owned()
}
