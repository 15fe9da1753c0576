//! Which processes are observed: what the loader announces, matched against the selection.
//!
//! in   process, listen and info events, in the order of the stream
//! out  [`Decide`] and [`WantPorts`] for the loader; for the pipeline, whether a process is selected, and its service
//! keeps at most [`MAX_PROCESSES`] processes

mod declared;
mod denials;
mod look;
mod process;
mod processes;
mod rules;
pub mod sdk;
mod selection;
mod standing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_looks;

pub use denials::Denials;
pub use process::Sight;
pub use processes::{Discovery, MAX_PROCESSES};
pub use selection::{Matcher, SelectionError};
pub use standing::{Denial, Matched, Miss, Origin, Standing};

use ratatosk_proto::v1::{Decide, Examine, WantPorts};

/// What the processor asks the loader for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// About one process.
    Decide(Decide),
    /// About listening ports.
    WantPorts(WantPorts),
    /// To look into one process.
    Examine(Examine),
}
