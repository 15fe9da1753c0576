//! Who runs and who listens, as the control records told.
//!
//! in   fixed parts of process and listen records, written by the kernel; replies of the attacher
//! out  handles, opaque names that a processor may use
//! keeps at most [`MAX_PROCESSES`] processes, [`MAX_LISTENERS`] listeners, [`MAX_INFO_BYTES`] of strings

use crate::process::ipc::{Reply, Text};
use crate::server::ledger::DropReason;
use ratatosk_abi::{ConnRecord, Language, ProcessRecord, TargetState};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// Processes at a time: the default of `pid_max` on small machines, far more than a node's kubelet allows.
pub const MAX_PROCESSES: usize = 32_768;
/// Listening (socket, process) pairs at a time.
pub const MAX_LISTENERS: usize = 16_384;
/// Strings kept for snapshots; a process beyond is announced without its strings.
pub const MAX_INFO_BYTES: usize = 32 * 1024 * 1024;

/// What the attacher read about a process. Forked children share it.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Target of `/proc/<pid>/exe`.
    pub exe: Box<[u8]>,
    /// Head of `/proc/<pid>/cmdline`.
    pub cmdline: Box<[u8]>,
    /// Head of `/proc/<pid>/cgroup`.
    pub cgroup: Box<[u8]>,
    /// Variables of its environment that are told, each with its NUL.
    pub environment: Box<[u8]>,
    /// What it is written in, if somebody looked.
    pub language: Language,
    /// [`ratatosk_abi::readable`].
    pub readable: u8,
}

impl Info {
    /// What the attacher replied.
    #[must_use]
    pub fn from_reply(reply: &Reply) -> Self {
        Self {
            exe: reply.text(Text::Exe).into(),
            cmdline: reply.text(Text::Cmdline).into(),
            cgroup: reply.text(Text::Cgroup).into(),
            environment: reply.text(Text::Environment).into(),
            language: Language::from_raw(reply.language),
            readable: reply.readable,
        }
    }

    /// Bytes of all its strings.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.exe.len() + self.cmdline.len() + self.cgroup.len() + self.environment.len()
    }

    /// The same, with what an examination found.
    fn examined(&self, found: Self) -> Self {
        let readable = self.readable | found.readable;
        Self { environment: found.environment, language: found.language, readable, ..self.clone() }
    }
}

/// A state that `server` wrote, and when: what the kernel did before is not overruled by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decided {
    /// As written.
    pub state: TargetState,
    /// Read after the write.
    pub written_ns: u64,
}

/// A process under one handle: an exec makes another one.
#[derive(Debug)]
pub struct Process {
    /// Never reused in an epoch.
    pub handle: u64,
    /// The record that told of it last.
    pub record: ProcessRecord,
    /// `None` while the attacher did not answer.
    pub info: Option<Rc<Info>>,
    /// The last write of its state.
    pub decided: Option<Decided>,
    /// Times that it was examined.
    pub examinations: u8,
    /// The processor wants it, and only its ports are not permitted: another listener may change that.
    pub waits_for_port: bool,
    /// The resnapshot that saw it last.
    seen_in: u64,
}

impl Process {
    /// Thread group id.
    #[must_use]
    pub const fn tgid(&self) -> u32 {
        self.record.hdr.tgid
    }

    /// `CLOCK_BOOTTIME` start.
    #[must_use]
    pub const fn start_ns(&self) -> u64 {
        self.record.hdr.task_start_ns
    }

    fn runs_the_same(&self, record: &ProcessRecord) -> bool {
        let executable = |of: &ProcessRecord| (of.hdr.task_start_ns, of.exe_ino, of.exe_dev);
        executable(&self.record) == executable(record)
    }
}

#[derive(Debug)]
struct Listener {
    record: ConnRecord,
    seen_in: u64,
}

/// What became of a record about a process.
#[derive(Debug)]
pub struct Learned {
    /// The handle made for it; `None`: it was known already.
    pub new_handle: Option<u64>,
    /// What was known under this tgid before.
    pub replaced: Option<Process>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Processes {
    by_handle: BTreeMap<u64, Process>,
    by_tgid: HashMap<u32, u64>,
    /// By (cookie, tgid): a socket may have many owners.
    listeners: BTreeMap<(u64, u32), Listener>,
    /// The same pairs the other way round, so that an exit costs no walk.
    listening: BTreeSet<(u32, u64)>,
    last_handle: u64,
    info_bytes: usize,
    resnapshot: u64,
}

impl Processes {
    /// A process that existed, was forked or runs another executable.
    ///
    /// # Errors
    /// [`DropReason::ProcessTableFull`] if there is no room for another one.
    pub fn learn(&mut self, record: &ProcessRecord, is_exec: bool) -> Result<Learned, DropReason> {
        let known = self.by_tgid(record.hdr.tgid);
        if !is_exec && known.is_some_and(|process| process.runs_the_same(record)) {
            self.refresh(record);
            return Ok(Learned { new_handle: None, replaced: None });
        }
        let replaced = self.forget(record.hdr.tgid);
        if self.by_handle.len() >= MAX_PROCESSES {
            return Err(DropReason::ProcessTableFull);
        }
        Ok(Learned { new_handle: Some(self.insert(record)), replaced })
    }

    fn refresh(&mut self, record: &ProcessRecord) {
        let seen_in = self.resnapshot;
        if let Some(process) = self.by_tgid_mut(record.hdr.tgid) {
            process.seen_in = seen_in;
            process.record = *record;
        }
    }

    fn insert(&mut self, record: &ProcessRecord) -> u64 {
        self.last_handle += 1;
        let handle = self.last_handle;
        let (record, seen_in) = (*record, self.resnapshot);
        let process = Process {
            handle,
            record,
            info: None,
            decided: None,
            examinations: 0,
            waits_for_port: false,
            seen_in,
        };
        self.by_handle.insert(handle, process);
        self.by_tgid.insert(record.hdr.tgid, handle);
        handle
    }

    /// Ports that a process listens on.
    pub fn ports_of(&self, tgid: u32) -> impl Iterator<Item = u16> + '_ {
        let own = self.listening.range((tgid, 0)..=(tgid, u64::MAX));
        own.filter_map(|(tgid, cookie)| Some(self.listeners.get(&(*cookie, *tgid))?.record.sock.local_port))
    }

    /// A process ended: it and its listeners are forgotten.
    pub fn exit(&mut self, tgid: u32) -> Option<Process> {
        let sockets: Vec<u64> =
            self.listening.range((tgid, 0)..=(tgid, u64::MAX)).map(|pair| pair.1).collect();
        sockets.into_iter().for_each(|cookie| self.forget_listener((cookie, tgid)));
        self.forget(tgid)
    }

    fn forget(&mut self, tgid: u32) -> Option<Process> {
        let handle = self.by_tgid.remove(&tgid)?;
        let process = self.by_handle.remove(&handle)?;
        self.release(process.info.as_ref());
        Some(process)
    }

    fn release(&mut self, info: Option<&Rc<Info>>) {
        if let Some(info) = info.filter(|info| Rc::strong_count(info) == 1) {
            self.info_bytes -= info.bytes();
        }
    }

    /// Stores what the attacher read. Gives what is kept of it.
    pub fn describe(&mut self, handle: u64, info: Info) -> Option<&Process> {
        let fits = self.info_bytes + info.bytes() <= MAX_INFO_BYTES;
        let info = if fits { info } else { Info::default() };
        let process = self.by_handle.get_mut(&handle)?;
        self.info_bytes += info.bytes();
        let replaced = process.info.replace(Rc::new(info));
        self.release(replaced.as_ref());
        self.by_handle.get(&handle)
    }

    /// Adds what an examination found to what is known already. Gives whether it is kept.
    pub fn examined(&mut self, handle: u64, found: Info) -> bool {
        let known = self.get(handle).and_then(|process| process.info.as_ref());
        let Some(info) = known.map(|known| known.examined(found)) else { return false };
        self.info_bytes + info.bytes() <= MAX_INFO_BYTES && self.describe(handle, info).is_some()
    }

    /// A forked child runs its parent's executable: gives it the parent's strings, if they are known.
    pub fn inherit(&mut self, handle: u64) -> Option<&Process> {
        let child = self.by_handle.get(&handle)?;
        let parent = self.by_tgid(child.record.parent_tgid)?;
        if parent.start_ns() != child.record.parent_start_ns {
            return None;
        }
        let info = Rc::clone(parent.info.as_ref()?);
        let child = self.by_handle.get_mut(&handle)?;
        child.info = Some(info);
        Some(child)
    }

    /// Somebody listens. `false` if there is no room.
    pub fn listen(&mut self, record: &ConnRecord) -> bool {
        let key = (record.sock.cookie, record.hdr.tgid);
        let fits = self.listeners.len() < MAX_LISTENERS || self.listeners.contains_key(&key);
        if fits {
            self.listeners.insert(key, Listener { record: *record, seen_in: self.resnapshot });
            self.listening.insert((key.1, key.0));
        }
        fits
    }

    /// A socket is gone.
    pub fn close(&mut self, cookie: u64) {
        let owners = self.listeners.range((cookie, 0)..=(cookie, u32::MAX));
        let owners: Vec<(u64, u32)> = owners.map(|(key, _)| *key).collect();
        owners.into_iter().for_each(|key| self.forget_listener(key));
    }

    fn forget_listener(&mut self, key: (u64, u32)) {
        self.listeners.remove(&key);
        self.listening.remove(&(key.1, key.0));
    }

    /// What is seen from now on belongs to another run of the iterators.
    pub fn begin_resnapshot(&mut self) {
        self.resnapshot += 1;
    }

    /// Forgets what the last run of the iterators did not see: its end was lost. Gives how many they were.
    pub fn end_resnapshot(&mut self) -> usize {
        self.forget_unseen_processes() + self.forget_unseen_listeners()
    }

    fn forget_unseen_listeners(&mut self) -> usize {
        let unseen = self.listeners.iter().filter(|(_, listener)| listener.seen_in < self.resnapshot);
        let unseen: Vec<(u64, u32)> = unseen.map(|(key, _)| *key).collect();
        unseen.iter().for_each(|key| self.forget_listener(*key));
        unseen.len()
    }

    fn forget_unseen_processes(&mut self) -> usize {
        let unseen = self.by_handle.values().filter(|process| process.seen_in < self.resnapshot);
        let unseen: Vec<u32> = unseen.map(Process::tgid).collect();
        unseen.iter().filter(|tgid| self.exit(**tgid).is_some()).count()
    }

    /// The process that was announced under this handle, if it still runs.
    #[must_use]
    pub fn get(&self, handle: u64) -> Option<&Process> {
        self.by_handle.get(&handle)
    }

    /// The process that was announced under this handle, if it still runs.
    pub fn get_mut(&mut self, handle: u64) -> Option<&mut Process> {
        self.by_handle.get_mut(&handle)
    }

    /// Whether a handle was announced in this epoch.
    #[must_use]
    pub const fn was_announced(&self, handle: u64) -> bool {
        handle != 0 && handle <= self.last_handle
    }

    /// The process that runs under this tgid.
    #[must_use]
    pub fn by_tgid(&self, tgid: u32) -> Option<&Process> {
        self.by_handle.get(self.by_tgid.get(&tgid)?)
    }

    /// The process that runs under this tgid.
    pub fn by_tgid_mut(&mut self, tgid: u32) -> Option<&mut Process> {
        self.by_handle.get_mut(self.by_tgid.get(&tgid)?)
    }

    /// The last handle that was made.
    #[must_use]
    pub const fn last_handle(&self) -> u64 {
        self.last_handle
    }

    /// The process with the next handle after `handle`.
    #[must_use]
    pub fn after(&self, handle: u64) -> Option<&Process> {
        self.by_handle.range(handle + 1..).next().map(|(_, process)| process)
    }

    /// The next listener after this (cookie, tgid).
    #[must_use]
    pub fn listener_after(&self, key: (u64, u32)) -> Option<((u64, u32), &ConnRecord)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.listeners
            .range((Excluded(key), Unbounded))
            .next()
            .map(|(key, listener)| (*key, &listener.record))
    }

    /// Every listener.
    pub fn listeners(&self) -> impl Iterator<Item = &ConnRecord> {
        self.listeners.values().map(|listener| &listener.record)
    }
}

#[cfg(test)]
#[path = "processes_tests.rs"]
mod tests;
