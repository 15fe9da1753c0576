//! How the processor ends: exit codes by kind (sysexits.h), so that a supervisor knows what a restart can't mend.

use std::process::ExitCode;

/// Why the process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// As asked.
    Done = 0,
    /// The command line or a setting is wrong (`EX_USAGE`). A restart won't help.
    Usage = 64,
    /// Something it needs is taken or missing, such as a port (`EX_UNAVAILABLE`). A restart won't help.
    Unavailable = 69,
    /// A fault of the program itself (`EX_SOFTWARE`).
    Software = 70,
    /// It may not run as this user (`EX_NOPERM`). A restart won't help.
    Permission = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The processor was started with privileges that it must not have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "ratatosk reads bytes that strangers wrote and refuses to run as root (uid 0): start it as another user, \
     for example `setpriv --reuid=ratatosk --regid=ratatosk --clear-groups ratatosk`, \
     or start both sides with `ratatosk-loader standalone`"
)]
pub struct RootRefused;

/// Fails if the real, effective or saved uid is 0.
pub fn refuse_root() -> Result<(), RootRefused> {
    // The saved uid counts: a process could take it back.
    let is_root = nix::unistd::getresuid()
        .map_or(true, |ids| [ids.real, ids.effective, ids.saved].iter().any(|uid| uid.is_root()));
    refuse(is_root)
}

const fn refuse(is_root: bool) -> Result<(), RootRefused> {
    if is_root { Err(RootRefused) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_refused_with_a_way_out() {
        assert_eq!(refuse(false), Ok(()));
        let message = refuse(true).unwrap_err().to_string();
        assert!(message.contains("uid 0") && message.contains("ratatosk-loader standalone"), "{message}");
    }
}
