//! The processes that the loader announced.

mod events;
mod table;

use super::{
    Wish,
    process::{Activity, Process, Sight},
    selection::Matcher,
    standing::Standing,
};
use crate::decorate::Telling;
use crate::model::{KtimeNs, OwnSignals, ProcessId, Service};
use crate::protocol::IncompleteCounts;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use ratatosk_proto::v1::{Decide, Examine, Scope, Verdict};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use table::Table;

/// Processes remembered: `kernel.pid_max` of a plain machine. Beyond, new ones are not told, and counted.
pub const MAX_PROCESSES: usize = 32_768;
/// How long an ended process is remembered: its connections may still be waited for.
const GRACE: Duration = Duration::from_secs(5);

/// Who is there, and who is wanted.
#[derive(Debug)]
pub struct Discovery {
    matcher: Matcher,
    host: String,
    processes: Table,
    /// Which process a selected pid meant: the first one that had it.
    pid_owners: HashMap<u32, u64, RandomState>,
    /// Cookies of listening sockets, so that the end of any other socket costs one look.
    listening: HashSet<u64, RandomState>,
    /// What was known before the snapshot that is being read.
    before: Table,
    in_snapshot: bool,
    wishes: VecDeque<Wish>,
    /// The loader looks into processes when asked.
    loader_examines: bool,
    /// A criterion needs to know what a process is written in, before it is selected.
    examines_candidates: bool,
    /// Some processes are told otherwise than others.
    tells_apart: bool,
    /// How far the stream is.
    now: KtimeNs,
    overflows: u64,
}

impl Discovery {
    /// Nobody is known yet. `host` becomes part of `service.instance.id`.
    #[must_use]
    pub fn new(matcher: Matcher, host: String) -> Self {
        Self {
            examines_candidates: matcher.needs_language(),
            tells_apart: matcher.tells_apart(),
            matcher,
            host,
            processes: Table::default(),
            pid_owners: HashMap::default(),
            listening: HashSet::default(),
            before: Table::default(),
            in_snapshot: false,
            wishes: VecDeque::new(),
            loader_examines: false,
            now: KtimeNs(0),
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
        for process in self.processes.values_mut() {
            (process.asked, process.is_denied) = (None, false);
            process.look.ask_again();
        }
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
        self.processes.values().filter(|process| process.is_selected() && process.exited.is_none()).count()
    }

    /// Everybody who runs now. Within a snapshot, what was not announced again yet is as it was before.
    pub fn sights(&self) -> impl Iterator<Item = Sight<'_>> {
        self.running().map(|(id, process)| process.sight(*id))
    }

    /// How each process stands that runs now.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.running().map(|(_, process)| process.standing())
    }

    /// What selects.
    #[must_use]
    pub const fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    fn running(&self) -> impl Iterator<Item = (&ProcessId, &Process)> {
        let before = self.before.iter().filter(|(id, _)| !self.processes.contains_key(*id));
        self.processes.iter().chain(before).filter(|(_, process)| process.exited.is_none())
    }

    /// A socket call of a process was seen. Gives whether this very process is selected.
    pub fn called(&mut self, id: ProcessId) -> bool {
        // within a snapshot, what was announced again is decided about at its end
        let is_selected = !self.before.is_empty() && self.before.get(&id).is_some_and(Process::is_selected);
        let Some(process) = self.known(id).filter(|process| is_selected || process.is_selected()) else {
            return false;
        };
        process.activity.calls = process.activity.calls.saturating_add(1);
        true
    }

    /// An exchange of a process was put together. `false`, if it may wait: the name of the process is not known yet, and will be
    /// in a moment; nothing was counted.
    pub fn exchanged(&mut self, id: ProcessId, may_wait: bool) -> bool {
        let (now, in_snapshot) = (self.now, self.in_snapshot);
        let Some(process) = self.processes.get_mut(&id) else {
            self.activity(id, |activity| activity.exchanges = activity.exchanges.saturating_add(1));
            return true;
        };
        let is_in_reach = process.handle.is_some() && !in_snapshot;
        if may_wait && self.loader_examines && process.look.is_awaited(now, is_in_reach) {
            return false;
        }
        process.activity.exchanges = process.activity.exchanges.saturating_add(1);
        true
    }

    /// Exchanges of a process were left out, or told without something.
    pub fn left_out(&mut self, id: ProcessId, counts: &IncompleteCounts) {
        self.activity(id, |activity| activity.left_out.merge(counts));
    }

    fn activity(&mut self, id: ProcessId, change: impl Fn(&mut Activity)) {
        self.known(id).into_iter().for_each(|process| change(&mut process.activity));
    }

    /// A process, as it was announced last.
    fn known(&mut self, id: ProcessId) -> Option<&mut Process> {
        self.processes.get_mut(&id).or_else(|| self.before.get_mut(&id))
    }

    /// Whether this very process is selected.
    #[must_use]
    pub fn is_selected(&self, id: ProcessId) -> bool {
        // within a snapshot, what was announced again is decided about at its end
        let known = [self.processes.get(&id), self.before.get(&id)];
        known.into_iter().flatten().any(Process::is_selected)
    }

    /// What telemetry says about a process.
    pub fn service(&mut self, id: ProcessId) -> Arc<Service> {
        let host = &self.host;
        let known = self.processes.get_mut(&id).or_else(|| self.before.get_mut(&id));
        let instance_id = || format!("{host}:{}", id.tgid);
        let Some(process) = known else {
            return Arc::new(Service { instance_id: instance_id(), pid: id.tgid, ..Service::default() });
        };
        let service = match &process.service {
            Some(service) => Arc::clone(service),
            None => Arc::clone(process.service.insert(Arc::new(process.describe(id.tgid, instance_id)))),
        };
        // it speaks, so its runtime is loaded by now
        if process.is_selected() && self.loader_examines && !self.in_snapshot && !process.is_own {
            let handle = process.handle.filter(|_| process.look.wants(self.now));
            self.wishes.extend(handle.map(|handle| Wish::Examine(Examine { handle })));
        }
        service
    }

    /// How the settings of the entry that selected a process have it told; `None`: as everybody.
    #[must_use]
    pub fn telling(&mut self, id: ProcessId) -> Option<Arc<Telling>> {
        if !self.tells_apart {
            return None;
        }
        // within a snapshot, what was decided before it holds: its listening ports may still have to come
        if let Some(before) = self.before.get(&id) {
            return before.treatment.telling.clone();
        }
        self.known(id)?.treatment.telling.clone()
    }

    /// Whether the loader answers when it is asked to look into a process.
    pub const fn set_loader_examines(&mut self, examines: bool) {
        self.loader_examines = examines;
    }

    /// Looks into every process that has an executable, since a criterion needs the language.
    pub const fn set_examines_candidates(&mut self, examines: bool) {
        self.examines_candidates = examines;
    }

    /// Has the loader look into a process, if that is of use now. Within a snapshot it is not known yet who is.
    fn look(&mut self, id: ProcessId) {
        let may = self.loader_examines && !self.in_snapshot;
        let Some(process) = self.processes.get_mut(&id).filter(|process| may && !process.is_own) else {
            return;
        };
        let Some(handle) = process.handle else { return };
        if process.look.wants(self.now) {
            self.wishes.push_back(Wish::Examine(Examine { handle }));
        }
    }

    /// A process was seen to export `signals` itself. Gives its name if that is news.
    pub fn exports(&mut self, id: ProcessId, signals: OwnSignals) -> Option<String> {
        let process = self.known(id)?;
        let own = process.own.and(signals);
        let is_news = own != process.own;
        process.own = own;
        process.service = process.service.take().filter(|_| !is_news);
        is_news.then(|| process.name())
    }

    /// The loader's policy denies the process of this handle. Gives who it is.
    pub fn denied(&mut self, handle: u64) -> Option<(ProcessId, String)> {
        let mut processes = self.processes.iter_mut();
        let (id, process) = processes.find(|(_, process)| process.handle == Some(handle))?;
        process.is_denied = true;
        Some((*id, process.exe.clone().unwrap_or_else(|| process.comm.clone())))
    }

    /// Asks the loader, if it was not asked the same before. Within a snapshot nobody is decided about yet.
    fn ask(&mut self, id: ProcessId) {
        let by_executable = self.matcher.is_by_executable();
        let Some(process) = self.processes.get_mut(&id).filter(|process| !process.is_own) else { return };
        let Some(handle) = process.handle.filter(|_| !self.in_snapshot) else { return };
        let verdict = if process.is_selected() { Verdict::Observe } else { Verdict::Ignore };
        if process.asked == Some((handle, verdict)) {
            return;
        }
        process.asked = Some((handle, verdict));
        let looks = verdict == Verdict::Observe || (self.examines_candidates && process.exe.is_some());
        // ignoring an executable is no loss: a listening port that matches overrides it in the kernel
        let whole = verdict == Verdict::Ignore || by_executable;
        let scope = if whole { Scope::Executable } else { Scope::Process };
        self.wishes.push_back(Wish::Decide(Decide { handle, verdict: verdict.into(), scope: scope.into() }));
        if looks {
            self.look(id);
        }
    }

    /// A stream begins at `now`, maybe of another boot.
    pub const fn begin_at(&mut self, now: KtimeNs) {
        self.now = now;
    }

    /// Records made before `watermark` have all come: who ended before is forgotten.
    pub fn retire(&mut self, watermark: KtimeNs) {
        self.now = self.now.max(watermark);
        let is_over =
            |process: &Process| process.exited.is_some_and(|exited| exited.after(GRACE) < watermark);
        let processes = self.processes.iter().filter(|(_, process)| is_over(process));
        let over: Vec<ProcessId> = processes.map(|(id, _)| *id).collect();
        // few, and those that stay are large: they stay where they are
        over.iter().for_each(|id| drop(self.processes.swap_remove(id)));
    }
}
