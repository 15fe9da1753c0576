//! What the loader tells of processes, and who is remembered by it.

use super::{Discovery, MAX_PROCESSES};
use crate::{
    discover::{
        look::Look,
        process::{MAX_PORTS, Process, exe_path, is_container, joined, short_name},
        rules::Treatment,
        standing::Origin,
    },
    model::{OwnSignals, ProcessChange, ProcessEvent, ProcessId, ProcessInfo},
};
use hashbrown::HashMap;
use ratatosk_abi::TargetState;

impl Discovery {
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
            let selected: HashMap<u32, (String, Treatment)> = self
                .processes
                .iter()
                .filter(|(_, process)| process.is_selected())
                .filter_map(|(id, process)| {
                    Some((id.tgid, (process.exe.clone()?, process.treatment.clone())))
                })
                .collect();
            let candidates =
                self.processes.values_mut().filter(|process| !process.is_selected() && !process.is_own);
            let mut is_done = true;
            for process in candidates {
                let Some((exe, treatment)) = selected.get(&process.parent_tgid) else { continue };
                if process.exe.as_ref() == Some(exe) {
                    process.selected = Some(Origin::Parent(process.parent_tgid));
                    process.treatment = treatment.clone();
                    is_done = false;
                }
            }
            if is_done {
                break;
            }
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
        // what the loader does not tell again
        let before = self.before.get(&event.process).map(|before| Process {
            activity: before.activity,
            look: before.look.clone(),
            own: before.own,
            ..Process::default()
        });
        let process = self.processes.entry(event.process).or_insert_with(|| before.unwrap_or_default());
        process.parent_tgid = event.parent.tgid;
        process.state = event.state;
        process.is_own = event.state == TargetState::Own;
        process.comm = short_name(event.comm);
        Some(process)
    }

    /// A child begins as its parent is, in the kernel too.
    fn forked(&mut self, event: &ProcessEvent) {
        let parent = self.processes.get(&event.parent).cloned().unwrap_or_default();
        if let Some(process) = self.entry(event) {
            let origin = parent.selected.map(|_| Origin::Parent(event.parent.tgid));
            process.selected = origin.filter(|_| !process.is_own);
            process.is_forked = true;
            process.exe = parent.exe;
            process.cmdline = parent.cmdline;
            process.is_in_container = parent.is_in_container;
            process.treatment = parent.treatment;
            process.look = parent.look.of_child();
        }
    }

    /// Another executable: what the kernel remembers of it counts until its path is known.
    fn executed(&mut self, event: &ProcessEvent) {
        if let Some(process) = self.entry(event) {
            process.selected = (event.state == TargetState::Observed).then_some(Origin::Kernel);
            process.missed = None;
            process.was_read = false;
            process.is_forked = false;
            process.last_match = None;
            process.exe = None;
            process.handle = None;
            process.look = Look::default();
            process.own = OwnSignals::default();
            process.is_denied = false;
            process.service = None;
        }
    }

    /// What the loader could read about a process.
    pub fn info(&mut self, info: &ProcessInfo<'_>) {
        let owns_pid = self.owns_pid(info.process);
        let Some(process) = self.processes.get_mut(&info.process) else { return };
        let is_worker = process.is_selected() && process.is_forked;
        // the same process, looked into meanwhile: what selected it may be gone, and it stays selected
        let is_known =
            process.is_selected() && process.handle == Some(info.handle) && !self.matcher.needs_language();
        process.look.found(info);
        process.was_read = true;
        process.state = info.state;
        process.handle = Some(info.handle);
        process.exe = info.exe.map(|bytes| exe_path(&String::from_utf8_lossy(bytes)));
        process.comm = short_name(info.comm);
        process.is_own |= info.state == TargetState::Own;
        process.is_in_container = info.cgroup.is_some_and(is_container);
        process.cmdline = info.cmdline.filter(|_| self.matcher.needs_cmdline()).map(joined);
        process.service = None;
        // a worker stays what its parent was when it was forked
        if !is_worker && !is_known {
            process.judge(info.process, &self.matcher, owns_pid);
        }
        process.treat(info.process, &self.matcher, owns_pid);
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
        // who was selected before may meet another entry now, whose settings count
        if !process.is_selected() || self.matcher.wants_port(port) {
            let before = process.selected;
            process.judge(id, &self.matcher, owns_pid);
            process.selected = process.selected.or(before);
        }
        if process.is_selected() {
            process.treat(id, &self.matcher, owns_pid);
            process.service = None;
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
}
