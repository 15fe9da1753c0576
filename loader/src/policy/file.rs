//! Reading a file that only root can have written.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Longest file: four lists of [`super::MAX_ENTRIES`] long paths would be less.
pub const MAX_BYTES: u64 = 1 << 20;
/// Write permission of group and others.
const OTHERS_MAY_WRITE: u32 = 0o022;
/// In such a directory nobody replaces what belongs to somebody else.
const STICKY: u32 = 0o1000;

/// Why the file is not taken for what root wrote.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("policy {0} does not exist: write it, or name no policy to permit everything")]
    Missing(String),
    /// It is a symbolic link.
    #[error(
        "policy {0} is a symbolic link, whose target somebody may change: name the file itself (in Kubernetes mount \
         it by subPath)"
    )]
    Symlink(String),
    /// It is a directory, a pipe or a device.
    #[error("policy {0} is no regular file")]
    NotRegular(String),
    /// Somebody else than root owns it, or a directory on the way to it.
    #[error("policy {policy}: {path} belongs to uid {uid}, not to root: run chown root {path}")]
    Owner {
        /// The policy.
        policy: String,
        /// What is not root's.
        path: String,
        /// Whose it is.
        uid: u32,
    },
    /// Group or others may write it, or a directory on the way to it.
    #[error(
        "policy {policy}: {path} has mode {mode:o}, so others than root can write it: run chmod go-w {path}"
    )]
    Writable {
        /// The policy.
        policy: String,
        /// What others can write.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// It is longer than [`MAX_BYTES`].
    #[error("policy {0} is longer than {MAX_BYTES} bytes")]
    TooLong(String),
    /// It can't be read.
    #[error("policy {path}: {source}")]
    Io {
        /// The policy.
        path: String,
        /// What the kernel says.
        source: io::Error,
    },
}

impl FileError {
    /// Whether it is a matter of trust, and not of a wrong name.
    #[must_use]
    pub const fn is_permission(&self) -> bool {
        !matches!(self, Self::Missing(_) | Self::NotRegular(_) | Self::TooLong(_))
    }
}

/// The text of `path`, if nobody but root can have written or replaced it.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path) -> Result<String, FileError> {
    let policy = path.display().to_string();
    let failed = |source: io::Error| match (source.kind(), source.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => FileError::Missing(policy.clone()),
        (_, Some(libc::ELOOP)) => FileError::Symlink(policy.clone()),
        _ => FileError::Io { path: policy.clone(), source },
    };
    let (directory, path) = place(path).map_err(failed)?;
    for directory in directory.ancestors() {
        check(&policy, directory, &directory.metadata().map_err(failed)?)?;
    }
    // O_NONBLOCK: a pipe in its place must not hold the start
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(policy));
    }
    check(&policy, &path, &metadata)?;
    read_bounded(file).map_err(failed)?.ok_or_else(|| FileError::TooLong(policy.clone()))
}

/// The directory without any link in its path, and the file in it, which may still be one.
fn place(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let path = std::path::absolute(path)?;
    let directory = path.parent().unwrap_or(Path::new("/")).canonicalize()?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let path = directory.join(name);
    Ok((directory, path))
}

fn check(policy: &str, path: &Path, metadata: &Metadata) -> Result<(), FileError> {
    let (policy, path) = (policy.to_owned(), path.display().to_string());
    let mode = metadata.mode() & 0o7777;
    let is_guarded = metadata.is_dir() && mode & STICKY != 0;
    if metadata.uid() != 0 {
        Err(FileError::Owner { policy, path, uid: metadata.uid() })
    } else if mode & OTHERS_MAY_WRITE != 0 && !is_guarded {
        Err(FileError::Writable { policy, path, mode })
    } else {
        Ok(())
    }
}

/// `None`: longer than [`MAX_BYTES`].
fn read_bounded(file: File) -> io::Result<Option<String>> {
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    Ok(u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES).then_some(text))
}
