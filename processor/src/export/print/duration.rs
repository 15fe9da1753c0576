//! Durations as Go prints them, because Beyla's users have scripts that read them: `15.2µs`, `1.5s`, `1m30s`.
//!
//! spec <https://pkg.go.dev/time#Duration.String>

use std::{fmt, time::Duration};

const US: u128 = 1_000;
const MS: u128 = 1_000_000;
const S: u128 = 1_000_000_000;

/// Displays a duration in the notation of Go.
pub(super) struct GoDuration(pub(super) Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos();
        match ns {
            0 => f.write_str("0s"),
            1..US => write!(f, "{ns}ns"),
            US..MS => decimal(f, ns, US, "µs"),
            MS..S => decimal(f, ns, MS, "ms"),
            _ => hours(f, ns),
        }
    }
}

/// Hours appear only if there are some; once they do, minutes appear too.
fn hours(f: &mut fmt::Formatter<'_>, ns: u128) -> fmt::Result {
    let minutes = ns / (60 * S);
    if minutes >= 60 {
        write!(f, "{}h", minutes / 60)?;
    }
    if minutes > 0 {
        write!(f, "{}m", minutes % 60)?;
    }
    decimal(f, ns % (60 * S), S, "s")
}

/// `ns` in `unit`s, without trailing zeros.
fn decimal(f: &mut fmt::Formatter<'_>, ns: u128, unit: u128, name: &str) -> fmt::Result {
    let width = usize::try_from(unit.ilog10()).unwrap_or(0);
    let digits = format!("{:0width$}", ns % unit);
    let fraction = digits.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    write!(f, "{}{point}{fraction}{name}", ns / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        // Pairs as `time.Duration(n).String()` gives them.
        for (ns, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (1_100, "1.1µs"),
            (15_200, "15.2µs"),
            (999_999, "999.999µs"),
            (1_000_000, "1ms"),
            (1_234_567, "1.234567ms"),
            (2_200_000, "2.2ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (3_300_000_001, "3.300000001s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (3_600_000_000_000, "1h0m0s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(ns)).to_string(), text);
        }
    }
}
