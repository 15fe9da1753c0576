//! Exchanges to spans: who was observed, and when by the wall clock.

use crate::{
    correlate::Correlator,
    discover::Discovery,
    model::{ClockPair, Exchange, Span},
    protocol::http1,
};

/// The span of `exchange`, with all that exporters need.
pub fn decorate(
    exchange: Exchange,
    correlator: &Correlator,
    discovery: &mut Discovery,
    clock: &ClockPair,
) -> Span {
    let context = correlator.context(&exchange);
    let service = discovery.service(exchange.process);
    http1::span::span(exchange, context, service, clock)
}
