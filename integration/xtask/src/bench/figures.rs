//! Medians and spreads of rounds.

use std::fmt;

/// What several rounds say about one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Median.
    pub median: f64,
    /// Smallest.
    pub least: f64,
    /// Largest.
    pub most: f64,
}

impl Figure {
    /// Of at least one round.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = rounds.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) && middle > 0 {
            f64::midpoint(at(middle - 1), at(middle))
        } else {
            at(middle)
        };
        Self { median, least: at(0), most: at(sorted.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Figure {
    /// Median, then least and most.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.least, self.most)
    }
}

/// `a / b` of counts that a float holds exactly enough: below 2^53.
#[allow(
    clippy::cast_precision_loss,
    reason = "figures of a bench have six digits at most that mean something"
)]
pub fn per(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_ones() {
        assert_eq!(Figure::of([4.0, 1.0, 2.0, 3.0]), Figure { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Figure::of([7.0]).median, 7.0);
    }

    #[test]
    fn a_figure_shows_its_spread() {
        assert_eq!(format!("{:.1}", Figure::of([1.0, 2.0, 4.0])), "2.0 (1.0 to 4.0)");
    }
}
