//! The loader's stream in a file: what tests, benches, the fuzz corpus and bug reports share.
//!
//! ```text
//! "RATATOSK" version:u8 header_len:u32le header:JSON { message_len:u32le message:LoaderMessage }*
//! ```
//! The header keeps what else decides about the spans: the key of the ids, and the selection.

use crate::{
    config::{PortRange, Rules, Selection},
    correlate::IdKey,
};
use prost::Message;
use ratatosk_proto::v1::LoaderMessage;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"RATATOSK";
const VERSION: u8 = 1;
/// Longest message or header that is read: a batch has 256 KiB.
const MAX_MESSAGE_BYTES: u32 = 16 << 20;

/// Why a recording can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file is there already.
    #[error("{} exists: choose another name, or remove it", .0.display())]
    Exists(PathBuf),
    /// The file can't be opened, written or read.
    #[error("{step} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no recording, or of another version.
    #[error("{} is no recording of version {VERSION}", .0.display())]
    NotARecording(PathBuf),
    /// It breaks off, or has bytes that are no message.
    #[error("{} is damaged at byte {offset}; what stands before was told", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where the damaged message begins.
        offset: u64,
    },
}

impl RecordingError {
    fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, path: path.to_owned(), source }
    }
}

/// What decides about the spans beside the stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Key of the ids.
    pub key: IdKey,
    /// What was observed.
    pub selection: Selection,
    /// Name of the machine: part of `service.instance.id`.
    pub host: String,
}

#[derive(Deserialize, Serialize)]
struct HeaderJson {
    key: IdKey,
    open_ports: Vec<(u16, u16)>,
    executables: Vec<String>,
    pids: Vec<u32>,
    #[serde(default)]
    host: String,
    #[serde(default)]
    rules: Rules,
}

impl From<&Header> for HeaderJson {
    fn from(header: &Header) -> Self {
        let Selection { open_ports, executables, pids, rules } = header.selection.clone();
        let open_ports = open_ports.into_iter().map(|range| (range.first, range.last)).collect();
        Self { key: header.key, open_ports, executables, pids, host: header.host.clone(), rules }
    }
}

impl From<HeaderJson> for Header {
    fn from(json: HeaderJson) -> Self {
        let ports = json.open_ports.into_iter();
        let open_ports = ports.map(|(first, last)| PortRange { first, last }).collect();
        let selection =
            Selection { open_ports, executables: json.executables, pids: json.pids, rules: json.rules };
        Self { key: json.key, selection, host: json.host }
    }
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Recorder {
    /// Begins a new file that only its owner can read: it holds what crossed the wire.
    ///
    /// # Errors
    /// [`RecordingError::Exists`], [`RecordingError::Io`].
    pub fn create(path: &Path, header: &Header) -> Result<Self, RecordingError> {
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::AlreadyExists => RecordingError::Exists(path.to_owned()),
                    _ => RecordingError::io("creating", path)(error),
                }
            })?;
        let mut recorder = Self { path: path.to_owned(), file: BufWriter::new(file) };
        let json = serde_json::to_vec(&HeaderJson::from(header)).unwrap_or_default();
        recorder.put(&[MAGIC.as_slice(), &[VERSION]].concat())?;
        recorder.put_sized(&json)?;
        Ok(recorder)
    }

    /// Appends `message`.
    ///
    /// # Errors
    /// [`RecordingError::Io`].
    pub fn write(&mut self, message: &LoaderMessage) -> Result<(), RecordingError> {
        self.put_sized(&message.encode_to_vec())
    }

    /// Everything reaches the file.
    ///
    /// # Errors
    /// [`RecordingError::Io`].
    pub fn finish(mut self) -> Result<(), RecordingError> {
        self.file.flush().map_err(RecordingError::io("writing", &self.path))
    }

    fn put_sized(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.put(&len.to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        self.file.write_all(bytes).map_err(RecordingError::io("writing", &self.path))
    }
}

/// Reads a recording.
#[derive(Debug)]
pub struct Player {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
    /// What was recorded beside the stream.
    pub header: Header,
}

impl Player {
    /// Opens a recording.
    ///
    /// # Errors
    /// [`RecordingError::Io`], [`RecordingError::NotARecording`].
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let not_one = || RecordingError::NotARecording(path.to_owned());
        let mut file = BufReader::new(File::open(path).map_err(RecordingError::io("opening", path))?);
        let mut magic = [0; 9];
        file.read_exact(&mut magic).map_err(|_| not_one())?;
        if magic != [MAGIC.as_slice(), &[VERSION]].concat().as_slice() {
            return Err(not_one());
        }
        let json = read_sized(&mut file).ok().flatten().ok_or_else(not_one)?;
        let header: HeaderJson = serde_json::from_slice(&json).map_err(|_| not_one())?;
        let offset = u64::try_from(magic.len() + 4 + json.len()).unwrap_or_default();
        Ok(Self { path: path.to_owned(), file, offset, header: header.into() })
    }

    /// The next message, `None` at the end.
    ///
    /// # Errors
    /// [`RecordingError::Damaged`] names the byte.
    pub fn next_message(&mut self) -> Result<Option<LoaderMessage>, RecordingError> {
        let damaged = || RecordingError::Damaged { path: self.path.clone(), offset: self.offset };
        let Some(bytes) = read_sized(&mut self.file).map_err(|_| damaged())? else { return Ok(None) };
        let message = LoaderMessage::decode(bytes.as_slice()).map_err(|_| damaged())?;
        self.offset += u64::try_from(4 + bytes.len()).unwrap_or_default();
        Ok(Some(message))
    }
}

fn read_sized(file: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    match file.read(&mut len)? {
        0 => return Ok(None),
        read => file.read_exact(len.get_mut(read..).unwrap_or_default())?,
    }
    let len = u32::from_le_bytes(len);
    if len > MAX_MESSAGE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    let read = file.take(len.into()).read_to_end(&mut bytes)?;
    if u32::try_from(read) == Ok(len) { Ok(Some(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatosk_proto::v1::{Tick, loader_message};

    fn header() -> Header {
        let open_ports = vec![PortRange { first: 80, last: 90 }];
        Header {
            key: [7; 16],
            selection: Selection { open_ports, pids: vec![1], ..Selection::default() },
            host: "h".into(),
        }
    }

    fn tick(watermark_ktime_ns: u64) -> LoaderMessage {
        let tick = Tick { watermark_ktime_ns, ..Tick::default() };
        LoaderMessage { kind: Some(loader_message::Kind::Tick(tick)) }
    }

    #[test]
    fn what_was_written_is_read_and_a_cut_file_says_where() {
        let dir = std::env::temp_dir().join(format!("ratatosk-recording-{}", std::process::id()));
        let mut recorder = Recorder::create(&dir, &header()).expect("created");
        recorder.write(&tick(1)).expect("written");
        recorder.write(&tick(2)).expect("written");
        recorder.finish().expect("flushed");
        assert!(matches!(Recorder::create(&dir, &header()), Err(RecordingError::Exists(_))));
        let bytes = std::fs::read(&dir).expect("read");
        std::fs::write(&dir, &bytes[..bytes.len() - 1]).expect("cut");
        let mut player = Player::open(&dir).expect("opened");
        assert_eq!(player.header, header());
        assert_eq!(player.next_message().expect("whole"), Some(tick(1)));
        let error = player.next_message().expect_err("cut");
        assert!(matches!(error, RecordingError::Damaged { offset, .. } if offset > 20), "{error}");
        std::fs::remove_file(&dir).expect("removed");
    }
}
