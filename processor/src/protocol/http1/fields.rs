//! Header fields of HTTP/1.x (RFC 9110, RFC 9112): those that framing and correlation need.
//!
//! A line that is not whole says nothing.

use super::parse::{MAX_HOST_BYTES, text};
use crate::{
    model::{SpanId, Text, TraceId, TraceParent},
    protocol::Reader,
};
use std::borrow::Cow;

/// What the header fields say that we need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// `Content-Length`; `Some(None)` if it contradicts itself.
    pub content_length: Option<Option<u64>>,
    /// `Transfer-Encoding` ends with `chunked`.
    pub is_chunked: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// `Host`.
    pub host: Option<Text>,
    /// `traceparent`, valid and alone.
    pub parent: Option<TraceParent>,
    traceparents: u8,
}

/// What the whole lines that are left say.
#[must_use]
pub fn fields(mut reader: Reader<'_>) -> Fields {
    let mut fields = Fields::default();
    fields.read(&mut reader);
    fields
}

/// The next line goes on with the field at hand.
fn is_folded(reader: &Reader<'_>) -> bool {
    matches!(reader.rest().first(), Some(b' ' | b'\t'))
}

/// One line of `line` and those that are folded behind it: each fold is a blank. `None` if the last one is not whole.
fn unfolded<'a>(line: &'a [u8], reader: &mut Reader<'a>) -> Option<Cow<'a, [u8]>> {
    if !is_folded(reader) {
        return Some(Cow::Borrowed(line));
    }
    let mut field = line.trim_ascii().to_vec();
    while is_folded(reader) {
        field.push(b' ');
        field.extend_from_slice(reader.line()?.trim_ascii());
    }
    Some(Cow::Owned(field))
}

/// The value of the field called `name`, if `field` is it. Looks at no byte behind the name: most fields are none of ours.
fn value_of<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = field.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    // spelled so by most, which is seen at a glance
    (head == name || head.eq_ignore_ascii_case(name)).then(|| value.trim_ascii())
}

impl Fields {
    /// Reads the whole lines that are left, up to the empty one that ends them; gives whether it is there. A field that is
    /// folded over several lines is one (RFC 9112 5.2); where its last line is not whole, it says nothing.
    pub fn read(&mut self, reader: &mut Reader<'_>) -> bool {
        while let Some(line) = reader.line() {
            if line.is_empty() {
                return true;
            }
            let Some(field) = unfolded(line, reader) else { return false };
            self.take(&field);
        }
        false
    }

    fn take(&mut self, field: &[u8]) {
        match field.first() {
            Some(b'h' | b'H') => {
                if let Some(value) = value_of(field, b"Host") {
                    self.host = Some(text(value, MAX_HOST_BYTES));
                }
            }
            Some(b'c' | b'C') => {
                if let Some(value) = value_of(field, b"Content-Length") {
                    self.take_content_length(value);
                }
            }
            Some(b'e' | b'E') => {
                if let Some(value) = value_of(field, b"Expect") {
                    self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
                }
            }
            Some(b't' | b'T') => self.take_t(field),
            _ => {}
        }
    }

    fn take_t(&mut self, field: &[u8]) {
        if let Some(value) = value_of(field, b"traceparent") {
            self.take_traceparent(value);
        } else if let Some(value) = value_of(field, b"Transfer-Encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            self.is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }

    /// The same number again is one number (RFC 9110 8.6); another is a contradiction.
    fn take_content_length(&mut self, value: &[u8]) {
        let number = decimal(value);
        self.content_length = match self.content_length {
            Some(earlier) if earlier != number => Some(None),
            _ => Some(number),
        };
    }

    /// Two of them are none (W3C Trace Context 3.2.1).
    fn take_traceparent(&mut self, value: &[u8]) {
        self.traceparents = self.traceparents.saturating_add(1);
        self.parent = if self.traceparents == 1 { traceparent(value) } else { None };
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let add = |number: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// `version-traceid-parentid-flags`, lower-case hex (W3C Trace Context 3.2).
fn traceparent(value: &[u8]) -> Option<TraceParent> {
    let mut parts = value.splitn(5, |byte| *byte == b'-');
    let [version] = hex::<1>(parts.next()?)?;
    let trace_id = hex::<16>(parts.next()?)?;
    let span_id = hex::<8>(parts.next()?)?;
    let [flags] = hex::<1>(parts.next()?)?;
    // version 00 has four fields; a later one may have more
    let is_valid = version != 0xff && (version != 0 || parts.next().is_none());
    let non_zero = trace_id != [0; 16] && span_id != [0; 8];
    (is_valid && non_zero).then_some(TraceParent {
        trace_id: TraceId(trace_id),
        span_id: SpanId(span_id),
        flags,
    })
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_traceparent_that_is_alone_counts() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let head = |values: &[&str]| {
            let lines: String = values.iter().map(|v| format!("Traceparent: {v}\r\n")).collect();
            fields(Reader::new(lines.as_bytes())).parent
        };
        assert_eq!(head(&[good]).map(|parent| parent.flags), Some(1));
        assert!(head(&[good, good]).is_none());
        for bad in [
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert!(head(&[bad]).is_none(), "{bad}");
        }
        assert!(head(&["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"]).is_some());
    }

    #[test]
    fn a_contradicting_length_is_no_length() {
        let lengths = |text: &str| fields(Reader::new(text.as_bytes())).content_length;
        assert_eq!(lengths("Content-Length: 5\r\ncontent-length: 5\r\n"), Some(Some(5)));
        assert_eq!(lengths("Content-Length: 5\r\nContent-Length: 6\r\n"), Some(None));
        assert_eq!(lengths("Content-Length: -5\r\n"), Some(None));
        assert_eq!(lengths("Content-Length: 5"), None, "a line that is not whole says nothing");
    }

    #[test]
    fn a_folded_field_is_one_line() {
        let lengths = |text: &str| fields(Reader::new(text.as_bytes())).content_length;
        assert_eq!(lengths("Content-Length:\r\n\t5\r\n\r\n"), Some(Some(5)));
        assert_eq!(lengths("X: a,\r\n b\r\n c\r\nContent-Length: 7\r\n\r\n"), Some(Some(7)));
        assert_eq!(lengths("X: a\r\n Content-Length: 7\r\n\r\n"), None, "a part of another field");
        assert_eq!(lengths("Content-Length: 5\r\n 6\r\n\r\n"), Some(None), "two numbers are none");
        assert_eq!(lengths("Content-Length: 5\r\n 6"), None, "the fold is not whole");
    }
}
