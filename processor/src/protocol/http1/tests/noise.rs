//! Bytes that are not HTTP, and bytes that are in any order, with any of them gone.

use super::wire::{GET, GET_OK, POST, POST_OK, SHORT, SHORT_OK, Wire};
use proptest::prelude::*;

#[test]
fn what_is_not_http_is_left_alone_and_counts_nothing() {
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"SSH-2.0-x y\r\n",
        b"SSH-2.0-x\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\x10noise",
        b"get foo\r\n",
    ] {
        let mut wire = Wire::server();
        for _ in 0..20 {
            wire.ask(noise).answer(noise);
        }
        wire.wait(2_000).close().finish();
        assert!(wire.told().is_empty());
        assert!(
            wire.out.incomplete.iter().all(|(_, count)| count == 0),
            "{noise:?} {:?}",
            wire.out.incomplete
        );
    }
}

#[test]
fn a_connection_given_up_is_looked_at_again_after_a_minute() {
    let mut wire = Wire::server();
    for _ in 0..20 {
        wire.ask(b"\x00noise").answer(b"\x00noise");
    }
    wire.ask(GET).answer(GET_OK);
    assert!(wire.told().is_empty());
    wire.wait(61_000).ask(GET).answer(GET_OK);
    assert_eq!(wire.only().http.status, 200);
}

fn arbitrary_calls() -> impl Strategy<Value = Vec<(bool, usize, usize, Vec<u8>)>> {
    let piece = prop_oneof![
        Just(GET.to_vec()),
        Just(GET_OK.to_vec()),
        Just(POST.to_vec()),
        Just(POST_OK.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec((any::<bool>(), 0_usize..300, 0_usize..60, piece), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_in_any_order_never_panic(calls in arbitrary_calls(), flips in proptest::collection::vec(any::<u16>(), 0..4)) {
        let mut wire = Wire::server();
        for (at, (side, width, gap, mut bytes)) in calls.into_iter().enumerate() {
            if let Some(flip) = flips.get(at) && !bytes.is_empty() {
                let place = usize::from(*flip) % bytes.len();
                bytes[place] ^= 1 << (flip % 8);
            }
            let side = usize::from(side);
            if gap > 50 {
                wire.skip(side, gap);
            }
            let width = width.min(bytes.len());
            wire.cut(side, &bytes, width);
            if gap == 7 {
                wire.wait(2_000);
            }
        }
        wire.close().wait(2_000).finish();
        prop_assert!(wire.connections.is_empty());
    }

    #[test]
    fn random_bytes_never_panic(calls in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 0..30)) {
        let mut wire = Wire::usual().widths(100, 50);
        for (is_rx, bytes) in calls {
            wire.send(usize::from(!is_rx), &bytes);
        }
        wire.wait(2_000).close();
    }

    #[test]
    fn flipped_bytes_never_invent_a_longer_body(at in 0..SHORT_OK.len(), bit in 0..8_u32, split in 1..SHORT_OK.len()) {
        let mut response = SHORT_OK.to_vec();
        response[at] ^= 1 << bit;
        let mut wire = Wire::usual();
        wire.ask(SHORT).answer(&response[..split]).answer(&response[split..]).close();
        for exchange in wire.told() {
            prop_assert!(exchange.http.response_body_bytes <= SHORT_OK.len() as u64);
        }
    }
}
