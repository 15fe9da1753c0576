//! A unix socket of this user's alone.

use nix::{
    sys::stat::{Mode, umask},
    unistd::geteuid,
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// The directory, if it has to be made.
const DIRECTORY_MODE: u32 = 0o700;
/// Taken from the socket's mode: all that others could do with it.
const NOT_FOR_OTHERS: Mode = Mode::from_bits_truncate(0o177);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what happened")]
pub enum DoorError {
    #[error("{} has no directory that can be made ({source}); set {variable} to a path in a directory of this user", .path.display())]
    Directory { path: PathBuf, variable: String, source: io::Error },
    #[error("another program serves {}; set {variable} to another path", .path.display())]
    InUse { path: PathBuf, variable: String },
    #[error("{} can't be bound ({source}); set {variable} to a path in a directory of this user", .path.display())]
    Bind { path: PathBuf, variable: String, source: io::Error },
}

/// A bound socket, 0600. Dropping it removes it.
#[derive(Debug)]
pub struct Door {
    /// Listens, without blocking.
    pub listener: UnixListener,
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl Drop for Door {
    fn drop(&mut self) {
        // A successor may have taken the name already.
        if self.inode.is_some() && identity(&self.path) == self.inode {
            // What is left is found and replaced by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds `path`, which `variable` named. A socket that a dead process of this user left there is replaced.
///
/// # Errors
/// [`DoorError`].
pub fn open(path: &Path, variable: &str) -> Result<Door, DoorError> {
    let failed = |source| DoorError::Bind { path: path.to_owned(), variable: variable.to_owned(), source };
    make_directory(path).map_err(|source| DoorError::Directory {
        path: path.to_owned(),
        variable: variable.to_owned(),
        source,
    })?;
    if is_served(path) {
        return Err(DoorError::InUse { path: path.to_owned(), variable: variable.to_owned() });
    }
    remove_left(path).map_err(failed)?;
    let listener = bind(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Door { listener, path: path.to_owned(), inode: identity(path) })
}

fn make_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) else { return Ok(()) };
    DirBuilder::new().mode(DIRECTORY_MODE).create(directory)
}

fn is_served(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Only a socket, and only our own: whatever else has that name stays.
fn remove_left(path: &Path) -> io::Result<()> {
    let is_left = |m: fs::Metadata| m.file_type().is_socket() && m.uid() == geteuid().as_raw();
    if fs::symlink_metadata(path).is_ok_and(is_left) { fs::remove_file(path) } else { Ok(()) }
}

/// The mode is right from the first moment, not only after a chmod.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = umask(NOT_FOR_OTHERS);
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
