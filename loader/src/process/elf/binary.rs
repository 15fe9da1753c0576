//! What an ELF file says about the language that it was written in. Every byte here may be made to harm.
//!
//! Only tables are read, by pread and never by mmap: a file that shrinks meanwhile must be an error, not a signal. The
//! `object` crate checks every offset; what it may read in all is bounded here, and the process by its limits.

use super::marks;
use memchr::memmem;
use object::{
    Endianness, FileKind, ReadCache, ReadRef,
    elf::{self, FileHeader32, FileHeader64},
    read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym},
};
use ratatosk_abi::Language;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    iter,
    os::unix::fs::FileExt,
};

/// Bytes read of one file: the symbol names of the largest executables are some ten MiB.
const MAX_READ_BYTES: u64 = 96 << 20;
/// Symbols looked at: Chromium-sized programs have some hundred thousand.
const MAX_SYMBOLS: usize = 1 << 20;
/// Notes of one segment looked at: programs have three.
const MAX_NOTES: usize = 64;
/// Bytes of `.comment` looked at: compilers leave a line each.
const MAX_COMMENT_BYTES: u64 = 64 << 10;
/// Bytes of constants searched for what a compiler or a runtime leaves there.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// A file that is read by pread, and not beyond [`MAX_READ_BYTES`] in all.
struct Bounded<'a> {
    file: &'a File,
    at: u64,
    len: u64,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if wanted > self.left {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let read = self.file.read_at(buffer, self.at)?;
        let moved = u64::try_from(read).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(moved);
        self.left -= moved;
        Ok(read)
    }
}

impl Seek for Bounded<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The language of the file of `len` bytes; [`Language::Unknown`] if it is no ELF file or contradicts itself.
pub(super) fn language(file: &File, len: u64) -> Language {
    let data = ReadCache::new(Bounded { file, at: 0, len, left: MAX_READ_BYTES });
    let found = match FileKind::parse(&data) {
        Ok(FileKind::Elf64) => of_elf::<FileHeader64<Endianness>, _>(&data),
        Ok(FileKind::Elf32) => of_elf::<FileHeader32<Endianness>, _>(&data),
        _ => None,
    };
    found.unwrap_or(Language::Unknown)
}

/// `None`: the tables can't be read.
fn of_elf<'d, E: FileHeader<Endian = Endianness>, R: ReadRef<'d>>(data: R) -> Option<Language> {
    let header = E::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let elf = Elf { header, endian, sections: header.sections(endian, data).ok()?, data };
    let symbols = elf.symbols().unwrap_or_default();
    let found = elf
        .by_section()
        .or_else(|| elf.by_note())
        .or(symbols.runtime)
        .or_else(|| symbols.has_addons.then(|| elf.runtime_of_addons()))
        .or_else(|| elf.is_rust().then_some(Language::Rust))
        .or_else(|| (symbols.has_cpp || elf.holds(marks::CPP_TEXT)).then_some(Language::Cpp));
    Some(found.unwrap_or(Language::Generic))
}

/// What the dynamic symbols say.
#[derive(Default)]
struct Symbols {
    runtime: Option<Language>,
    has_addons: bool,
    has_cpp: bool,
}

struct Elf<'d, E: FileHeader, R: ReadRef<'d>> {
    header: &'d E,
    endian: Endianness,
    sections: SectionTable<'d, E, R>,
    data: R,
}

impl<'d, E: FileHeader<Endian = Endianness>, R: ReadRef<'d>> Elf<'d, E, R> {
    fn by_section(&self) -> Option<Language> {
        let names = self.sections.iter().filter_map(|of| self.sections.section_name(self.endian, of).ok());
        let known = |name: &[u8]| marks::SECTIONS.iter().find(|(section, _)| name.starts_with(section));
        names.filter_map(known).map(|(_, language)| *language).next()
    }

    /// Go's note is mapped into the program, so it is there without a table of sections too.
    fn by_note(&self) -> Option<Language> {
        let segments = self.header.program_headers(self.endian, self.data).ok()?;
        let notes = segments.iter().filter_map(|of| of.notes(self.endian, self.data).ok().flatten());
        let mut names = notes.flat_map(|mut notes| {
            iter::from_fn(move || notes.next().ok().flatten()).take(MAX_NOTES).map(|note| note.name())
        });
        names.any(|name| name.trim_ascii_end() == marks::GO_NOTE).then_some(Language::Go)
    }

    fn symbols(&self) -> Option<Symbols> {
        let table = self.sections.symbols(self.endian, self.data, elf::SHT_DYNSYM).ok()?;
        let mut found = Symbols::default();
        for symbol in table.iter().take(MAX_SYMBOLS) {
            let Ok(name) = symbol.name(self.endian, table.strings()) else { continue };
            let is_own = !symbol.is_undefined(self.endian);
            found.runtime = marks::runtime(name, is_own);
            if found.runtime.is_some() {
                return Some(found);
            }
            found.has_addons |= is_own && name == marks::ADDONS;
            found.has_cpp |= marks::CPP_SYMBOLS.iter().any(|mark| name.starts_with(mark));
        }
        Some(found)
    }

    /// Both take the addons of Node.js, export none of its own functions, and hold Rust: so by what only they read.
    fn runtime_of_addons(&self) -> Language {
        let mark = marks::RUNTIMES_OF_ADDONS.iter().find(|(text, _)| self.holds(text));
        let by_compiler = || if self.is_rust() { Language::Deno } else { Language::Bun };
        mark.map_or_else(by_compiler, |(_, language)| *language)
    }

    fn is_rust(&self) -> bool {
        let comment = self.section(b".comment", MAX_COMMENT_BYTES).unwrap_or_default();
        memmem::find(comment, marks::RUST_COMMENT).is_some() || self.holds(marks::RUST_TEXT)
    }

    /// Whether the constants hold `text`: those of `.rodata`, or of what is mapped where there is no such section.
    fn holds(&self, text: &[u8]) -> bool {
        let is_there = |bytes: &[u8]| memmem::find(bytes, text).is_some();
        self.section(b".rodata", MAX_TEXT_BYTES).map_or_else(|| self.any_segment(is_there), is_there)
    }

    fn section(&self, name: &[u8], most: u64) -> Option<&'d [u8]> {
        let (_, section) = self.sections.section_by_name(self.endian, name)?;
        let (offset, size) = section.file_range(self.endian)?;
        self.data.read_bytes_at(offset, size.min(most)).ok()
    }

    fn any_segment(&self, is_there: impl Fn(&[u8]) -> bool) -> bool {
        let segments = self.header.program_headers(self.endian, self.data).unwrap_or_default();
        let loaded = segments.iter().filter(|of| of.p_type(self.endian) == elf::PT_LOAD);
        let mut left = MAX_TEXT_BYTES;
        let bytes = loaded.filter_map(|of| {
            let (offset, size) = of.file_range(self.endian);
            let size = size.min(left);
            left -= size;
            self.data.read_bytes_at(offset, size).ok()
        });
        bytes.filter(|bytes| is_there(bytes)).count() > 0
    }
}
