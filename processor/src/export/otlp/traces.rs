//! Spans from the queue to the collector, in batches.

use super::delivery::Delivery;
use super::resource::Machine;
use super::stop::Stop;
use super::{NAME, count, spans};
use crate::config::otlp::Traces as Settings;
use crate::model::Span;
use crate::telemetry::Telemetry;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Takes spans off the queue.
pub(super) struct Traces {
    pub(super) queue: mpsc::Receiver<Span>,
    pub(super) settings: Settings,
    pub(super) delivery: Delivery,
    pub(super) machine: Machine,
    pub(super) stop: Stop,
    pub(super) telemetry: Telemetry,
}

impl Traces {
    /// Until nobody fills the queue any more, and it is empty or the time to end is over.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(self.settings.batch_spans);
        while !self.stop.is_over() && self.fill(&mut batch).await {
            let payload = self.delivery.payload(&spans::request(&batch, &self.machine));
            let spans = count(batch.len());
            batch.clear();
            let (lost, reason) = self.delivery.deliver(&payload, spans).await.lost(spans);
            self.telemetry.spans_settled(NAME, spans - lost, lost, reason);
        }
        self.give_up();
    }

    /// Waits for a span, then for a full batch or the longest wait. `false`: there will be none.
    async fn fill(&mut self, batch: &mut Vec<Span>) -> bool {
        let most = self.settings.batch_spans;
        if self.queue.recv_many(batch, most).await == 0 {
            return false;
        }
        let until = Instant::now() + self.settings.batch_delay;
        while batch.len() < most {
            match timeout_at(until, self.queue.recv_many(batch, most - batch.len())).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        true
    }

    /// What is still queued.
    fn give_up(&mut self) {
        let mut left = 0;
        while self.queue.try_recv().is_ok() {
            left += 1;
        }
        if left > 0 {
            self.telemetry.spans_settled(NAME, 0, left, "shutdown");
            tracing::warn!(spans = left, "Spans were not exported before the end");
        }
    }
}

#[cfg(test)]
#[path = "traces_tests.rs"]
mod tests;
