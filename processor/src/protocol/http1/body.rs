//! How long a body is (RFC 9112 6): walks captured bytes and holes, and says where the message ends.

use crate::protocol::Reader;

/// Longest chunk-size line with its extensions: nobody sends one, and it is all that is kept of a body.
const MAX_LINE_BYTES: usize = 256;

/// What frames a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// No more bytes.
    #[default]
    None,
    /// So many more bytes.
    Length(u64),
    /// Chunked coding.
    Chunked(Chunked),
    /// Until the connection ends.
    UntilClose,
    /// Not known: until the direction turns, the connection ends, or silence.
    Cut,
}

/// Place within the chunked coding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunked {
    /// Bytes of the chunk that are still to come, its line end included.
    data: u64,
    /// The last chunk was seen: trailer lines follow.
    in_trailer: bool,
    /// A line that is not whole yet.
    line: Vec<u8>,
}

/// Where a step ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// Captured bytes that belong to the body.
    pub used: usize,
    /// The message is whole.
    pub is_end: bool,
}

impl Body {
    /// The body goes over `bytes`. A framing that contradicts itself becomes [`Body::Cut`].
    pub fn take(&mut self, bytes: &[u8]) -> Step {
        match self {
            Self::None => Step { used: 0, is_end: true },
            Self::UntilClose | Self::Cut => Step { used: bytes.len(), is_end: false },
            Self::Length(left) => take_length(left, bytes.len()),
            Self::Chunked(chunked) => match chunked.take(bytes) {
                Some(step) => step,
                None => {
                    *self = Self::Cut;
                    Step { used: bytes.len(), is_end: false }
                }
            },
        }
    }

    /// The body goes over `hole` bytes that are not known. Gives the bytes of it that belong to the body, and whether
    /// it is whole then; what the framing can't tell makes it [`Body::Cut`].
    pub fn skip(&mut self, hole: u64) -> (u64, bool) {
        match self {
            Self::None => (0, true),
            Self::UntilClose | Self::Cut => (hole, false),
            Self::Length(left) => {
                let used = hole.min(*left);
                *left -= used;
                (used, *left == 0)
            }
            Self::Chunked(chunked) => {
                if hole > chunked.data {
                    *self = Self::Cut;
                } else {
                    chunked.data -= hole;
                }
                (hole, false)
            }
        }
    }
}

fn take_length(left: &mut u64, available: usize) -> Step {
    let used = usize::try_from(*left).map_or(available, |left| left.min(available));
    *left -= u64::try_from(used).unwrap_or(*left);
    Step { used, is_end: *left == 0 }
}

impl Chunked {
    /// `None` if the bytes are no chunked coding.
    fn take(&mut self, bytes: &[u8]) -> Option<Step> {
        let mut reader = Reader::new(bytes);
        loop {
            let step = take_length(&mut self.data, reader.rest().len());
            reader = Reader::new(reader.rest().get(step.used..)?);
            let Some(rest_of_line) = reader.until(b'\n') else {
                self.keep(reader.rest())?;
                return Some(Step { used: bytes.len(), is_end: false });
            };
            self.keep(rest_of_line)?;
            if self.end_of_line()? {
                return Some(Step { used: bytes.len() - reader.rest().len(), is_end: true });
            }
        }
    }

    fn keep(&mut self, part: &[u8]) -> Option<()> {
        if self.data > 0 {
            return Some(());
        }
        self.line.extend_from_slice(part);
        (self.line.len() <= MAX_LINE_BYTES).then_some(())
    }

    /// A line is whole: a size, or a trailer field. Gives whether it ends the message.
    fn end_of_line(&mut self) -> Option<bool> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if self.in_trailer {
            let is_end = line.is_empty();
            self.line.clear();
            return Some(is_end);
        }
        let size = chunk_size(line)?;
        self.line.clear();
        self.in_trailer = size == 0;
        self.data = if size == 0 { 0 } else { size.checked_add(2)? };
        Some(false)
    }
}

/// `chunk-size [ chunk-ext ]` (RFC 9112 7.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next()?;
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| valid)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODED: &[u8] = b"4;x=y\r\nabcd\r\n10\r\n0123456789abcdef\r\n0\r\nT: v\r\n\r\nNEXT";

    #[test]
    fn chunks_end_where_they_end_at_every_split() {
        let whole = CODED.len() - 4;
        for at in 0..whole {
            let mut body = Body::Chunked(Chunked::default());
            assert_eq!(body.take(&CODED[..at]), Step { used: at, is_end: false }, "{at}");
            assert_eq!(body.take(&CODED[at..]), Step { used: whole - at, is_end: true }, "{at}");
        }
    }

    #[test]
    fn a_hole_within_a_chunk_is_skipped_and_one_beyond_it_cuts() {
        let mut body = Body::Chunked(Chunked::default());
        body.take(b"10\r\n01");
        assert_eq!(body.skip(16), (16, false));
        assert_eq!(body.take(b"0\r\n\r\n"), Step { used: 5, is_end: true });
        let mut body = Body::Chunked(Chunked::default());
        body.take(b"10\r\n01");
        assert_eq!(body.skip(17), (17, false));
        assert_eq!(body, Body::Cut);
    }

    #[test]
    fn a_length_ends_within_a_hole() {
        let mut body = Body::Length(10);
        assert_eq!(body.skip(4), (4, false));
        assert_eq!(body.skip(40), (6, true));
    }

    #[test]
    fn nonsense_for_a_size_cuts() {
        let mut body = Body::Chunked(Chunked::default());
        body.take(b"zz\r\n");
        assert_eq!(body, Body::Cut);
    }
}
