//! Figures of several runs, as medians with the least and the most.

use std::fmt;
use std::time::Duration;

/// The figures of one thing, in the order of the runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The ratio to `other`, run by run: a busy moment of the machine affects both.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// A percentile.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let sorted = self.sorted();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((last * percent).div_ceil(100)).copied()
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = self.sorted();
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
            return f.pad("none");
        };
        let middle = self.percentile(50).unwrap_or(f64::NAN);
        let (digits, width) = (f.precision().unwrap_or(2), f.width().unwrap_or(0));
        let text = format!("{middle:.digits$} ({least:.digits$} to {most:.digits$})");
        // Not by `pad`, which would cut the text at the precision.
        write!(f, "{text:<width$}")
    }
}

/// Milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_median_with_least_and_most() {
        let figures: Figures = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(format!("{figures:.1}"), "2.0 (1.0 to 3.0)");
        assert_eq!(figures.percentile(99), Some(3.0));
        assert_eq!(Figures::default().to_string(), "none");
    }

    #[test]
    fn ratios_are_taken_run_by_run() {
        let ours: Figures = [1.0, 8.0].into_iter().collect();
        let floors: Figures = [2.0, 16.0].into_iter().collect();
        assert_eq!(ours.over(&floors), [0.5, 0.5].into_iter().collect());
    }
}
