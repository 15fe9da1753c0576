//! What an ELF file says about the language that it was written in. Every byte here may be made to harm.
//!
//! Only tables are read, by pread and never by mmap: a file that shrinks meanwhile must be an error, not a signal. The
//! `object` crate checks every offset; what it may read in all is bounded here, and the process by its limits.

use object::{
    Endianness, FileKind, ReadCache, ReadRef,
    elf::{FileHeader32, FileHeader64},
    read::elf::{FileHeader, SectionHeader, SectionTable, Sym},
};
use ratatosk_abi::Language;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

/// Bytes read of one file: the symbol names of the largest executables are some ten MiB.
const MAX_READ_BYTES: u64 = 96 << 20;
/// Symbols looked at: Chromium-sized programs have some hundred thousand.
const MAX_SYMBOLS: usize = 1 << 20;
/// Bytes of `.comment` looked at: compilers leave a line each.
const MAX_COMMENT_BYTES: u64 = 64 << 10;
/// Bytes of `.rodata` searched for traces of a compiler.
const MAX_RODATA_BYTES: u64 = 16 << 20;

/// Exported symbols (or their beginnings) by which a runtime that is linked into its executable is known.
const EXPORTS: [(&[u8], Language); 13] = [
    (b"Py_BytesMain", Language::Python),
    (b"Py_Main", Language::Python),
    (b"_ZN4node", Language::Nodejs),
    (b"ruby_run_node", Language::Ruby),
    (b"ruby_exec_node", Language::Ruby),
    (b"zend_startup", Language::Php),
    (b"php_request_startup", Language::Php),
    (b"DotNetRuntimeInfo", Language::Dotnet),
    (b"DotNetRuntimeDebugHeader", Language::Dotnet),
    (b"JNI_CreateJavaVM", Language::Java),
    (b"graal_create_isolate", Language::Java),
    (b"erts_", Language::Erlang),
    (b"erl_drv_", Language::Erlang),
];
/// Bun and Deno have the interface of Node's addons, and none of Node's own classes.
const NODE_ADDONS: &[u8] = b"napi_module_register";
/// Sections that only one compiler makes.
const SECTIONS: [(&[u8], Language); 4] = [
    (b".go.buildinfo", Language::Go),
    (b".note.go.buildid", Language::Go),
    (b".svm_heap", Language::Java),
    (b".bun", Language::Bun),
];

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
    let sections = header.sections(endian, data).ok()?;
    let found = by_section(&sections, endian)
        .or_else(|| by_export(&sections, endian, data))
        .or_else(|| by_compiler(&sections, endian, data));
    Some(found.unwrap_or(Language::Generic))
}

fn by_section<'d, E: FileHeader<Endian = Endianness>, R: ReadRef<'d>>(
    sections: &SectionTable<'d, E, R>,
    endian: Endianness,
) -> Option<Language> {
    let is_there = |name: &[u8]| {
        sections.iter().any(|section| sections.section_name(endian, section).is_ok_and(|found| found == name))
    };
    SECTIONS.iter().find(|(name, _)| is_there(name)).map(|(_, language)| *language)
}

fn by_export<'d, E: FileHeader<Endian = Endianness>, R: ReadRef<'d>>(
    sections: &SectionTable<'d, E, R>,
    endian: Endianness,
    data: R,
) -> Option<Language> {
    let symbols = sections.symbols(endian, data, object::elf::SHT_DYNSYM).ok()?;
    let (mut has_addons, mut has_cpp) = (false, false);
    for symbol in symbols.iter().take(MAX_SYMBOLS) {
        let Ok(name) = symbol.name(endian, symbols.strings()) else { continue };
        let is_own = !symbol.is_undefined(endian);
        let runtime = EXPORTS.iter().find(|(export, _)| name.starts_with(export));
        if let Some((_, language)) = runtime.filter(|_| is_own) {
            return Some(*language);
        }
        has_addons |= is_own && name == NODE_ADDONS;
        has_cpp |= name.starts_with(b"_ZNSt") || name.starts_with(b"_ZSt");
    }
    if has_addons {
        let is_rust = by_compiler(sections, endian, data) == Some(Language::Rust);
        return Some(if is_rust { Language::Deno } else { Language::Bun });
    }
    let is_cpp = has_cpp && by_compiler(sections, endian, data).is_none();
    is_cpp.then_some(Language::Cpp)
}

/// Rust leaves a line in `.comment`, and paths of its library in the texts of panics.
fn by_compiler<'d, E: FileHeader<Endian = Endianness>, R: ReadRef<'d>>(
    sections: &SectionTable<'d, E, R>,
    endian: Endianness,
    data: R,
) -> Option<Language> {
    let holds = |section: &[u8], most: u64, text: &[u8]| {
        let (_, section) = sections.section_by_name(endian, section)?;
        let (offset, size) = section.file_range(endian)?;
        let bytes = data.read_bytes_at(offset, size.min(most)).ok()?;
        bytes.windows(text.len()).any(|window| window == text).then_some(Language::Rust)
    };
    holds(b".comment", MAX_COMMENT_BYTES, b"rustc version")
        .or_else(|| holds(b".rodata", MAX_RODATA_BYTES, b"/rustc/"))
}
