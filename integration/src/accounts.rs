//! Where every record went, by the agent's own metrics.

use crate::{Agent, metrics::Metrics};
use std::{
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// The loader says its counters each second: what a scrape gives is that old at most, and half a second for a busy machine.
const STALE: Duration = Duration::from_millis(1_500);

/// The records of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the names of the metrics")]
pub struct Accounts {
    pub submitted: f64,
    pub made: f64,
    pub produced: f64,
    pub acknowledged: f64,
    pub dropped_by_server: f64,
    pub held: f64,
    /// Series of records that were lost anywhere, with their values.
    pub lost: Vec<String>,
}

impl Accounts {
    /// As the scrape says.
    #[must_use]
    pub fn of(metrics: &Metrics) -> Self {
        let mut lost = metrics.non_zero("ratatosk_records_dropped_total");
        lost.retain(|line| !line.contains("\"undecided\""));
        Self {
            submitted: metrics.sum("ratatosk_records_submitted_total", &[]),
            made: metrics.sum("ratatosk_records_made_total", &[]),
            produced: metrics.sum("ratatosk_records_produced_total", &[]),
            acknowledged: metrics.sum("ratatosk_records_acknowledged_total", &[]),
            dropped_by_server: metrics.sum("ratatosk_records_dropped_total", &["stage=\"server\""]),
            held: metrics.sum("ratatosk_records_held", &[]),
            lost,
        }
    }

    /// Once the rings are empty: what the kernel submitted until this call was taken.
    #[must_use]
    pub fn of_settled(agent: &Agent) -> Self {
        let begin = Instant::now();
        loop {
            let accounts = Self::of(&agent.scrape());
            accounts.assert_balanced();
            let is_settled = is_equal(accounts.submitted + accounts.made, accounts.produced);
            if is_settled && begin.elapsed() > STALE {
                return accounts;
            }
            assert!(begin.elapsed() < PATIENCE, "the rings do not get empty: {accounts:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Every produced record is acknowledged, dropped or held: at every moment, to the last one.
    pub fn assert_balanced(&self) {
        let known = self.acknowledged + self.dropped_by_server + self.held;
        assert!(is_equal(self.produced, known), "unbalanced: {self:?}");
    }

    /// Records lost anywhere.
    #[must_use]
    pub fn lost_records(&self) -> usize {
        let values = self.lost.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        values.sum()
    }
}

/// Counts below 2^53 are exact in a sample.
fn is_equal(left: f64, right: f64) -> bool {
    left.to_bits() == right.to_bits()
}
