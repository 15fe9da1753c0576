//! The directory in which the two sides meet.

use super::{
    Failure,
    users::{Accounts, LOADER_USER},
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::chown,
};
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The loader binds in it, the processor's group passes through it, nobody else sees what is inside.
const DIRECTORY_MODE: u32 = 0o750;
/// Type bits aside, the bits of a mode.
const MODE_BITS: u32 = 0o7777;

/// The socket's directory, held by one launcher at a time. Dropping it removes what the sides left behind.
#[derive(Debug)]
pub struct Room {
    socket: PathBuf,
    directory: PathBuf,
    created: bool,
    /// Of the directory itself: a lock that leaves no file.
    _lock: Flock<File>,
}

impl Room {
    /// Makes or adopts the directory of `socket`. A directory of somebody else is an error, never changed.
    pub fn prepare(socket: &Path, accounts: &Accounts) -> Result<Self, Failure> {
        let directory = directory_of(socket)?;
        let created = create(directory)?;
        let lock = lock(directory, socket)?;
        adopt(directory, accounts)?;
        Ok(Self { socket: socket.to_owned(), directory: directory.to_owned(), created, _lock: lock })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for path in leftovers(&self.socket) {
            let is_ours = fs::symlink_metadata(&path).is_ok_and(|m| m.file_type().is_socket() || m.is_file());
            if is_ours {
                let _ = fs::remove_file(path);
            }
        }
        if self.created {
            // Not empty: somebody put a file of their own there, which stays.
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

/// A side that was killed can't remove these itself.
fn leftovers(socket: &Path) -> [PathBuf; 2] {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    [socket.to_owned(), PathBuf::from(lock)]
}

fn directory_of(socket: &Path) -> Result<&Path, Failure> {
    let directory = socket.parent().filter(|parent| parent.is_absolute() && parent.parent().is_some());
    directory.ok_or_else(|| {
        Failure::usage(format!(
            "RATATOSK_SOCKET={} is no absolute path with a directory of its own: use /run/ratatosk/agent.sock",
            socket.display()
        ))
    })
}

fn create(directory: &Path) -> Result<bool, Failure> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Failure::unavailable(format!("{} can't be made: {error}", directory.display()))),
    }
}

fn lock(directory: &Path, socket: &Path) -> Result<Flock<File>, Failure> {
    let is_directory = fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_dir());
    if !is_directory {
        return Err(Failure::unavailable(format!("{} is not a directory: remove it", directory.display())));
    }
    let file = File::open(directory)
        .map_err(|error| Failure::unavailable(format!("{} can't be opened: {error}", directory.display())))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => Failure::unavailable(format!(
            "another launcher serves {}: stop it, or set RATATOSK_SOCKET to a path in another directory",
            socket.display()
        )),
        error => Failure::unavailable(format!("{} can't be locked: {}", directory.display(), error.desc())),
    })
}

/// Hands the directory to the two users. What is not plainly ours stays as it is: `/tmp` must not become 0750.
fn adopt(directory: &Path, accounts: &Accounts) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::unavailable(format!("{}: {error}", directory.display()));
    let metadata = fs::metadata(directory).map_err(failed)?;
    let (uid, gid) = (accounts.loader.uid, accounts.processor.gid);
    let owner_is_right = metadata.uid() == uid.as_raw() && metadata.gid() == gid.as_raw();
    if owner_is_right && metadata.mode() & MODE_BITS == DIRECTORY_MODE {
        return Ok(());
    }
    let is_fresh = metadata.uid() == 0 && metadata.mode() & 0o1022 == 0;
    let is_empty = fs::read_dir(directory).map_err(failed)?.next().is_none();
    if !owner_is_right && !(is_fresh && is_empty) {
        return Err(Failure::unavailable(format!(
            "{} belongs to uid {} and is neither empty nor {LOADER_USER}'s: choose another directory by RATATOSK_SOCKET",
            directory.display(),
            metadata.uid()
        )));
    }
    chown(directory, Some(uid), Some(gid)).map_err(|error| failed(error.into()))?;
    fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE)).map_err(failed)
}
