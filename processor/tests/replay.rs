//! The recorded exchanges: a replay gives the same spans again, and damage never makes one up.
//!
//! `RATATOSK_BLESS=1` writes what a replay gives now as what it must give.

mod stream;

use proptest::prelude::*;
use ratatosk::{
    export,
    model::Span,
    recording::{Header, Player},
};
use ratatosk_abi::{RecordKind, Records};
use ratatosk_proto::v1::{Batch, LoaderMessage, loader_message::Kind};
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use stream::{Bench, Collector};

const CORPUS: [&str; 3] = ["nginx", "python", "pair"];
/// Damaged replays of each recording; one takes a few milliseconds.
const CASES: u32 = 64;

#[derive(Clone)]
struct Recording {
    header: Header,
    messages: Vec<LoaderMessage>,
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

impl Recording {
    fn load(name: &str) -> Self {
        let mut player = Player::open(&testdata(&format!("{name}.rec"))).expect("a recording");
        let header = player.header.clone();
        let messages = std::iter::from_fn(|| player.next_message().expect("a whole recording")).collect();
        Self { header, messages }
    }

    fn play(&self) -> Vec<Span> {
        play(&self.header, self.messages.iter())
    }

    /// The records of each batch, as ranges of its bytes.
    fn records(&self) -> Vec<(usize, Vec<std::ops::Range<usize>>)> {
        let batches =
            self.messages.iter().enumerate().filter_map(|(at, message)| Some((at, batch(message)?)));
        batches.map(|(at, batch)| (at, ranges(&batch.records))).collect()
    }

    /// Everything before the record with this index in message `at`.
    fn cut(&self, at: usize, bytes: usize) -> Vec<LoaderMessage> {
        let mut messages = self.messages[..=at].to_vec();
        edit(&mut messages[at], |records| records.truncate(bytes));
        messages
    }
}

fn play<'a>(header: &Header, messages: impl Iterator<Item = &'a LoaderMessage>) -> Vec<Span> {
    let mut bench = Bench::with_key(header.selection.clone(), header.key);
    for message in messages {
        // of a prefix without Hello nothing comes
        let _ = bench.try_send(message);
    }
    bench.pipeline.finish();
    Collector::take(&bench.spans)
}

fn batch(message: &LoaderMessage) -> Option<&Batch> {
    match &message.kind {
        Some(Kind::Batch(batch)) => Some(batch),
        _ => None,
    }
}

fn edit(message: &mut LoaderMessage, change: impl FnOnce(&mut Vec<u8>)) {
    if let Some(Kind::Batch(batch)) = &mut message.kind {
        let mut records = batch.records.to_vec();
        change(&mut records);
        batch.records = records.into();
    }
}

fn ranges(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut end = 0;
    let next = |len| {
        let start = end;
        end += len;
        start..end
    };
    Records::new(bytes).map(|record| record.expect("a whole record").bytes.len()).map(next).collect()
}

/// Spans by their ids, which name an exchange of the recording.
fn by_id(spans: &[Span]) -> HashMap<String, &Span> {
    let found: HashMap<String, &Span> =
        spans.iter().map(|span| (format!("{}-{}", span.trace_id, span.span_id), span)).collect();
    assert_eq!(found.len(), spans.len(), "an id is told twice");
    found
}

/// Whether `part`, told from less than was recorded, says nothing that `whole` does not say.
fn says_no_more(part: &Span, whole: &Span) -> Result<(), String> {
    let (said, truth) = (&part.http, &whole.http);
    let same = (part.kind, part.peer, part.host, part.parent_id, part.start)
        == (whole.kind, whole.peer, whole.host, whole.parent_id, whole.start)
        && (said.method_token(), &said.path, &said.server_address)
            == (truth.method_token(), &truth.path, &truth.server_address);
    let less = part.end <= whole.end
        && said.request_body_bytes <= truth.request_body_bytes
        && said.response_body_bytes <= truth.response_body_bytes;
    let status = said.status == truth.status
        || (said.status == 0
            && said.response_body_bytes == 0
            && said.error_type.as_deref() == Some("no_response"));
    if same && less && status { Ok(()) } else { Err(format!("{part:?}\nis more than\n{whole:?}")) }
}

fn check_prefix(told: &[Span], whole: &[Span], place: &str) {
    let truth = by_id(whole);
    for (id, span) in by_id(told) {
        let whole = truth.get(&id).unwrap_or_else(|| panic!("{place}: made up {span:?}"));
        says_no_more(span, whole).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
}

#[test]
fn a_replay_gives_the_same_bytes_each_time_and_those_on_record() {
    for name in CORPUS {
        let recording = Recording::load(name);
        let (first, second) = (export::json(&recording.play()), export::json(&recording.play()));
        assert_eq!(first, second, "{name}");
        let golden = testdata(&format!("{name}.spans.json"));
        if std::env::var_os("RATATOSK_BLESS").is_some() {
            std::fs::write(&golden, &first).expect("writable testdata");
        }
        let expected = std::fs::read_to_string(&golden).expect("spans on record");
        assert!(first.lines().eq(expected.lines()), "{name}: replay gives\n{first}instead of\n{expected}");
    }
}

#[test]
fn the_recorded_exchanges_are_those_that_were_asked_for() {
    let count = |name, fits: &dyn Fn(&Span) -> bool| {
        Recording::load(name).play().iter().filter(|span| fits(span)).count()
    };
    assert_eq!(count("nginx", &|_| true), 45);
    assert_eq!(count("nginx", &|span| span.http.path.starts_with("/r/pipelined/")), 16);
    assert_eq!(count("nginx", &|span| span.http.status == 304), 1);
    assert_eq!(count("nginx", &|span| span.http.method == "PUT" && span.http.request_body_bytes > 0), 2);
    assert_eq!(count("nginx", &|span| span.http.version == "1.0"), 1);
    assert_eq!(count("python", &|_| true), 18);
    assert_eq!(count("python", &|span| span.http.method_token() == "BREW"), 1);
    assert_eq!(count("pair", &|_| true), 24);
    assert_eq!(count("pair", &|span| span.parent_id.is_some()), 21);
}

#[test]
fn a_stream_that_ends_between_two_messages_tells_a_part_and_nothing_else() {
    for name in CORPUS {
        let recording = Recording::load(name);
        let whole = recording.play();
        for end in 0..recording.messages.len() {
            let told = play(&recording.header, recording.messages[..end].iter());
            check_prefix(&told, &whole, &format!("{name}, {end} messages"));
        }
    }
}

#[test]
fn a_stream_that_ends_between_two_records_or_within_one_tells_a_part_and_nothing_else() {
    for name in CORPUS {
        let recording = Recording::load(name);
        let whole = recording.play();
        for (at, ranges) in recording.records() {
            for range in ranges {
                for bytes in [range.start, range.start + range.len() / 2, range.end] {
                    let told = play(&recording.header, recording.cut(at, bytes).iter());
                    check_prefix(&told, &whole, &format!("{name}, message {at}, {bytes} bytes"));
                }
            }
        }
    }
}

/// Messages of which one lost a chunk.
fn without(recording: &Recording, at: usize, range: &std::ops::Range<usize>) -> Vec<LoaderMessage> {
    let mut messages = recording.messages.clone();
    edit(&mut messages[at], |records| drop(records.drain(range.clone())));
    messages
}

#[test]
fn a_lost_chunk_makes_no_field_up() {
    for name in CORPUS {
        let recording = Recording::load(name);
        let whole = recording.play();
        let known = |span: &Span| {
            let same = |other: &&Span| {
                (other.http.method_token(), &other.http.path) == (span.http.method_token(), &span.http.path)
                    && [0, other.http.status].contains(&span.http.status)
            };
            whole.iter().any(|other| same(&other))
        };
        for (at, ranges) in recording.records() {
            for range in ranges {
                let told = play(&recording.header, without(&recording, at, &range).iter());
                let made_up: Vec<&Span> = told.iter().filter(|span| !known(span)).collect();
                assert!(made_up.is_empty(), "{name}, message {at} without {range:?}: {made_up:?}");
            }
        }
    }
}

/// One end of a connection, as its spans name it.
fn connection(span: &Span) -> (SocketAddr, SocketAddr) {
    (span.peer, span.host)
}

/// Places of payload bytes: message and byte within its records.
fn payload(recording: &Recording) -> Vec<(usize, usize)> {
    let is_chunk = |records: &[u8], range: &std::ops::Range<usize>| {
        let record = Records::new(&records[range.clone()]).next().expect("one").expect("whole");
        (record.header.kind == RecordKind::Chunk as u16).then(|| usize::from(record.header.fixed_len))
    };
    let mut places = Vec::new();
    for (at, ranges) in recording.records() {
        let records = &batch(&recording.messages[at]).expect("a batch").records;
        for range in ranges {
            if let Some(fixed) = is_chunk(records, &range) {
                places.extend((range.start + fixed..range.end).map(|byte| (at, byte)));
            }
        }
    }
    places
}

fn flipped(recording: &Recording, flips: &[(usize, usize, u8)]) -> Vec<Span> {
    let mut messages = recording.messages.clone();
    for (at, byte, mask) in flips {
        edit(&mut messages[*at], |records| records[*byte] ^= mask);
    }
    play(&recording.header, messages.iter())
}

/// What a flip in one message can touch: the connections whose bytes it carries.
fn check_flips(
    recording: &Recording,
    whole: &[Span],
    flips: &[(usize, usize, u8)],
) -> Result<(), TestCaseError> {
    let told = flipped(recording, flips);
    let touched = changed_connections(recording, flips);
    let untouched = |spans: &[Span]| {
        let rest: Vec<Span> =
            spans.iter().filter(|span| !touched.contains(&connection(span))).cloned().collect();
        export::json(&rest)
    };
    prop_assert_eq!(untouched(&told), untouched(whole), "a flip changed another connection");
    by_id(&told);
    Ok(())
}

fn changed_connections(recording: &Recording, flips: &[(usize, usize, u8)]) -> Vec<(SocketAddr, SocketAddr)> {
    let mut changed = Vec::new();
    for (at, byte, _) in flips {
        let records = &batch(&recording.messages[*at]).expect("a batch").records;
        let range = ranges(records).into_iter().find(|range| range.contains(byte)).expect("within a record");
        let record = Records::new(&records[range]).next().expect("one").expect("whole");
        if let Ok(ratatosk::model::Event::Chunk(chunk)) = ratatosk::decode::decode(&record) {
            let (local, remote) = (chunk.socket.local, chunk.socket.remote);
            changed.extend([(local, remote), (remote, local)]);
        }
    }
    changed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_payload_bytes_touch_their_connection_only(
        seeds in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..8),
    ) {
        for name in CORPUS {
            let recording = Recording::load(name);
            let (whole, places) = (recording.play(), payload(&recording));
            let flips: Vec<(usize, usize, u8)> =
                seeds.iter().map(|(index, mask)| { let (at, byte) = *index.get(&places); (at, byte, *mask) }).collect();
            check_flips(&recording, &whole, &flips)?;
        }
    }

    #[test]
    fn flipped_bytes_anywhere_are_survived(
        seeds in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8), 1..8),
    ) {
        for name in CORPUS {
            let recording = Recording::load(name);
            let batches: Vec<(usize, usize)> = recording
                .messages
                .iter()
                .enumerate()
                .filter_map(|(at, message)| Some((at, batch(message)?.records.len())))
                .filter(|(_, len)| *len > 0)
                .collect();
            let flips: Vec<(usize, usize, u8)> = seeds
                .iter()
                .map(|(message, byte, mask)| { let (at, len) = *message.get(&batches); (at, byte.index(len), *mask) })
                .collect();
            flipped(&recording, &flips);
        }
    }
}
