//! A request until it is delivered or given up: attempts, the waits between them, and what is counted and said.

use super::answer::Answer;
use super::client::Client;
use super::complaints::Complaints;
use super::failure::Kind;
use super::request::Payload;
use super::retry::{Attempts, InDoubt, Next};
use super::stop::Stop;
use crate::config::otlp::Backoff;
use crate::telemetry::{Operation, Telemetry};
use tokio::time::sleep;

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delivered {
    /// The collector took it, but for so many items.
    Accepted { rejected: u64 },
    /// It surely did not, and it was given up.
    Failed { reason: &'static str },
    /// Nobody knows, and it was given up.
    Unknown,
}

impl Delivered {
    /// Of `items`, those that are lost, and the reason: what is in doubt counts as lost, under a reason of its own.
    pub(super) fn lost(self, items: u64) -> (u64, &'static str) {
        match self {
            Self::Accepted { rejected } => (rejected.min(items), "partial_success"),
            Self::Failed { reason } => (items, reason),
            Self::Unknown => (items, Kind::Unconfirmed.name()),
        }
    }
}

/// Delivers one signal, one request after the other.
pub(super) struct Delivery {
    pub(super) client: Client,
    pub(super) signal: &'static str,
    pub(super) backoff: Backoff,
    pub(super) in_doubt: InDoubt,
    pub(super) stop: Stop,
    pub(super) telemetry: Telemetry,
    pub(super) complaints: Complaints,
}

impl Delivery {
    /// A message as a request's bytes.
    pub(super) fn payload(&self, message: &impl prost::Message) -> Payload {
        self.client.payload(message)
    }

    /// An encoded message as a request's bytes.
    pub(super) fn packed(&self, message: Vec<u8>) -> Payload {
        self.client.packed(message)
    }

    /// Attempts until a request of `items` is taken, refused, too old, or the time to end is over.
    pub(super) async fn deliver(&mut self, payload: &Payload, items: u64) -> Delivered {
        let mut operation = self.telemetry.operation("otlp export");
        operation.set("signal", || self.signal);
        operation.set("endpoint", || self.client.place());
        let delivered = self.attempts(payload, items, &mut operation).await;
        match delivered {
            Delivered::Accepted { rejected } => {
                operation.set("rejected", || i64::try_from(rejected).unwrap_or(i64::MAX));
                return delivered;
            }
            Delivered::Failed { reason } => operation.fail(reason),
            Delivered::Unknown => operation.fail(Kind::Unconfirmed.name()),
        }
        self.complaints.gave_up(delivered.lost(items).1, items);
        delivered
    }

    async fn attempts(&mut self, payload: &Payload, items: u64, operation: &mut Operation) -> Delivered {
        let mut attempts = Attempts::new(self.backoff, self.in_doubt);
        while !self.stop.is_over() {
            let answer = self.client.send(payload, &mut self.stop).await;
            operation.note("attempt", name(&answer));
            let wait = match self.judge(&answer, &mut attempts) {
                Next::Wait(wait) => wait,
                Next::End(delivered) => return delivered,
            };
            tokio::select! {
                () = sleep(wait) => self.telemetry.otlp_resent(self.signal, name(&answer), items),
                () = self.stop.over() => {}
            }
        }
        attempts.given_up("shutdown")
    }

    /// Counts an answer, says what is new about it, and decides what follows.
    fn judge(&mut self, answer: &Answer, attempts: &mut Attempts) -> Next {
        self.telemetry.otlp_requests(self.signal, name(answer), 1);
        match answer {
            Answer::Accepted { rejected, message } => self.complaints.accepted(*rejected, message),
            Answer::Later { failure, .. }
            | Answer::Unsure { failure, .. }
            | Answer::Lost(failure)
            | Answer::Refused(failure) => self.complaints.failed(failure),
        }
        attempts.after(answer)
    }
}

/// Value of the labels `result` and `reason`.
const fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Accepted { rejected: 0, .. } => "accepted",
        Answer::Accepted { .. } => "partial_success",
        Answer::Later { failure, .. }
        | Answer::Unsure { failure, .. }
        | Answer::Lost(failure)
        | Answer::Refused(failure) => failure.kind.name(),
    }
}
