//! What an answer says. Fields are only added, and both sides ignore what they do not know: versions may differ.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Processes in one answer: half a megabyte of JSON.
pub const MAX_PAGE: usize = 1000;

/// The answer to one question.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Report {
    /// Version of the processor.
    pub processor_version: String,
    /// The other side.
    pub loader: Loader,
    /// Every tier, the best first; empty from a loader that does not tell.
    pub tiers: Vec<Tier>,
    /// What selects.
    pub selectors: Vec<Setting>,
    /// How many processes stand how, over all that run.
    pub counts: Vec<Count>,
    /// Processes that fit the question.
    pub total: usize,
    /// How many of these come before the first one here.
    pub offset: usize,
    /// A page of them: observed first, then by state; those that listen before the others; then by pid.
    pub processes: Vec<Process>,
}

/// The line to the loader.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Loader {
    /// A tier is at work and all processes were announced.
    pub is_ready: bool,
    /// The same in a line for people.
    pub status: String,
    /// Of the loader that spoke last, empty before.
    pub version: String,
}

/// A probe family that carries payload.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// `at_work`, `failed`, `not_tried`, or a word of a newer loader.
    pub state: String,
    /// Why it is not at work.
    pub reason: String,
    /// What it can't see.
    pub lacks: Vec<String>,
}

/// A setting that selects.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Setting {
    /// As it was set, or where it stands.
    pub name: String,
    /// As it was understood; empty for an entry of a list.
    pub value: String,
}

/// Processes of one state and reason.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Count {
    /// As [`Process::state`].
    pub state: String,
    /// As [`Process::reason`].
    pub reason: String,
    /// How many.
    pub processes: u64,
}

/// One process.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Process {
    /// In the loader's pid namespace.
    pub pid: u32,
    /// Its parent's.
    pub parent_pid: u32,
    /// Start since boot, nanoseconds.
    pub start_ns: u64,
    /// Path of its executable, cut to 256 characters; none if it could not be read.
    pub exe: Option<String>,
    /// Its short name.
    pub comm: String,
    /// `service.name` of its telemetry.
    pub service: String,
    /// Ports that it listens on, the first 16.
    pub ports: Vec<u16>,
    /// `observed`, `no_traffic`, `denied`, `undecided`, `unreadable`, `not_selected`, `own`.
    pub state: String,
    /// A word for why, as in the metric `ratatosk_processes`.
    pub reason: String,
    /// The same for people, with setting and value.
    pub detail: String,
    /// Socket calls that were seen while it was selected.
    pub calls: u64,
    /// Exchanges that were put together from them.
    pub exchanges: u64,
    /// Those that were not, or not wholly, by reason, as in the metric `ratatosk_exchanges_incomplete_total`.
    pub left_out: BTreeMap<String, u64>,
    /// `traces`, `metrics`: what it was seen to export itself, by OTLP.
    pub exports: Vec<String>,
    /// `traces`, `metrics`, `span metrics`: what is therefore not told again.
    pub not_told_again: Vec<String>,
}
