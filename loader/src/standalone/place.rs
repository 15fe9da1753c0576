//! The directory in which the two sides meet, and the one in which the processor answers `ratatosk explain`.

use super::{Failure, users::Accounts};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

/// The loader binds in it, the processor's group passes through it, nobody else sees what is inside.
const DIRECTORY_MODE: u32 = 0o750;
/// Only the processor's user makes, and finds, anything in its own.
const OWN_DIRECTORY_MODE: u32 = 0o700;
/// Type bits aside, the bits of a mode.
const MODE_BITS: u32 = 0o7777;
/// Sticky, group and others' write: a shared directory, as `/tmp`.
const WRITABLE_BY_OTHERS: u32 = 0o1022;

/// The socket's directory, held by one launcher at a time. Dropping it removes what the sides left behind.
#[derive(Debug)]
pub struct Room {
    socket: PathBuf,
    directory: PathBuf,
    created: bool,
    /// Only what belongs to this uid is ours to remove.
    owner: u32,
    /// Of the directory itself: a lock that leaves no file.
    _lock: Flock<File>,
}

impl Room {
    /// Makes or adopts the directory of `socket`. A directory of somebody else is an error, never changed.
    pub fn prepare(socket: &Path, accounts: &Accounts) -> Result<Self, Failure> {
        let directory = directory_of(socket)?;
        let created = create(directory)?;
        let lock = lock(directory, socket)?;
        let owners = (accounts.loader.uid.as_raw(), accounts.processor.gid.as_raw());
        adopt(directory, &lock, owners, DIRECTORY_MODE, "RATATOSK_SOCKET")?;
        let owner = accounts.loader.uid.as_raw();
        Ok(Self { socket: socket.to_owned(), directory: directory.to_owned(), created, owner, _lock: lock })
    }
}

/// The processor's own directory. Dropping it removes what a killed processor left behind.
#[derive(Debug)]
pub struct Nook {
    /// The socket for `ratatosk explain`.
    pub socket: PathBuf,
    directory: PathBuf,
    created: bool,
    owner: u32,
}

impl Nook {
    /// Makes or adopts the directory of the socket: where `RATATOSK_EXPLAIN_SOCKET` says, else beside the directory of
    /// `socket`, as `ratatosk explain` looks for it.
    pub fn prepare(socket: &Path, given: Option<OsString>, accounts: &Accounts) -> Result<Self, Failure> {
        let socket = given
            .filter(|given| !given.is_empty())
            .map_or_else(|| beside(socket), |given| Ok(given.into()))?;
        let directory = directory_of(&socket)?.to_owned();
        let created = create_with(&directory, OWN_DIRECTORY_MODE)?;
        let owner = accounts.processor.uid.as_raw();
        let opened = open(&directory)?;
        let owners = (owner, accounts.processor.gid.as_raw());
        adopt(&directory, &opened, owners, OWN_DIRECTORY_MODE, "RATATOSK_EXPLAIN_SOCKET")?;
        Ok(Self { socket, directory, created, owner })
    }
}

impl Drop for Nook {
    fn drop(&mut self) {
        let is_ours = |m: Metadata| m.uid() == self.owner && m.file_type().is_socket();
        if fs::symlink_metadata(&self.socket).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.socket);
        }
        if self.created {
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

/// `/run/ratatosk-processor/explain.sock` for `/run/ratatosk/agent.sock`.
fn beside(socket: &Path) -> Result<PathBuf, Failure> {
    let mut own: OsString = directory_of(socket)?.as_os_str().to_owned();
    own.push("-processor");
    Ok(PathBuf::from(own).join("explain.sock"))
}

impl Drop for Room {
    fn drop(&mut self) {
        for path in leftovers(&self.socket) {
            let is_ours = |m: Metadata| m.uid() == self.owner && (m.file_type().is_socket() || m.is_file());
            if fs::symlink_metadata(&path).is_ok_and(is_ours) {
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
    create_with(directory, DIRECTORY_MODE)
}

fn create_with(directory: &Path, mode: u32) -> Result<bool, Failure> {
    match DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Failure::unavailable(format!("{} can't be made: {error}", directory.display()))),
    }
}

fn open(directory: &Path) -> Result<File, Failure> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags).open(directory).map_err(|error| {
        Failure::unavailable(format!("{} can't be opened as a directory: {error}", directory.display()))
    })
}

fn lock(directory: &Path, socket: &Path) -> Result<Flock<File>, Failure> {
    Flock::lock(open(directory)?, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => Failure::unavailable(format!(
            "another launcher serves {}: stop it, or set RATATOSK_SOCKET to a path in another directory",
            socket.display()
        )),
        error => Failure::unavailable(format!("{} can't be locked: {}", directory.display(), error.desc())),
    })
}

/// Hands the directory to its users. What is not plainly ours stays as it is: `/tmp` must not become 0750.
///
/// It works on the opened directory, so that nobody can put another one under the name meanwhile.
fn adopt(
    path: &Path,
    directory: &File,
    (uid, gid): (u32, u32),
    mode: u32,
    variable: &str,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::unavailable(format!("{}: {error}", path.display()));
    let metadata = directory.metadata().map_err(failed)?;
    let owner_is_right = metadata.uid() == uid && metadata.gid() == gid;
    if owner_is_right && metadata.mode() & MODE_BITS == mode {
        return Ok(());
    }
    let is_fresh = metadata.uid() == 0 && metadata.mode() & WRITABLE_BY_OTHERS == 0;
    let is_empty = fs::read_dir(path).map_err(failed)?.next().is_none();
    let may_be_ours = owner_is_right || (is_fresh && is_empty);
    if !may_be_ours {
        return Err(Failure::unavailable(format!(
            "{} belongs to uid {} and is no empty directory of root: choose another one by {variable}",
            path.display(),
            metadata.uid()
        )));
    }
    fchown(directory, Some(uid), Some(gid)).map_err(failed)?;
    directory.set_permissions(Permissions::from_mode(mode)).map_err(failed)
}
