//! Which processes are observed: what the loader announces, matched against the selection.
//!
//! in   process, listen and info events, in the order of the stream
//! out  [`Decide`] and [`WantPorts`] for the loader; for the pipeline, whether a process is selected, and its service
//! keeps at most [`MAX_PROCESSES`] processes

mod processes;
mod rules;
mod selection;
mod standing;
#[cfg(test)]
mod tests;

pub use processes::{Discovery, MAX_PROCESSES, Sight};
pub use selection::{Matcher, SelectionError};
pub use standing::{Denial, Matched, Miss, Origin, Standing};

use ratatosk_proto::v1::{Decide, WantPorts};

/// What the processor asks the loader for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// About one process.
    Decide(Decide),
    /// About listening ports.
    WantPorts(WantPorts),
}
