//! Arbitrary bytes as the records of a batch. Corpus: records of real streams.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ratatosk::{decode::decode, model::Event};
use ratatosk_abi::Records;

fuzz_target!(|bytes: &[u8]| {
    let mut walked = 0;
    for record in Records::new(bytes) {
        let Ok(record) = record else { continue };
        walked += record.bytes.len();
        match decode(&record) {
            Ok(Event::Chunk(chunk) | Event::Eof(chunk)) => {
                assert!(chunk.payload.len() <= usize::try_from(chunk.orig_len).unwrap_or(usize::MAX));
            }
            Ok(_) | Err(_) => {}
        }
    }
    assert!(walked <= bytes.len());
});
