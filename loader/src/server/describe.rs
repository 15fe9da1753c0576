//! Questions to the attacher: what was asked, what still waits.

use crate::process::ipc::{self, IpcError, MAX_IN_FLIGHT, Reply, Request, RequestKind};
use crate::server::processes::{MAX_PROCESSES, Processes};
use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::time::Instant;

/// Between two runs of the iterators: a processor must not keep the attacher busy by changing ports.
const RESNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// Examinations at a time: descriptions of new processes never wait for them.
const MAX_EXAMINED: usize = MAX_IN_FLIGHT / 2;
/// Examinations that wait: as many as there may be processes.
const MAX_EXAMINATIONS_WAITING: usize = MAX_PROCESSES;

/// The conversation with the attacher. Each handle is described once, [`MAX_IN_FLIGHT`] at a time.
#[derive(Debug)]
pub struct Describe {
    helper: OwnedFd,
    waiting: VecDeque<u64>,
    in_flight: HashSet<u64>,
    to_examine: VecDeque<u64>,
    /// Waiting or asked.
    examined: HashSet<u64>,
    in_examination: usize,
    resnapshot_wanted: bool,
    resnapshot_in_flight: bool,
    resnapshot_at: Option<Instant>,
}

impl Describe {
    /// Talks over this end of a `SOCK_SEQPACKET` pair.
    #[must_use]
    pub fn over(helper: OwnedFd) -> Self {
        Self {
            helper,
            waiting: VecDeque::new(),
            in_flight: HashSet::new(),
            to_examine: VecDeque::new(),
            examined: HashSet::new(),
            in_examination: 0,
            resnapshot_wanted: false,
            resnapshot_in_flight: false,
            resnapshot_at: None,
        }
    }

    /// The socket, to wait for replies.
    #[must_use]
    pub fn helper(&self) -> &OwnedFd {
        &self.helper
    }

    /// Asks about a process soon.
    pub fn ask(&mut self, handle: u64) {
        self.waiting.push_back(handle);
    }

    /// Has a process examined soon. `false`: too many wait, or it is being examined.
    pub fn ask_examination(&mut self, handle: u64) -> bool {
        let may = self.examined.len() < MAX_EXAMINATIONS_WAITING && self.examined.insert(handle);
        if may {
            self.to_examine.push_back(handle);
        }
        may
    }

    /// Processes not asked about yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Has the iterators run soon, once for however many ask.
    pub fn ask_resnapshot(&mut self) {
        self.resnapshot_wanted = true;
    }

    /// Whether the iterators are asked for, or run.
    #[must_use]
    pub const fn wants_resnapshot(&self) -> bool {
        self.resnapshot_wanted || self.resnapshot_in_flight
    }

    /// Whether the iterators run now.
    #[must_use]
    pub const fn runs_resnapshot(&self) -> bool {
        self.resnapshot_in_flight
    }

    /// Tells the attacher that connections are accepted.
    ///
    /// # Errors
    /// [`IpcError`] if the attacher is gone.
    pub fn say_ready(&self) -> Result<(), IpcError> {
        ipc::send_request(&self.helper, &Request::bare(RequestKind::Ready)).map(drop)
    }

    /// Sends what may be sent now; what does not fit waits for the next call.
    ///
    /// # Errors
    /// [`IpcError`] if the attacher is gone.
    pub fn send(&mut self, processes: &mut Processes) -> Result<(), IpcError> {
        self.send_resnapshot(processes)?;
        self.bound(processes);
        while self.in_flight.len() + self.in_examination < MAX_IN_FLIGHT {
            let Some(handle) = self.waiting.pop_front() else { break };
            let Some(process) = processes.get(handle) else { continue };
            let request = Request::describe(process.tgid(), process.start_ns(), handle);
            if !ipc::send_request(self.helper.as_fd(), &request)? {
                self.waiting.push_front(handle);
                break;
            }
            self.in_flight.insert(handle);
        }
        self.send_examinations(processes)
    }

    fn send_examinations(&mut self, processes: &Processes) -> Result<(), IpcError> {
        while self.in_examination < MAX_EXAMINED && self.in_flight.len() + self.in_examination < MAX_IN_FLIGHT
        {
            let Some(handle) = self.to_examine.pop_front() else { break };
            let Some(process) = processes.get(handle) else {
                self.examined.remove(&handle);
                continue;
            };
            let request = Request::examine(process.tgid(), process.start_ns(), handle);
            if !ipc::send_request(self.helper.as_fd(), &request)? {
                self.to_examine.push_front(handle);
                break;
            }
            self.in_examination += 1;
        }
        Ok(())
    }

    /// Processes that ended while they waited are forgotten before the queue outgrows the table.
    fn bound(&mut self, processes: &Processes) {
        if self.waiting.len() > 2 * MAX_PROCESSES {
            self.waiting.retain(|handle| processes.get(*handle).is_some());
        }
    }

    fn send_resnapshot(&mut self, processes: &mut Processes) -> Result<(), IpcError> {
        let is_early = self.resnapshot_at.is_some_and(|at| at.elapsed() < RESNAPSHOT_EVERY);
        if !self.resnapshot_wanted || self.resnapshot_in_flight || is_early {
            return Ok(());
        }
        if ipc::send_request(&self.helper, &Request::bare(RequestKind::Resnapshot))? {
            processes.begin_resnapshot();
            self.resnapshot_wanted = false;
            self.resnapshot_in_flight = true;
            self.resnapshot_at = Some(Instant::now());
        }
        Ok(())
    }

    fn end_examination(&mut self, handle: u64) -> bool {
        let was_asked = self.examined.remove(&handle);
        self.in_examination = self.in_examination.saturating_sub(usize::from(was_asked));
        was_asked
    }

    /// The next reply to a question that was asked.
    ///
    /// # Errors
    /// [`IpcError`] if the attacher is gone.
    pub fn receive(&mut self) -> Result<Option<Box<Reply>>, IpcError> {
        while let Some(reply) = ipc::receive_reply(&self.helper)? {
            let was_asked = match RequestKind::from_raw(reply.kind) {
                Some(RequestKind::Describe) => self.in_flight.remove(&reply.token),
                Some(RequestKind::Examine) => self.end_examination(reply.token),
                Some(RequestKind::Resnapshot) => std::mem::take(&mut self.resnapshot_in_flight),
                Some(RequestKind::Ready) | None => false,
            };
            if was_asked {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }
}
