//! A request until it is delivered or given up: attempts, the waits between them, and what is said about it.

use super::answer::{Answer, Failure};
use super::client::{Client, Payload};
use crate::config::otlp::Backoff;
use crate::telemetry::{Operation, Telemetry};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// The same complaint is made again after so long.
const REPEAT: Duration = Duration::from_secs(60);

/// Two that were refused at once must not come back at once: each wait is between this part of it and the whole.
const JITTER_FROM: f64 = 0.5;

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delivered {
    /// The collector took it, but for so many items.
    Accepted { rejected: u64 },
    /// It surely did not, and it was given up.
    Failed { reason: &'static str },
    /// Nobody knows.
    Unknown,
}

/// Delivers one signal, one request after the other.
pub(super) struct Delivery {
    client: Client,
    signal: &'static str,
    backoff: Backoff,
    telemetry: Telemetry,
    complaints: Complaints,
}

impl Delivery {
    pub(super) fn new(client: Client, signal: &'static str, backoff: Backoff, telemetry: Telemetry) -> Self {
        let complaints = Complaints { signal, place: client.place(), last: None };
        Self { client, signal, backoff, telemetry, complaints }
    }

    /// A message as a request's bytes.
    pub(super) fn payload(&self, message: &impl prost::Message) -> Payload {
        self.client.payload(message)
    }

    /// An encoded message as a request's bytes.
    pub(super) fn packed(&self, message: Vec<u8>) -> Payload {
        self.client.packed(message)
    }

    /// Attempts until it is taken, refused, or [`Backoff::max_elapsed`] passed.
    pub(super) async fn deliver(&mut self, payload: &Payload) -> Delivered {
        let mut operation = self.telemetry.operation("otlp export");
        operation.set("signal", || self.signal);
        operation.set("endpoint", || self.complaints.place.clone());
        let delivered = self.attempts(payload, &mut operation).await;
        match delivered {
            Delivered::Accepted { rejected } => {
                operation.set("rejected", || i64::try_from(rejected).unwrap_or(i64::MAX));
            }
            Delivered::Failed { reason } => operation.fail(reason),
            Delivered::Unknown => operation.fail("unconfirmed"),
        }
        delivered
    }

    async fn attempts(&mut self, payload: &Payload, operation: &mut Operation) -> Delivered {
        let give_up = Instant::now() + self.backoff.max_elapsed;
        let mut waits = Waits::new(self.backoff);
        loop {
            let answer = self.client.send(payload).await;
            self.telemetry.otlp_requests(self.signal, name(&answer), 1);
            operation.note("attempt", name(&answer));
            match answer {
                Answer::Accepted { rejected, message } => {
                    self.complaints.accepted(rejected, &message);
                    return Delivered::Accepted { rejected };
                }
                Answer::Refused(failure) => {
                    self.complaints.failed(&failure);
                    return Delivered::Failed { reason: failure.kind };
                }
                Answer::Unknown(failure) => {
                    self.complaints.failed(&failure);
                    return Delivered::Unknown;
                }
                Answer::Later { wait, failure } => {
                    self.complaints.failed(&failure);
                    let next = Instant::now() + waits.next_wait(wait);
                    if next >= give_up {
                        return Delivered::Failed { reason: "retries_exhausted" };
                    }
                    sleep_until(next).await;
                }
            }
        }
    }
}

/// Value of the label `result`.
fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Accepted { rejected: 0, .. } => "accepted",
        Answer::Accepted { .. } => "partial_success",
        Answer::Later { failure, .. } | Answer::Refused(failure) | Answer::Unknown(failure) => failure.kind,
    }
}

/// Waits that double, each shortened by chance, none shorter than what the collector asks for.
#[derive(Debug)]
struct Waits {
    next: Duration,
    longest: Duration,
}

impl Waits {
    fn new(backoff: Backoff) -> Self {
        Self { next: backoff.initial.min(backoff.longest), longest: backoff.longest }
    }

    fn next_wait(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.next.mul_f64(JITTER_FROM + (1. - JITTER_FROM) * fastrand::f64());
        self.next = self.next.saturating_mul(2).min(self.longest);
        wait.max(asked.unwrap_or_default())
    }
}

/// What is said about failures: each kind once, again after [`REPEAT`], and when it is over.
struct Complaints {
    signal: &'static str,
    place: String,
    last: Option<(&'static str, Instant)>,
}

impl Complaints {
    fn failed(&mut self, failure: &Failure) {
        if !self.is_news(failure.kind) {
            return;
        }
        tracing::warn!(
            signal = self.signal,
            endpoint = self.place,
            kind = failure.kind,
            cause = failure.cause,
            "OTLP export failed"
        );
    }

    fn accepted(&mut self, rejected: u64, message: &str) {
        if rejected > 0 || !message.is_empty() {
            if self.is_news("partial_success") {
                let (signal, endpoint) = (self.signal, self.place.as_str());
                tracing::warn!(signal, endpoint, rejected, message, "The collector did not take everything");
            }
        } else if self.last.take().is_some() {
            tracing::info!(signal = self.signal, endpoint = self.place, "OTLP export works again");
        }
    }

    fn is_news(&mut self, kind: &'static str) -> bool {
        let is_known = self.last.is_some_and(|(last, at)| last == kind && at.elapsed() < REPEAT);
        if !is_known {
            self.last = Some((kind, Instant::now()));
        }
        !is_known
    }
}

/// When everything must be over. Nothing until we are asked to end.
#[derive(Clone, Debug)]
pub(super) struct Stop(pub(super) watch::Receiver<Option<Instant>>);

impl Stop {
    /// We were asked to end. Never, if nobody is left who could ask.
    pub(super) async fn asked(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The time to end is over.
    pub(super) async fn over(&mut self) {
        self.asked().await;
        let until = *self.0.borrow();
        match until {
            Some(until) => sleep_until(until).await,
            None => sleep(Duration::MAX).await,
        }
    }

    /// Whether it is.
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().is_some_and(|until| until <= Instant::now())
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
