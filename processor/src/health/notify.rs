//! What systemd is told, where it asks (`Type=notify`).

use super::{Health, Readiness};
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often readiness is looked at: what a start waits for at most.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Tells `READY=1` once, `STATUS=` at every change, and `WATCHDOG=1` as often as is asked for. Ends at once where nobody asks.
pub async fn notify_systemd(health: Health) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let mut ticks = interval(watchdog.map_or(LOOK_EVERY, |watchdog| LOOK_EVERY.min(watchdog / 3)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = News::default();
    loop {
        ticks.tick().await;
        let told = news.after(&health.readiness());
        let status = told.status.as_deref().map(NotifyState::Status);
        let ready = told.is_ready.then_some(NotifyState::Ready);
        let alive = watchdog.map(|_| NotifyState::Watchdog);
        send(&ready.into_iter().chain(status).chain(alive).collect::<Vec<_>>());
    }
}

/// The end was asked for.
pub fn notify_stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    if !states.is_empty()
        && let Err(error) = sd_notify::notify(states)
    {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct News {
    was_ready: bool,
    last: Option<Readiness>,
}

#[derive(Debug, Eq, PartialEq)]
pub(super) struct Told {
    pub(super) is_ready: bool,
    pub(super) status: Option<String>,
}

impl News {
    /// What is new. `READY=1` is said once: a service that lost its loader has started nevertheless.
    pub(super) fn after(&mut self, readiness: &Readiness) -> Told {
        let is_ready = readiness.is_ready() && !self.was_ready;
        self.was_ready |= is_ready;
        let is_new = self.last.as_ref() != Some(readiness);
        if is_new {
            self.last = Some(readiness.clone());
        }
        Told { is_ready, status: is_new.then(|| readiness.to_string()) }
    }
}
