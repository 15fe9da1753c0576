//! Header blocks of one direction (RFC 7541), as far as [`Field`] asks.
//!
//! in   header blocks in the order of their direction, whole or cut
//! out  [`Field`]s
//! keeps for each entry of the dynamic table what it means and how long it was, not its text: 12 bytes of ours for each 32
//!       of theirs, at most [`MAX_TABLE_BYTES`] of theirs
//!
//! Of the decoders that exist, one panics where a block is cut within a number, another builds a hash map for each string:
//! 17 µs for each byte of a hostile block. None can go on behind lost bytes.

use super::{fields::FIELDS, huffman};
use crate::{discover::sdk, model::OwnSignals, protocol::Reader};
use std::collections::VecDeque;

/// Size of a dynamic table that nobody changed (RFC 9113 6.5.2), and the largest that is followed: what a Collector offers.
/// As many entries as fit into it are 1.5 KiB of ours. Of a larger one, indexes mean nothing here.
const MAX_TABLE_BYTES: u32 = 4096;
/// "an entry's size is the sum of its name's length, its value's length, and 32" (RFC 7541 4.1).
const ENTRY_OVERHEAD: u32 = 32;
/// Longer than every text that means something here; of a longer one only the length is known.
const MAX_TEXT: usize = 64;
/// The most that a number may add up to: more than any block is long.
const MAX_NUMBER: u32 = 1 << 24;

/// What a header field says that is of interest here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field {
    /// `:path`, and what a call of it exports.
    Path(OwnSignals),
    /// `:status`, and whether it is 200.
    Status(bool),
    /// `grpc-status`, and whether it is 0: OK.
    GrpcStatus(bool),
    /// Another one, or one that can't be known.
    Other,
}

/// Why a block is not read further.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Stop {
    /// It ends within a field.
    #[error("the block ends within a field")]
    Cut,
    /// No encoder makes it.
    #[error("not a header block of HTTP/2")]
    Invalid,
}

/// One direction.
#[derive(Debug)]
pub struct Decoder {
    /// None once bytes were lost: nobody knows what its indexes mean from then on.
    table: Option<Table>,
}

#[derive(Debug)]
struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    bytes: u32,
    max_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    field: Field,
    name_bytes: u32,
    bytes: u32,
}

/// A string: its length, and its beginning.
struct Text {
    start: [u8; MAX_TEXT],
    len: u32,
}

impl Decoder {
    /// Of a connection that begins.
    pub fn new() -> Self {
        Self { table: Some(Table { entries: VecDeque::new(), bytes: 0, max_bytes: MAX_TABLE_BYTES }) }
    }

    /// Fields were lost.
    pub fn lose(&mut self) {
        self.table = None;
    }

    /// Gives each field of `block` that can be known to `each`. What follows a block that was cut is lost.
    pub fn read(&mut self, block: &[u8], is_whole: bool, mut each: impl FnMut(Field)) {
        let mut reader = Reader::new(block);
        while !reader.rest().is_empty() {
            match self.field(&mut reader) {
                Ok(field) => field.into_iter().for_each(&mut each),
                Err(Stop::Cut | Stop::Invalid) => {
                    self.table = None;
                    return;
                }
            }
        }
        if !is_whole {
            self.table = None;
        }
    }

    /// The next field; none if it was a change of the table's size.
    fn field(&mut self, reader: &mut Reader<'_>) -> Result<Option<Field>, Stop> {
        let first = reader.byte().ok_or(Stop::Cut)?;
        if first & 0x80 != 0 {
            let index = number(first, 7, reader)?;
            return Ok(Some(self.entry(index)?.map_or(Field::Other, |entry| entry.field)));
        }
        if first & 0xe0 == 0x20 {
            self.resize(number(first, 5, reader)?);
            return Ok(None);
        }
        let is_kept = first & 0x40 != 0;
        let index = number(first, if is_kept { 6 } else { 4 }, reader)?;
        let entry = self.literal(index, reader)?;
        if is_kept {
            self.keep(entry);
        }
        Ok(Some(entry.map_or(Field::Other, |entry| entry.field)))
    }

    /// A field with a value of its own; none if nobody knows its name.
    fn literal(&self, index: u32, reader: &mut Reader<'_>) -> Result<Option<Entry>, Stop> {
        let name = if index == 0 {
            let text = Text::read(reader)?;
            Some((Field::named(text.known()), text.len))
        } else {
            self.entry(index)?.map(|entry| (entry.field, entry.name_bytes))
        };
        let value = Text::read(reader)?;
        Ok(name.map(|(name, name_bytes)| Entry::new(name.with(value.known()), name_bytes, value.len)))
    }

    /// The entry of an index; none if it can't be known.
    fn entry(&self, index: u32) -> Result<Option<Entry>, Stop> {
        let place =
            usize::try_from(index).ok().and_then(|index| index.checked_sub(1)).ok_or(Stop::Invalid)?;
        if let Some((name, value)) = FIELDS.get(place) {
            let field = Field::named(Some(name.as_bytes())).with(Some(value.as_bytes()));
            return Ok(Some(Entry::new(field, length(name.len()), length(value.len()))));
        }
        let Some(table) = &self.table else { return Ok(None) };
        table.entries.get(place - FIELDS.len()).copied().map(Some).ok_or(Stop::Invalid)
    }

    fn keep(&mut self, entry: Option<Entry>) {
        match (&mut self.table, entry) {
            (Some(table), Some(entry)) => table.insert(entry),
            _ => self.table = None,
        }
    }

    fn resize(&mut self, max_bytes: u32) {
        match &mut self.table {
            Some(table) if max_bytes <= MAX_TABLE_BYTES => {
                table.max_bytes = max_bytes;
                table.make_room(0);
            }
            _ => self.table = None,
        }
    }
}

impl Table {
    /// "an attempt to add an entry larger than the maximum size causes the table to be emptied" (RFC 7541 4.4).
    fn insert(&mut self, entry: Entry) {
        self.make_room(entry.bytes);
        if entry.bytes <= self.max_bytes {
            self.bytes += entry.bytes;
            self.entries.push_front(entry);
        }
    }

    fn make_room(&mut self, bytes: u32) {
        while self.bytes.saturating_add(bytes) > self.max_bytes {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
    }
}

impl Entry {
    const fn new(field: Field, name_bytes: u32, value_bytes: u32) -> Self {
        let bytes = name_bytes.saturating_add(value_bytes).saturating_add(ENTRY_OVERHEAD);
        Self { field, name_bytes, bytes }
    }
}

impl Field {
    /// A field of this name, which says nothing yet.
    fn named(name: Option<&[u8]>) -> Self {
        match name {
            Some(b":path") => Self::Path(OwnSignals::default()),
            Some(b":status") => Self::Status(false),
            Some(b"grpc-status") => Self::GrpcStatus(false),
            _ => Self::Other,
        }
    }

    /// A field of the same name with this value.
    fn with(self, value: Option<&[u8]>) -> Self {
        match self {
            Self::Path(_) => Self::Path(value.map(sdk::exported_by_call).unwrap_or_default()),
            Self::Status(_) => Self::Status(value == Some(b"200")),
            Self::GrpcStatus(_) => Self::GrpcStatus(value == Some(b"0")),
            Self::Other => Self::Other,
        }
    }
}

impl Text {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Stop> {
        let first = reader.byte().ok_or(Stop::Cut)?;
        let len = usize::try_from(number(first, 7, reader)?).map_err(|_| Stop::Invalid)?;
        let bytes = reader.take(len).ok_or(Stop::Cut)?;
        let mut text = Self { start: [0; MAX_TEXT], len: 0 };
        if first & 0x80 != 0 {
            huffman::decode(bytes, |byte| text.push(byte)).map_err(|_| Stop::Invalid)?;
        } else {
            bytes.iter().for_each(|byte| text.push(*byte));
        }
        Ok(text)
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = usize::try_from(self.len).ok().and_then(|place| self.start.get_mut(place)) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// All of it, unless it is too long to mean something.
    fn known(&self) -> Option<&[u8]> {
        self.start.get(..usize::try_from(self.len).ok()?)
    }
}

/// A number whose first `bits` bits are the low ones of `first` (RFC 7541 5.1).
fn number(first: u8, bits: u32, reader: &mut Reader<'_>) -> Result<u32, Stop> {
    let mask = (1_u32 << bits) - 1;
    let mut value = u32::from(first) & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = reader.byte().ok_or(Stop::Cut)?;
        value += u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return if value <= MAX_NUMBER { Ok(value) } else { Err(Stop::Invalid) };
        }
    }
    Err(Stop::Invalid)
}

/// Of a text in the table that everybody has: a few bytes.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(decoder: &mut Decoder, block: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        decoder.read(block, true, |field| fields.push(field));
        fields
    }

    /// Sizes of the dynamic table, the newest first.
    fn sizes(decoder: &Decoder) -> Option<(Vec<u32>, u32)> {
        let table = decoder.table.as_ref()?;
        Some((table.entries.iter().map(|entry| entry.bytes).collect(), table.bytes))
    }

    /// Appendix C.6: three responses with Huffman coding, a table of 256 bytes, and eviction.
    #[test]
    fn the_responses_of_the_specification_are_read() {
        let mut decoder = Decoder::new();
        read(&mut decoder, &[0x3f, 0xe1, 0x01]); // 256
        let first = [
            0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x61, 0x96, 0xd0, 0x7a, 0xbe,
            0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6,
            0x2d, 0x1b, 0xff, 0x6e, 0x91, 0x9d, 0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8,
            0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3,
        ];
        let fields = read(&mut decoder, &first);
        assert_eq!(fields, [Field::Status(false), Field::Other, Field::Other, Field::Other]);
        assert_eq!(sizes(&decoder), Some((vec![63, 65, 52, 42], 222)));
        read(&mut decoder, &[0x48, 0x83, 0x64, 0x0e, 0xff, 0xc1, 0xc0, 0xbf]);
        assert_eq!(sizes(&decoder), Some((vec![42, 63, 65, 52], 222)), "302 made room for 307");
        assert_eq!(read(&mut decoder, &[0x88, 0xc1]), [Field::Status(true), Field::Other]);
    }

    #[test]
    fn a_path_that_was_kept_is_known_by_its_index() {
        let path = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let mut block = vec![0x44, u8::try_from(path.len()).expect("short")];
        block.extend(path);
        let mut decoder = Decoder::new();
        let traces = [Field::Path(OwnSignals { traces: true, metrics: false })];
        assert_eq!(read(&mut decoder, &block), traces);
        assert_eq!(read(&mut decoder, &[0xbe]), traces);
        // its name with another value
        assert_eq!(read(&mut decoder, &[0x0f, 0x2f, 0x01, b'/']), [Field::Path(OwnSignals::default())]);
    }

    #[test]
    fn behind_lost_bytes_only_what_everybody_has_is_known() {
        let mut decoder = Decoder::new();
        read(
            &mut decoder,
            &[0x40, 0x0b, b'g', b'r', b'p', b'c', b'-', b's', b't', b'a', b't', b'u', b's', 1, b'0'],
        );
        assert_eq!(read(&mut decoder, &[0xbe]), [Field::GrpcStatus(true)]);
        decoder.read(&[0x88], false, |_| {});
        assert_eq!(
            read(&mut decoder, &[0xbe, 0x88, 0x7e, 1, b'0']),
            [Field::Other, Field::Status(true), Field::Other]
        );
    }

    #[test]
    fn every_prefix_of_a_block_gives_a_prefix_of_its_fields() {
        let block = [0x88, 0x48, 0x82, 0x64, 0x02, 0x3f, 0xe1, 0x01, 0x00, 0x01, b'a', 0x01, b'b', 0x8e];
        let whole = read(&mut Decoder::new(), &block);
        for cut in 0..block.len() {
            let fields = read(&mut Decoder::new(), &block[..cut]);
            assert_eq!(fields, whole[..fields.len()], "cut at {cut}");
        }
    }

    #[test]
    fn hostile_numbers_and_indexes_end_the_table() {
        for block in [
            &[0x80][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0xff, 0x80, 0x80, 0x80, 0x80],
            &[0xbe],
            &[0x00, 0x7f, 0xff, 0xff, 0x7f],
            &[0x3f, 0xff, 0xff, 0x7f],
            &[0x3f, 0xe2, 0x1f], // a table of 4097 bytes
            &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00],
            &[0xff],
        ] {
            let mut decoder = Decoder::new();
            read(&mut decoder, block);
            assert_eq!(sizes(&decoder), None, "{block:x?}");
        }
    }

    #[test]
    fn the_table_is_never_larger_than_its_bound() {
        let mut decoder = Decoder::new();
        let kept = [0x40, 0x00, 0x00].repeat(10_000);
        read(&mut decoder, &kept);
        let (entries, bytes) = sizes(&decoder).expect("nothing was lost");
        assert_eq!((entries.len(), bytes), (128, MAX_TABLE_BYTES));
        read(&mut decoder, &[0x20]);
        assert_eq!(sizes(&decoder), Some((Vec::new(), 0)));
    }
}
