//! Runs the whole agent for the tests: real kernel, real servers, real clients, loopback only.
//!
//! This is test code, so a helper that can't do its work panics with what it wanted. Every test asks [`guard`] first: it
//! gives the machine to one test at a time, or says loudly why the test can't run.

#![allow(clippy::missing_panics_doc, reason = "test helpers panic with what they wanted")]

pub mod accounts;
pub mod agent;
pub mod backend;
pub mod client;
pub mod component;
pub mod load;
pub mod metrics;
pub mod mixed;
pub mod process;
pub mod runtime;
pub mod server;
pub mod span;
pub mod stage;
pub mod told;

pub use agent::{Agent, Options};
pub use span::Span;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The machine has one kernel: one agent at a time.
static MACHINE: Mutex<()> = Mutex::new(());

/// Gives the machine to the test `name`, or prints why it is skipped.
#[must_use]
pub fn guard(name: &str) -> Option<MutexGuard<'static, ()>> {
    let reason = if !nix::unistd::geteuid().is_root() {
        Some("needs root")
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("the kernel has no BTF")
    } else {
        None
    };
    if let Some(reason) = reason {
        println!("skipped: {name}: {reason}");
        return None;
    }
    Some(MACHINE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Looks every 20 ms until something is found, and panics after `patience`.
pub fn wait_until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
