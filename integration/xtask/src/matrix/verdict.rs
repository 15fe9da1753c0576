//! What a guest's words come to.

use super::cells::{Cell, Claim};
use crate::vm::Ended;
use std::ops::AddAssign;

/// Tests by what became of them, as `scripts/test` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not those that only said that they can't run.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Ignored, or said `skipped:`.
    pub skipped: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Sums of libtest's sums. libtest knows no skip: such a test counts as passed there.
pub fn counts(printed: &str) -> Counts {
    let mut sum = Counts::default();
    for line in printed.lines().filter(|line| line.starts_with("test result:")) {
        sum += Counts {
            passed: number(line, "passed"),
            failed: number(line, "failed"),
            skipped: number(line, "ignored"),
        };
    }
    let skips = printed.lines().filter(|line| line.starts_with("skipped: ")).count();
    Counts { passed: sum.passed.saturating_sub(skips), skipped: sum.skipped + skips, ..sum }
}

/// The number before `what`.
fn number(line: &str, what: &str) -> usize {
    let mut words = line.split([' ', ';', '.']).filter(|word| !word.is_empty());
    let mut before = None;
    words.find_map(|word| if word == what { before } else { before.replace(word).and(None) });
    before.and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Everything that is wrong with a cell beside its failed tests.
pub fn complaints(cell: &Cell, ended: &Ended, printed: &str) -> Vec<String> {
    let code = match ended {
        Ended::Code(code) => *code,
        Ended::TimedOut { console } => {
            return vec![format!("ended after {} s; its console ends with:\n{console}", cell.limit)];
        }
        Ended::Died { console, .. } => {
            return vec![format!("the guest died; its console ends with:\n{console}")];
        }
    };
    let mut complaints = Vec::new();
    if code != expected_code(cell) && counts(printed).failed == 0 {
        complaints.push(format!("exit code {code} instead of {}", expected_code(cell)));
    }
    for claim in cell.claims {
        match claim {
            Claim::Says(text) if !printed.contains(text) => complaints.push(format!("{text:?} is not said")),
            Claim::Never(text) if printed.contains(text) => complaints.push(format!("{text:?} is said")),
            _ => {}
        }
    }
    complaints.extend(cell.tier.and_then(|tier| wrong_tier(tier, printed)));
    complaints
}

fn expected_code(cell: &Cell) -> u8 {
    let code =
        cell.claims.iter().find_map(|claim| if let Claim::Code(code) = claim { Some(*code) } else { None });
    code.unwrap_or_default()
}

/// Every test that names the tier at work must name this one, and one must.
fn wrong_tier(tier: &str, printed: &str) -> Option<String> {
    let named: Vec<&str> = printed.lines().filter_map(tier_of).collect();
    if named.is_empty() {
        return Some("no test said which tier is at work".to_owned());
    }
    named.into_iter().find(|name| *name != tier).map(|name| format!("tier {name} instead of {tier}"))
}

/// `tier inet: ...` of `carriers`, `..., tier inet` of `fidelity`.
fn tier_of(line: &str) -> Option<&str> {
    let rest =
        line.strip_prefix("tier ").or_else(|| line.split_once(" requests/s, tier ").map(|(_, rest)| rest))?;
    rest.split([':', ' ']).next()
}
