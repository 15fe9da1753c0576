//! When an exporter must end.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

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
            None => std::future::pending().await,
        }
    }

    /// Whether it is.
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().is_some_and(|until| until <= Instant::now())
    }
}
