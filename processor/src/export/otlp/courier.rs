//! Carries requests that somebody else encoded: the agent's telemetry about itself.
//!
//! in   bodies of OTLP requests, by [`Letterbox`], from the threads of an SDK
//! out  OTLP requests as for every other signal: one client, one way to retry, one set of counters
//! keeps one request of each signal, which its sender waits for
//!
//! Whatever is logged or traced while it is at work is not told by what it carries: it would never end.

use super::client::Client;
use super::complaints::Complaints;
use super::delivery::{Delivered, Delivery};
use super::retry::InDoubt;
use super::stop::Stop;
use super::{ExportError, GRACE};
use crate::config::otlp::Settings;
use crate::telemetry::Telemetry;
use bytes::Bytes;
use opentelemetry::Context;
use std::sync::mpsc as sync_mpsc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

const NAME: &str = "otlp-internal";

/// What became of a request: taken, but for so many items; or not, and why.
pub(crate) type Carried = Result<u64, &'static str>;

/// Where requests of one signal are handed in. The signal ends when nobody has its letterbox any more.
#[derive(Clone, Debug)]
pub(crate) struct Letterbox(mpsc::Sender<Letter>);

struct Letter {
    body: Bytes,
    answer: oneshot::Sender<Carried>,
}

impl Letterbox {
    /// Hands a request in and waits for its fate, in whatever runtime or none.
    pub(crate) async fn send(&self, body: Bytes) -> Carried {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Letter { body, answer }).await.is_err() {
            return Err("shutdown");
        }
        answered.await.unwrap_or(Err("shutdown"))
    }
}

/// A signal on its way to a collector.
pub(crate) struct Line {
    letters: mpsc::Receiver<Letter>,
    delivery: Delivery,
}

impl Line {
    /// `service` is the gRPC method of the signal; counters call it `signal`.
    pub(crate) fn new(
        signal: &'static str,
        service: &str,
        settings: Settings,
        telemetry: Telemetry,
    ) -> Result<(Letterbox, Self), ExportError> {
        let backoff = settings.backoff;
        let client = Client::new(settings, service).map_err(|source| ExportError::Otlp { signal, source })?;
        // Its sender waits for the answer: there is never a second one.
        let (sender, letters) = mpsc::channel(1);
        let complaints = Complaints::new(signal, client.place());
        // Points are cumulative, log records and spans bear their times: nobody adds copies up.
        let in_doubt = InDoubt::SendAgain;
        let stop = Stop(watch::channel(None).1); // until it runs
        let delivery = Delivery { client, signal, backoff, in_doubt, stop, telemetry, complaints };
        Ok((Letterbox(sender), Self { letters, delivery }))
    }

    async fn run(mut self, stop: Stop) {
        self.delivery.stop = stop;
        while let Some(Letter { body, answer }) = self.letters.recv().await {
            let payload = self.delivery.packed(body.into());
            // How many items are in it, nobody looks.
            let delivered = self.delivery.deliver(&payload, 0).await;
            // Who handed it in may have given up waiting.
            let _ = answer.send(carried(delivered));
        }
    }
}

const fn carried(delivered: Delivered) -> Carried {
    match delivered {
        Delivered::Accepted { rejected } => Ok(rejected),
        Delivered::Failed { reason } => Err(reason),
        Delivered::Unknown => Err("unconfirmed"),
    }
}

/// The thread that carries.
#[derive(Debug)]
pub(crate) struct Courier {
    stop: watch::Sender<Option<Instant>>,
    ended: sync_mpsc::Receiver<()>,
}

impl Courier {
    /// Starts it. It ends with its last line.
    pub(crate) fn start(lines: Vec<Line>) -> Result<Self, ExportError> {
        let thread = |source| ExportError::Thread { exporter: NAME, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread)?;
        let (stop, stopped) = watch::channel(None);
        let (end, ended) = sync_mpsc::channel();
        let run = move || {
            let _end: sync_mpsc::Sender<()> = end;
            let _quiet = Context::enter_telemetry_suppressed_scope();
            runtime.block_on(async {
                let mut all = tokio::task::JoinSet::new();
                lines.into_iter().for_each(|line| drop(all.spawn(line.run(Stop(stopped.clone())))));
                all.join_all().await;
            });
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name(NAME.to_owned()).spawn(run).map_err(thread)?;
        Ok(Self { stop, ended })
    }

    /// From now on a request may take so long, all in all.
    pub(crate) fn hurry(&self, within: Duration) {
        // If the thread is gone, there is nobody to be told.
        let _ = self.stop.send(Some(Instant::now() + within));
    }

    /// Waits for its end, which is near once its lines ended. `false`: it did not come.
    pub(crate) fn wait(&self) -> bool {
        self.ended.recv_timeout(GRACE) != Err(sync_mpsc::RecvTimeoutError::Timeout)
    }
}
