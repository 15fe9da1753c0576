//! Binaries where the two users can read them: a checkout under `/root` is closed to them.

use super::{Args, Failure};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::statvfs::{FsFlags, statvfs},
};
use std::{
    env,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
};

/// Where copies go, best first; the first that may hold executables is taken. Root's, so that no side can swap the other.
const ROOMS: [&str; 2] = ["/run/ratatosk-bin", "/var/lib/ratatosk-bin"];

/// The binaries as they were built or installed.
#[derive(Debug)]
pub struct Sources {
    /// Of the loader.
    pub loader: PathBuf,
    /// Of the processor.
    pub processor: PathBuf,
}

/// Copies for this run, in a directory of its own. Dropping it removes them.
#[derive(Debug, Default)]
pub struct Bin {
    room: Option<Copies>,
}

#[derive(Debug)]
struct Copies {
    directory: PathBuf,
    /// Held as long as the copies are in use; without a holder they are garbage of a killed launcher.
    _lock: Flock<File>,
}

impl Sources {
    /// The loader is this program; the processor is beside it or where `--processor` says.
    pub fn find(args: &Args) -> Result<Self, Failure> {
        let loader = args.loader.clone().map_or_else(own_path, Ok)?;
        let processor =
            args.processor.clone().map_or_else(|| Ok(own_path()?.with_file_name("ratatosk")), Ok)?;
        for path in [&loader, &processor] {
            if !path.is_file() {
                return Err(Failure::usage(format!(
                    "no binary at {}: build it with `make run`, or name it with --processor PATH",
                    path.display()
                )));
            }
        }
        Ok(Self { loader, processor })
    }
}

/// The processor's configuration file, named so that it is found from any directory.
pub fn settings(file: &Path) -> Result<PathBuf, Failure> {
    let found = fs::canonicalize(file)
        .and_then(|path| if path.is_file() { Ok(path) } else { Err(io::Error::other("not a regular file")) });
    found.map_err(|error| {
        Failure::usage(format!("the configuration file {} can't be used: {error}", file.display()))
    })
}

/// Path of a program that is installed beside this one.
pub fn beside_own(name: &str) -> Result<PathBuf, Failure> {
    Ok(own_path()?.with_file_name(name))
}

fn own_path() -> Result<PathBuf, Failure> {
    env::current_exe().map_err(|error| Failure::unavailable(format!("own path can't be read: {error}")))
}

impl Bin {
    /// Nothing copied yet.
    pub const fn new() -> Self {
        Self { room: None }
    }

    /// `source` itself if every user can run it, else a copy of it.
    pub fn reachable(&mut self, source: &Path) -> Result<PathBuf, Failure> {
        let full = fs::canonicalize(source)
            .map_err(|error| Failure::unavailable(format!("{}: {error}", source.display())))?;
        if is_reachable(&full) { Ok(full) } else { self.copy(&full) }
    }

    fn copy(&mut self, source: &Path) -> Result<PathBuf, Failure> {
        let directory = &match self.room.take() {
            Some(room) => self.room.insert(room),
            None => self.room.insert(Copies::make()?),
        }
        .directory;
        let name = source
            .file_name()
            .ok_or_else(|| Failure::usage(format!("{} is no file name", source.display())))?;
        let target = directory.join(name);
        copy_atomically(source, &target).map_err(|error| {
            Failure::unavailable(format!("{} can't be written: {error}", target.display()))
        })?;
        Ok(target)
    }
}

impl Copies {
    fn make() -> Result<Self, Failure> {
        let room = ROOMS.iter().find_map(|room| usable_room(Path::new(room)));
        let room = room.ok_or_else(|| {
            Failure::unavailable(format!(
                "binaries can't be copied: {} are read-only or noexec",
                ROOMS.join(" and ")
            ))
        })?;
        let failed = |error: io::Error| Failure::unavailable(format!("{}: {error}", room.display()));
        sweep(&room);
        let directory = room.join(process::id().to_string());
        // Left by a killed launcher that had our pid: of another boot, where the room is on disk.
        let _ = fs::remove_dir_all(&directory);
        make_directory(&directory).map_err(failed)?;
        let file = File::open(&directory).map_err(failed)?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| failed(error.into()))?;
        Ok(Self { directory, _lock: lock })
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
        if let Some(room) = self.directory.parent() {
            // Fails while another launcher has copies there, as it should.
            let _ = fs::remove_dir(room);
        }
    }
}

/// Every directory above lets everybody pass, everybody may run the file, and the file system does not forbid it.
fn is_reachable(path: &Path) -> bool {
    let has =
        |path: &Path, bits: u32| fs::metadata(path).is_ok_and(|m| m.permissions().mode() & bits == bits);
    has(path, 0o005) && path.ancestors().skip(1).all(|parent| has(parent, 0o001)) && may_execute(path)
}

fn may_execute(path: &Path) -> bool {
    statvfs(path).is_ok_and(|fs| !fs.flags().contains(FsFlags::ST_NOEXEC))
}

fn usable_room(room: &Path) -> Option<PathBuf> {
    make_directory(room).ok()?;
    if may_execute(room) {
        return Some(room.to_owned());
    }
    let _ = fs::remove_dir(room);
    None
}

/// 0755 whatever the umask; an existing directory must be root's own.
fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != 0 {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "not a directory of root"));
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Removes copies whose launcher is gone (it was killed).
fn sweep(room: &Path) {
    let Ok(entries) = fs::read_dir(room) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(file) = File::open(&path) else { continue };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Never a half-written file under the final name, and never "text file busy".
fn copy_atomically(source: &Path, target: &Path) -> io::Result<()> {
    let fresh = target.with_extension("new");
    fs::copy(source, &fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o755))?;
    fs::rename(fresh, target)
}
