//! The privileged side of Ratatosk: loads the probes, gives everything up, streams raw records.

pub mod standalone;
