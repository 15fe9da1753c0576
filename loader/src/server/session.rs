//! One processor's stream, outward: Hello, batches, ticks, status.

use crate::server::clock::clock_pair;
use crate::server::hub::Hub;
use crate::server::kernel::Kernel;
use crate::server::ledger::Ledger;
use crate::server::queue::Batch;
use crate::server::snapshot::Snapshot;
use ratatosk_abi::{ABI_VERSION, Missing, counter};
use ratatosk_proto::PROTOCOL_VERSION;
use ratatosk_proto::v1::loader_message::Kind;
use ratatosk_proto::v1::{self, Dropped, Hello, LoaderMessage, Start, Tick};
use tokio::sync::mpsc;

/// What goes to the gRPC task of one stream.
pub type Outbound = mpsc::Sender<Result<LoaderMessage, tonic::Status>>;

/// Messages between hub and gRPC task; their bytes are counted as unacknowledged in the queue.
pub const OUTBOUND_MESSAGES: usize = 16;
/// Of these, kept free of batches: an echo, a tick, a status and an end never wait for data.
const KEPT_FREE: usize = 4;

const TICKS_PER_STATUS: u64 = 10;
const TICKS_PER_CLOCK: u64 = 100;

/// A connected processor.
#[derive(Debug)]
pub struct Session {
    /// Of its stream.
    pub id: u64,
    outbound: Outbound,
    echo_is_due: bool,
    tick_is_due: bool,
    ticks: u64,
}

impl Session {
    fn send(&self, kind: Kind) -> bool {
        self.outbound.try_send(Ok(LoaderMessage { kind: Some(kind) })).is_ok()
    }

    fn takes_batches(&self) -> bool {
        self.outbound.capacity() > KEPT_FREE
    }
}

impl<K: Kernel> Hub<K> {
    /// A processor began a stream: it gets the place if nobody has it.
    pub(super) fn open(&mut self, id: u64, start: &Start, outbound: Outbound) {
        if let Err(refused) = self.may_open(start) {
            tracing::warn!(target: "audit", event = "refused_stream", reason = refused.message());
            drop(outbound.try_send(Err(refused)));
            return;
        }
        let session = Session { id, outbound, echo_is_due: false, tick_is_due: true, ticks: 0 };
        session.send(Kind::Hello(self.hello()));
        self.session = Some(session);
        self.ledger.count_stream();
        self.queue.rewind();
        self.snapshot = Snapshot::Wanted;
        // Made by the selectors of another processor.
        self.kernel.forget_exes();
        self.guard.forget_waiting();
    }

    fn may_open(&self, start: &Start) -> Result<(), tonic::Status> {
        if start.protocol_version.abs_diff(PROTOCOL_VERSION) > 1 {
            let (theirs, ours) = (start.protocol_version, PROTOCOL_VERSION);
            let text =
                format!("protocol version {theirs}, this loader speaks {ours}: upgrade the older side");
            return Err(tonic::Status::failed_precondition(text));
        }
        if self.session.as_ref().is_some_and(|session| !session.outbound.is_closed()) {
            return Err(tonic::Status::resource_exhausted("another processor is connected"));
        }
        Ok(())
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            abi_version: ABI_VERSION,
            loader_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.identity.boot_id.clone(),
            epoch: self.identity.epoch,
            clock: Some(clock_pair(&self.kernel)),
            tier: self.options.tier.clone(),
            tier_lacks: self.options.tier_lacks.clone(),
            turn_bytes: self.options.turn_bytes,
            call_bytes: self.options.call_bytes,
            policy: self.guard.policy().rules(),
            examines: self.guard.policy().examine,
            tiers: self.options.tiers.clone(),
        }
    }

    /// Ends the stream for what its processor did.
    pub(super) fn close(&mut self, why: tonic::Status) {
        if let Some(session) = self.session.take() {
            drop(session.outbound.try_send(Err(why)));
        }
    }

    /// The stream of this id ended.
    pub(super) fn closed(&mut self, id: u64) {
        self.session = self.session.take().filter(|session| session.id != id);
    }

    /// An acknowledgement was booked: its echo follows at once.
    pub(super) fn echo(&mut self) {
        self.session.iter_mut().for_each(|session| session.echo_is_due = true);
    }

    /// 100 ms passed.
    pub fn tick(&mut self) {
        self.session.iter_mut().for_each(|session| session.tick_is_due = true);
    }

    /// Sends what the stream takes now. Gives whether something is left.
    pub fn pump(&mut self) -> bool {
        let Some(mut session) = self.session.take() else { return false };
        while session.takes_batches() {
            self.continue_snapshot();
            let Some(batch) = self.queue.next_batch() else { break };
            session.send(Kind::Batch(self.batch_message(batch)));
        }
        self.send_denials(&session);
        self.send_ticks(&mut session);
        let is_open = !session.outbound.is_closed();
        self.session = is_open.then_some(session);
        is_open && self.queue.has_unsent() && self.queue.has_window()
    }

    fn batch_message(&self, batch: Batch) -> v1::Batch {
        let acknowledged_through = self.queue.acknowledged_through();
        let Batch { number, records, record_count, .. } = batch;
        v1::Batch { number, records, record_count, acknowledged_through }
    }

    fn send_denials(&mut self, session: &Session) {
        while session.takes_batches() {
            let Some(denied) = self.guard.next_denied() else { break };
            session.send(Kind::Denied(denied));
        }
    }

    fn send_ticks(&self, session: &mut Session) {
        if session.tick_is_due {
            let clock_is_due = session.ticks % TICKS_PER_CLOCK == TICKS_PER_CLOCK - 1;
            if session.send(Kind::Tick(self.tick_message(clock_is_due))) {
                (session.tick_is_due, session.echo_is_due) = (false, false);
                session.ticks += 1;
                self.send_status(session);
            }
        } else if session.echo_is_due {
            session.echo_is_due = !session.send(Kind::Tick(self.tick_message(false)));
        }
    }

    fn send_status(&self, session: &Session) {
        if session.ticks % TICKS_PER_STATUS == 1 {
            session.send(Kind::Status(self.status()));
        }
    }

    fn tick_message(&self, with_clock: bool) -> Tick {
        Tick {
            watermark_ktime_ns: self.queue.watermark_ns(self.watermark_ns),
            acknowledged_through: self.queue.acknowledged_through(),
            clock: with_clock.then(|| clock_pair(&self.kernel)),
        }
    }

    /// The counters of this moment.
    #[must_use]
    pub fn status(&self) -> v1::Status {
        let slots = self.kernel.counters();
        let submitted = slots[counter::DATA_SUBMITTED] + slots[counter::CONTROL_SUBMITTED];
        v1::Status {
            produced: self.ledger.produced_by_kind(),
            acknowledged_records: self.ledger.acknowledged(),
            dropped: self.ledger.dropped_by_reason(),
            held_records: self.queue.held_records(),
            held_bytes: u64::try_from(self.queue.held_bytes()).unwrap_or(u64::MAX),
            kernel_submitted_records: submitted.saturating_sub(self.ledger.tested()),
            kernel_dropped: kernel_dropped(&slots, &self.ledger),
            payload_missing: payload_missing(&slots),
            captured_bytes: slots[counter::CAPTURED_BYTES],
            original_bytes: slots[counter::ORIGINAL_BYTES],
            server_restarts: self.ledger.server_restarts(),
            control_collapsed: self.ledger.control_collapsed(),
            denied: self.guard.denied_by_reason(),
            made_records: self.ledger.made(),
            streams_opened: self.ledger.streams(),
            counting_since_unix_ns: self.ledger.since_unix_ns(),
        }
    }
}

fn kernel_dropped(slots: &[u64; counter::SLOTS], ledger: &Ledger) -> Vec<Dropped> {
    let reasons = [
        ("ring_full", counter::DATA_RING_FULL),
        ("control_ring_full", counter::CONTROL_RING_FULL),
        ("policy_denied", counter::POLICY_DENIED),
        ("nested_call", counter::NESTED_CALL),
        ("unnamed_socket", counter::UNNAMED_SOCKET),
        ("undecided", counter::UNDECIDED),
        ("silenced", counter::SILENCED),
    ];
    let counted = reasons.into_iter().map(|(reason, slot)| (reason, slots[slot]));
    let missed = [("reentrancy", ledger.reentrancy()), ("control_reentrancy", ledger.control_reentrancy())];
    let all = counted.chain(missed);
    all.map(|(reason, records)| Dropped { reason: reason.to_owned(), records }).collect()
}

fn payload_missing(slots: &[u64; counter::SLOTS]) -> Vec<Dropped> {
    let reasons = Missing::ALL.into_iter().filter(|reason| *reason != Missing::Nothing);
    let slot = |reason: Missing| slots.get(counter::MISSING + usize::from(reason as u8)).copied();
    reasons
        .map(|reason| Dropped { reason: reason.name().to_owned(), records: slot(reason).unwrap_or(0) })
        .collect()
}
