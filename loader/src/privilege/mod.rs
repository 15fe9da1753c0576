//! Giving rights up, and proving that they are gone.

pub mod caps;
pub mod process;
pub mod seccomp;
