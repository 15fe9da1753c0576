//! A cursor over bytes that an attacker wrote: it never indexes, and never goes back.

use memchr::memchr;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The bytes before the next `delimiter`, which is skipped; `None` if there is none left.
    pub fn until(&mut self, delimiter: u8) -> Option<&'a [u8]> {
        let at = memchr(delimiter, self.rest)?;
        let (before, from) = self.rest.split_at_checked(at)?;
        self.rest = from.get(1..)?;
        Some(before)
    }

    /// The next line without its end (LF, or CR LF); `None` if no line is whole.
    pub fn line(&mut self) -> Option<&'a [u8]> {
        let line = self.until(b'\n')?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The next byte; `None` at the end.
    pub const fn byte(&mut self) -> Option<u8> {
        let Some((byte, rest)) = self.rest.split_first() else { return None };
        self.rest = rest;
        Some(*byte)
    }

    /// The next `len` bytes; `None`, and nothing is read, if fewer are left.
    pub const fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else { return None };
        self.rest = rest;
        Some(taken)
    }

    /// The next `len` bytes, or what is left of them.
    pub fn up_to(&mut self, len: usize) -> &'a [u8] {
        let len = len.min(self.rest.len());
        self.take(len).unwrap_or_default()
    }
}
