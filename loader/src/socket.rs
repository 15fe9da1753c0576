//! The socket that a processor connects to: a path of ours, under a lock of ours.
//!
//! Who holds `<path>.lock` owns the path; the lock is never unlinked, as two loaders could else lock two files of one
//! name. The socket is bound beside its path, given its group and mode, and renamed over it: at its own path it never
//! has another mode, and a stale one is replaced in one step. What could happen between the check of the path and the
//! rename needs write access to the directory, which only root, the directory's owner or we have: the directory is
//! checked, the race is not closed.

use crate::error::{EXIT_PERMISSION, EXIT_UNAVAILABLE, EXIT_USAGE};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, geteuid};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const DIRECTORY_MODE: u32 = 0o750;
const SOCKET_MODE: u32 = 0o660;
const LOCK_MODE: u32 = 0o600;
/// `sun_path` without its NUL.
const MAX_PATH_BYTES: usize = 107;
const LOCK_SUFFIX: &str = ".lock";
const NEW_SUFFIX: &str = ".new";

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// No room in a socket address.
    #[error("socket path {} has more than {} bytes: choose a shorter one", .0.display(), MAX_PATH_BYTES - NEW_SUFFIX.len())]
    PathTooLong(PathBuf),
    /// Not an absolute path of a file.
    #[error("socket path {} is not an absolute path of a file: give one, as /run/ratatosk/agent.sock", .0.display())]
    NotAPath(PathBuf),
    /// Another loader runs.
    #[error("another loader holds {}: stop it, or give this one another socket path", .0.display())]
    Locked(PathBuf),
    /// Somebody listens there, without our lock.
    #[error("somebody listens on {}: stop that process, or give another socket path", .0.display())]
    InUse(PathBuf),
    /// Something that is not a socket.
    #[error("{} is {kind}, not a socket: remove it, or give another socket path", .path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
        /// In words.
        kind: &'static str,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to uid {uid}, not to us: remove it, or give another socket path", .path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Anybody could replace the socket.
    #[error("directory {} is writable by everybody: chmod o-w, or give another socket path", .0.display())]
    OpenDirectory(PathBuf),
    /// A step failed.
    #[error("can't {step} {}: {source}", .path.display())]
    Step {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SocketError {
    /// The process exit code of this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::PathTooLong(_) | Self::NotAPath(_) => EXIT_USAGE,
            Self::Foreign { .. } | Self::OpenDirectory(_) => EXIT_PERMISSION,
            Self::Step { source, .. } if source.kind() == ErrorKind::PermissionDenied => EXIT_PERMISSION,
            Self::Locked(_) | Self::InUse(_) | Self::NotASocket { .. } | Self::Step { .. } => {
                EXIT_UNAVAILABLE
            }
        }
    }

    fn step(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Step { step, path: path.to_owned(), source }
    }
}

/// A listening socket, and the lock on its path. Dropping it leaves the path; [`BoundSocket::unlink`] does not.
#[derive(Debug)]
pub struct BoundSocket {
    /// For `server`.
    pub listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
    _lock: Flock<File>,
}

impl BoundSocket {
    /// Removes the socket from its path, if it is still ours. For a clean exit.
    pub fn unlink(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Listens on `path`; `processor_gid` may connect.
///
/// # Errors
/// [`SocketError`], one line that says what to do.
pub fn listen(path: &Path, processor_gid: Option<u32>) -> Result<BoundSocket, SocketError> {
    let directory = parent(path)?;
    own_directory(directory, processor_gid)?;
    let lock = lock(path)?;
    clear(path)?;
    let new = with_suffix(path, NEW_SUFFIX);
    // Left by a loader that died between bind and rename.
    clear(&new)?;
    remove_socket(&new)?;
    let listener = UnixListener::bind(&new).map_err(SocketError::step("bind", &new))?;
    hand_over(&new, SOCKET_MODE, processor_gid)?;
    let made = fs::symlink_metadata(&new).map_err(SocketError::step("look at", &new))?;
    fs::rename(&new, path).map_err(SocketError::step("put the socket at", path))?;
    Ok(BoundSocket { listener, path: path.to_owned(), inode: identity(&made), _lock: lock })
}

fn parent(path: &Path) -> Result<&Path, SocketError> {
    if path.as_os_str().len() + NEW_SUFFIX.len() > MAX_PATH_BYTES {
        return Err(SocketError::PathTooLong(path.to_owned()));
    }
    let parent = path.parent().filter(|_| path.is_absolute() && path.file_name().is_some());
    parent.ok_or_else(|| SocketError::NotAPath(path.to_owned()))
}

/// Makes the directory, or checks that nobody but its owner, root or we, can replace what is in it.
fn own_directory(directory: &Path, processor_gid: Option<u32>) -> Result<(), SocketError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        // The umask may have taken bits away.
        Ok(()) => return hand_over(directory, DIRECTORY_MODE, processor_gid),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(SocketError::step("create directory", directory)(error)),
    }
    let found = fs::metadata(directory).map_err(SocketError::step("look at", directory))?;
    let is_sticky = found.mode() & 0o1000 != 0;
    if found.mode() & 0o002 != 0 && !is_sticky {
        return Err(SocketError::OpenDirectory(directory.to_owned()));
    }
    if found.uid() == 0 { Ok(()) } else { check_owner(directory, &found) }
}

/// Takes the lock beside the path; it ends with the last process that inherited it.
fn lock(path: &Path) -> Result<Flock<File>, SocketError> {
    let path = with_suffix(path, LOCK_SUFFIX);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(LOCK_MODE);
    // A symlink could make us create a file elsewhere, a FIFO could block us.
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(&path).map_err(SocketError::step("open", &path))?;
    let found = file.metadata().map_err(SocketError::step("look at", &path))?;
    check_owner(&path, &found)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => SocketError::Locked(path),
        error => SocketError::step("lock", &path)(error.into()),
    })
}

/// Checks that `path` is free, or a socket of ours that nobody serves.
fn clear(path: &Path) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SocketError::step("look at", path)(error)),
    };
    if let Some(kind) = other_kind(&found) {
        return Err(SocketError::NotASocket { path: path.to_owned(), kind });
    }
    check_owner(path, &found)?;
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        // A full backlog, or a socket of another type: somebody is there.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(SocketError::InUse(path.to_owned())),
        Err(error) => Err(SocketError::step("probe", path)(error)),
    }
}

fn other_kind(found: &Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    match () {
        () if kind.is_socket() => None,
        () if kind.is_symlink() => Some("a symbolic link"),
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_file() => Some("a file"),
        () => Some("a special file"),
    }
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), SocketError> {
    if found.uid() == geteuid().as_raw() {
        return Ok(());
    }
    Err(SocketError::Foreign { path: path.to_owned(), uid: found.uid() })
}

fn remove_socket(path: &Path) -> Result<(), SocketError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(SocketError::step("remove", path)(error)),
        _ => Ok(()),
    }
}

fn hand_over(path: &Path, mode: u32, processor_gid: Option<u32>) -> Result<(), SocketError> {
    let gid = processor_gid.map(Gid::from_raw);
    nix::unistd::chown(path, None, gid)
        .map_err(io::Error::from)
        .map_err(SocketError::step("give the processor's group access to", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(SocketError::step("set the mode of", path))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
