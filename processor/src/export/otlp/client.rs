//! One attempt to send a request to a collector, on a connection that lasts as long as it may.

use super::answer::Answer;
use super::connect::{ConnectError, Connection, Step};
use super::exchange::{Exchanged, exchange};
use super::failure::{Failure, Kind};
use super::request::{ClientError, Payload, Template};
use super::stop::Stop;
use super::tls::client_config;
use crate::config::otlp::{Scheme, Settings};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A connection that was silent for longer is not used again: servers close those, and a request that crosses such a
/// close would be in doubt. Most wait for a minute, few for less than 30 s.
const MAX_IDLE: Duration = Duration::from_secs(20);

/// Speaks with one collector about one signal, one request at a time.
pub(super) struct Client {
    settings: Settings,
    template: Template,
    tls: Option<Arc<ClientConfig>>,
    open: Option<(Connection, Instant)>,
}

impl Client {
    /// `service` is the gRPC method of the signal, as in `/package.Service/Method`.
    pub(super) fn new(settings: Settings, service: &str) -> Result<Self, ClientError> {
        let is_tls = settings.endpoint.scheme == Scheme::Https;
        let tls = is_tls.then(|| client_config(&settings.tls, settings.protocol)).transpose()?;
        let template = Template::new(&settings, service)?;
        Ok(Self { settings, template, tls, open: None })
    }

    /// The collector, for people.
    pub(super) fn place(&self) -> String {
        match self.settings.endpoint.scheme {
            Scheme::Unix => self.settings.endpoint.address.clone(),
            _ => self.template.uri().to_string(),
        }
    }

    /// A message as a request's bytes.
    pub(super) fn payload(&self, message: &impl prost::Message) -> Payload {
        self.template.payload(message)
    }

    /// An encoded message as a request's bytes.
    pub(super) fn packed(&self, plain: Vec<u8>) -> Payload {
        self.template.packed(plain)
    }

    /// Sends it once, within the time of a request and before `stop` is over.
    pub(super) async fn send(&mut self, payload: &Payload, stop: &mut Stop) -> Answer {
        let (timeout, protocol) = (self.settings.timeout, self.settings.protocol);
        let deadline = async {
            tokio::select! {
                () = sleep(timeout) => {}
                () = stop.over() => {}
            }
        };
        tokio::pin!(deadline);
        let mut step = Step::Reuse;
        let connected = tokio::select! {
            connected = self.connection(&mut step) => connected.map_err(failed),
            () = &mut deadline => Err(Failure::too_slow(step)),
        };
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(failure) => return Answer::Later { wait: None, failure },
        };
        let request = self.template.request(payload);
        tokio::select! {
            exchanged = exchange(&mut connection, request, protocol) => self.keep(connection, exchanged),
            // Whether the collector took it or not: it must not speak on this connection any more.
            () = &mut deadline => Answer::Lost(Failure::new(Kind::Unconfirmed, "no answer in time")),
        }
    }

    /// The connection that stands, or a new one.
    async fn connection(&mut self, step: &mut Step) -> Result<Connection, ConnectError> {
        if let Some((mut open, last)) = self.open.take()
            && last.elapsed() < MAX_IDLE
            && open.is_ready().await
        {
            return Ok(open);
        }
        let Settings { endpoint, protocol, .. } = &self.settings;
        Connection::open(endpoint, *protocol, self.tls.as_ref(), step).await
    }

    fn keep(&mut self, connection: Connection, exchanged: Exchanged) -> Answer {
        match exchanged {
            Exchanged::Whole(answer) => {
                self.open = Some((connection, Instant::now()));
                answer
            }
            Exchanged::Broken(answer) => answer,
        }
    }
}

fn failed(error: ConnectError) -> Failure {
    let remedy = error.remedy();
    Failure::new(Kind::Connect, error).with(remedy)
}
