//! The table of series to the collector, each interval and once more at the end.

use super::NAME;
use super::delivery::{Delivered, Delivery};
use super::points::{self, Common, Id, Row};
use super::resource::Machine;
use super::stop::Stop;
use crate::config::otlp::{Metrics as Settings, Temporality};
use crate::export::series::{Series, Store};
use crate::model::UnixNanos;
use crate::telemetry::Telemetry;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Series of one request, of three points each: about half a megabyte, where collectors take four.
const SERIES_PER_REQUEST: usize = 500;

/// Tells the table.
pub(super) struct Metrics {
    pub(super) store: Store,
    pub(super) settings: Settings,
    pub(super) delivery: Delivery,
    pub(super) machine: Machine,
    pub(super) stop: Stop,
    pub(super) telemetry: Telemetry,
    pub(super) told: Told,
}

/// What was told last, and when; only if points count from there.
#[derive(Default)]
pub(super) struct Told {
    series: HashMap<Id, (Series, UnixNanos), RandomState>,
}

impl Metrics {
    /// Until we are asked to end.
    pub(super) async fn run(mut self) {
        let period = self.settings.interval;
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_last = false;
        while !is_last {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.stop.asked() => is_last = true,
            }
            self.tell().await;
        }
    }

    async fn tell(&mut self) {
        let now = unix_now();
        let mut rows = points::rows(self.store.snapshot(std::time::Instant::now()));
        let mut totals = Vec::new();
        if self.settings.temporality == Temporality::Delta {
            (rows, totals) = self.told.since_last(rows);
        }
        let mut totals = totals.chunks(SERIES_PER_REQUEST);
        for rows in rows.chunks(SERIES_PER_REQUEST) {
            let payload = self.delivery.payload(&points::request(rows, &self.common(now)));
            let points = rows.iter().map(Row::points).sum();
            let delivered = self.delivery.deliver(&payload, points).await;
            self.count(points, delivered);
            // What may have been taken must not be told again; what was not is part of the next point.
            let is_told = !matches!(delivered, Delivered::Failed { .. });
            if let Some(totals) = totals.next().filter(|_| is_told) {
                self.told.remember(rows, totals, now);
            }
        }
    }

    fn common(&self, now: UnixNanos) -> Common<'_> {
        let temporality = match self.settings.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative,
            Temporality::Delta => AggregationTemporality::Delta,
        };
        Common { now, temporality, exponential: self.settings.exponential, machine: &self.machine }
    }

    fn count(&self, points: u64, delivered: Delivered) {
        let (lost, reason) = delivered.lost(points);
        self.telemetry.points_exported(NAME, points - lost);
        if lost > 0 {
            self.telemetry.points_dropped(NAME, reason, lost);
        }
    }
}

impl Told {
    /// What came since each series was told last, and the whole of it. Series that ended are forgotten, those without
    /// news left out.
    fn since_last(&mut self, rows: Vec<Row>) -> (Vec<Row>, Vec<Series>) {
        let ids: HashSet<&Id, RandomState> = rows.iter().map(|row| &row.id).collect();
        self.series.retain(|id, _| ids.contains(id));
        drop(ids);
        rows.into_iter().filter_map(|row| self.one_since_last(row)).unzip()
    }

    fn one_since_last(&self, mut row: Row) -> Option<(Row, Series)> {
        let total = row.series.clone();
        let known = self.series.get(&row.id).filter(|(series, _)| series.began == total.began);
        if let Some((series, at)) = known {
            row.series = total.since(series);
            row.since = *at;
        }
        (row.series.count() > 0).then_some((row, total))
    }

    fn remember(&mut self, rows: &[Row], totals: &[Series], now: UnixNanos) {
        let told = rows.iter().zip(totals);
        self.series.extend(told.map(|(row, total)| (row.id.clone(), (total.clone(), now))));
    }
}

fn unix_now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
