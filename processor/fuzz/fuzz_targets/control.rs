//! Arbitrary bytes as a message of either side; a message of the loader goes through the whole pipeline. Corpus: messages
//! of real streams.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use ratatosk::{
    config::{PortRange, Selection},
    discover::Matcher,
    pipeline::Pipeline,
    telemetry::Telemetry,
};
use ratatosk_proto::{
    PROTOCOL_VERSION,
    v1::{Hello, LoaderMessage, ProcessorMessage, loader_message::Kind},
};

fn pipeline() -> Option<Pipeline> {
    let open_ports = vec![PortRange { first: 1, last: u16::MAX }];
    let matcher = Matcher::new(Selection { open_ports, ..Selection::default() }).ok()?;
    let mut pipeline = Pipeline::new(matcher, [7; 16], Vec::new(), Telemetry::new());
    pipeline.connected();
    let abi_version = ratatosk_abi::ABI_VERSION;
    let hello = Hello { abi_version, protocol_version: PROTOCOL_VERSION, ..Hello::default() };
    pipeline.message(&LoaderMessage { kind: Some(Kind::Hello(hello)) }).ok()?;
    Some(pipeline)
}

fuzz_target!(|bytes: &[u8]| {
    let _ = ProcessorMessage::decode(bytes);
    let (Ok(message), Some(mut pipeline)) = (LoaderMessage::decode(bytes), pipeline()) else { return };
    let again = LoaderMessage::decode(message.encode_to_vec().as_slice());
    assert_eq!(again.as_ref(), Ok(&message));
    if pipeline.message(&message).is_ok() {
        while pipeline.next_request().is_some() {}
        pipeline.finish();
    }
});
