//! What is said about failures.

use super::failure::{Failure, Kind};
use std::time::Duration;
use tokio::time::Instant;

/// The same complaint is made again after so long.
const REPEAT: Duration = Duration::from_secs(60);

/// Each kind once, again after [`REPEAT`], and when it is over.
pub(super) struct Complaints {
    signal: &'static str,
    place: String,
    made: Vec<(Complaint, Instant)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Complaint {
    Failed(Kind),
    /// Less was taken than was sent.
    Partial,
    /// A request is not tried any more.
    GivenUp,
}

impl Complaints {
    pub(super) const fn new(signal: &'static str, place: String) -> Self {
        Self { signal, place, made: Vec::new() }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, failure: &Failure) {
        if !self.is_news(Complaint::Failed(failure.kind)) {
            return;
        }
        tracing::warn!(
            signal = self.signal,
            endpoint = self.place,
            kind = failure.kind.name(),
            cause = failure.cause,
            remedy = failure.remedy,
            "OTLP export failed"
        );
    }

    /// A request of so many items is not tried any more.
    pub(super) fn gave_up(&mut self, reason: &'static str, items: u64) {
        if self.is_news(Complaint::GivenUp) {
            let (signal, endpoint) = (self.signal, self.place.as_str());
            tracing::warn!(signal, endpoint, reason, items, "OTLP request given up");
        }
    }

    /// A request was taken, but for `rejected` items.
    pub(super) fn accepted(&mut self, rejected: u64, message: &str) {
        if rejected > 0 || !message.is_empty() {
            if self.is_news(Complaint::Partial) {
                let (signal, endpoint) = (self.signal, self.place.as_str());
                tracing::warn!(signal, endpoint, rejected, message, "The collector did not take everything");
            }
        } else if !self.made.is_empty() {
            self.made.clear();
            tracing::info!(signal = self.signal, endpoint = self.place, "OTLP export works again");
        }
    }

    fn is_news(&mut self, complaint: Complaint) -> bool {
        self.made.retain(|(_, at)| at.elapsed() < REPEAT);
        let is_known = self.made.iter().any(|(made, _)| *made == complaint);
        if !is_known {
            self.made.push((complaint, Instant::now()));
        }
        !is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_failure_is_told_once_a_minute() {
        let (connect, rejected) = (Complaint::Failed(Kind::Connect), Complaint::Failed(Kind::Rejected));
        let mut complaints = Complaints::new("traces", String::new());
        assert!(complaints.is_news(connect) && !complaints.is_news(connect));
        assert!(complaints.is_news(rejected) && !complaints.is_news(connect));
        tokio::time::advance(REPEAT).await;
        assert!(complaints.is_news(connect));
        complaints.accepted(0, "");
        assert!(complaints.is_news(connect));
    }
}
