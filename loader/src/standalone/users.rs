//! The two system users, and what the launcher itself must be allowed to do.

use super::{Failure, say};
use caps::{CapSet, Capability};
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use std::process::Command;

/// Name of the loader's user and group.
pub const LOADER_USER: &str = "ratatosk-loader";
/// Name of the processor's user and group.
pub const PROCESSOR_USER: &str = "ratatosk";

/// What the loader keeps through its exec, exactly.
pub const LOADER_CAPABILITIES: [Capability; 4] = [
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// What the launcher needs to become two other users and to hand them a directory.
const OWN_CAPABILITIES: [Capability; 5] = [
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_CHOWN,
    Capability::CAP_KILL,
];

/// One side's user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Account {
    /// Not 0.
    pub uid: Uid,
    /// Not 0.
    pub gid: Gid,
}

/// Both sides' users.
#[derive(Clone, Copy, Debug)]
pub struct Accounts {
    /// Of the loader.
    pub loader: Account,
    /// Of the processor.
    pub processor: Account,
}

impl Accounts {
    /// Looks both users up and creates what is missing. They stay when the launcher ends: files may carry their uids.
    pub fn ensure() -> Result<Self, Failure> {
        Ok(Self { loader: ensure(LOADER_USER)?, processor: ensure(PROCESSOR_USER)? })
    }
}

/// Refuses everybody but root with all that the launcher hands on.
pub fn require_root() -> Result<(), Failure> {
    if !geteuid().is_root() {
        let uid = geteuid();
        return Err(Failure::permission(format!(
            "standalone starts two other users and so must run as root, not as uid {uid}: try `sudo make run`"
        )));
    }
    let held = caps::read(None, CapSet::Permitted)
        .map_err(|error| Failure::permission(format!("own capabilities can't be read: {error}")))?;
    let needed = LOADER_CAPABILITIES.into_iter().chain(OWN_CAPABILITIES);
    let missing: Vec<String> = needed.filter(|cap| !held.contains(cap)).map(|cap| cap.to_string()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::permission(format!("root lacks {}: grant it to this container or unit", missing.join(", "))))
}

fn ensure(name: &str) -> Result<Account, Failure> {
    if let Some(account) = look_up(name)? {
        return Ok(account);
    }
    let created = create(name);
    // Another launcher may have been quicker: what counts is whether the user is there.
    let Some(account) = look_up(name)? else {
        created?;
        return Err(Failure::unavailable(format!("user {name} is missing although useradd created it")));
    };
    say(&format!(
        "created the system user {name} (uid {}); it stays, remove it with `userdel {name}`",
        account.uid
    ));
    Ok(account)
}

/// The user with the group of the same name (its primary group where that is missing).
fn look_up(name: &str) -> Result<Option<Account>, Failure> {
    let unreadable =
        |error: nix::Error| Failure::unavailable(format!("user {name} can't be looked up: {}", error.desc()));
    let Some(user) = User::from_name(name).map_err(unreadable)? else { return Ok(None) };
    let gid = Group::from_name(name).map_err(unreadable)?.map_or(user.gid, |group| group.gid);
    if user.uid.is_root() || gid.as_raw() == 0 {
        return Err(Failure::usage(format!("user {name} has uid or gid 0: give it others or remove it")));
    }
    Ok(Some(Account { uid: user.uid, gid }))
}

fn create(name: &str) -> Result<(), Failure> {
    let group_exists = matches!(Group::from_name(name), Ok(Some(_)));
    let mut command = Command::new("useradd");
    command.args([
        "--system",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/usr/sbin/nologin",
    ]);
    if group_exists {
        command.args(["--gid", name]);
    } else {
        command.arg("--user-group");
    }
    let status = command.arg(name).status().map_err(|error| {
        Failure::unavailable(format!("useradd can't be run ({error}): create the system user {name} by hand"))
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::unavailable(format!(
        "`useradd {name}` failed ({status}): create the system user {name} by hand"
    )))
}
