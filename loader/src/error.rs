//! Why the loader ends, and the exit code that tells a supervisor whether to try again.

use crate::attach::AttachError;
use crate::policy::PolicyError;
use crate::privilege::{caps::CapsError, seccomp::SeccompError};
use crate::process::server::ServerError;
use crate::socket::SocketError;

/// Exit code for a wrong command line or configuration (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// Exit code for something missing or in use (`EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code for an error that another start may not repeat (`EX_SOFTWARE`).
pub const EXIT_SOFTWARE: u8 = 70;
/// Exit code for a missing permission (`EX_NOPERM`).
pub const EXIT_PERMISSION: u8 = 77;

/// Why the loader ends.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// A command line or configuration that means nothing.
    #[error("{0}")]
    Usage(String),
    /// Something is missing or in use.
    #[error("{0}")]
    Unavailable(String),
    /// A permission is missing.
    #[error("{0}")]
    Permission(String),
    /// What may be observed is not known for sure.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The listening socket can't be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The process `server` can't go on.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// `server` ended with an exit code that a new start would only repeat; it said why.
    #[error("server ended for good with exit code {0}")]
    ServerEnded(u8),
    /// No probe is at work.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Capabilities are not what they must be.
    #[error("{0}; the loader ends rather than run with rights that it should not have")]
    Caps(#[from] CapsError),
    /// No seccomp filter.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
}

impl LoaderError {
    /// The process exit code of this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Attach(AttachError::UnknownTier(_) | AttachError::DeniedTier(..)) => {
                EXIT_USAGE
            }
            Self::Policy(PolicyError::File(error)) if error.is_permission() => EXIT_PERMISSION,
            Self::Policy(_) => EXIT_USAGE,
            Self::Unavailable(_) | Self::Attach(_) | Self::Seccomp(_) => EXIT_UNAVAILABLE,
            Self::Permission(_) | Self::Caps(_) => EXIT_PERMISSION,
            Self::ServerEnded(code) => *code,
            // not final: the attacher forks another server
            Self::Server(_) => EXIT_SOFTWARE,
            Self::Socket(error) => error.exit_code(),
        }
    }
}
