//! What names this run: boot id, epoch, and how boot time relates to wall time.

use crate::server::kernel::Kernel;
use ratatosk_proto::v1::ClockPair;
use std::time::{SystemTime, UNIX_EPOCH};

/// Readings to choose the narrowest of: one preemption in between would else widen the pair.
const CLOCK_READINGS: usize = 3;

/// What names this run of `server`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// As the kernel prints it.
    pub boot_id: String,
    /// Random, drawn at each start.
    pub epoch: u64,
}

impl Identity {
    /// Reads the boot id and draws an epoch.
    ///
    /// # Errors
    /// If `/proc/sys/kernel/random` can't be read.
    pub fn draw() -> std::io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        // Not std's RandomState: a forked child inherits its seed, so two servers would draw the same.
        let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        Ok(Self { boot_id: boot_id.trim().to_owned(), epoch: fold(&uuid) })
    }
}

/// Both halves of a uuid over each other, as its version bits are constant.
fn fold(uuid: &str) -> u64 {
    let digits = uuid.chars().filter_map(|c| c.to_digit(16)).map(u64::from);
    digits.fold(0, |word: u64, digit| word.rotate_left(4) ^ digit)
}

/// Boot time and wall time of one moment.
pub fn clock_pair<K: Kernel>(kernel: &K) -> ClockPair {
    let readings = (0..CLOCK_READINGS).map(|_| read_pair(kernel));
    readings.min_by_key(|pair| pair.error_ns).unwrap_or_default()
}

fn read_pair<K: Kernel>(kernel: &K) -> ClockPair {
    let before_ns = kernel.now();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let error_ns = kernel.now().saturating_sub(before_ns) / 2;
    let unix_ns = u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX);
    ClockPair { boottime_ns: before_ns + error_ns, unix_ns, error_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_epochs_differ_and_share_their_boot() {
        let (first, second) = (Identity::draw().expect("proc"), Identity::draw().expect("proc"));
        assert_ne!(first.epoch, second.epoch);
        assert_eq!(first.boot_id, second.boot_id);
        assert_eq!(first.boot_id.len(), 36);
    }
}
