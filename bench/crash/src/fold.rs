//! The input, and the value that the processor makes of it: a count and two idempotent folds. The oracle
//! computes the expected value independently: [`Expected`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// One input of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    /// Which of the key's inputs it is, from 0.
    pub(crate) number: u64,
    /// A random number.
    pub(crate) amount: u64,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Folded {
    /// How many inputs were handled; an input that is handled twice counts twice.
    pub(crate) count: u64,
    /// The largest amount.
    pub(crate) max: u64,
    /// The numbers of the inputs that were handled, as ranges with their end left out.
    pub(crate) seen: Vec<(u64, u64)>,
}

impl Folded {
    pub(crate) fn add(&mut self, input: Input) {
        self.count += 1;
        self.max = self.max.max(input.amount);
        let Input { number, .. } = input;
        if self
            .seen
            .iter()
            .any(|(from, end)| (*from..*end).contains(&number))
        {
            return;
        }
        self.seen.push((number, number + 1));
        self.seen.sort_unstable();
        self.seen.dedup_by(|next, range| {
            let touches = next.0 == range.1;
            if touches {
                range.1 = next.1;
            }
            touches
        });
    }
}

/// The expected value of a key, from its inputs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    count: u64,
    max: u64,
    numbers: BTreeSet<u64>,
}

impl Expected {
    pub(crate) fn add(&mut self, input: Input) {
        self.count += 1;
        self.max = self.max.max(input.amount);
        self.numbers.insert(input.number);
    }

    /// Why a value is wrong. At least once, inputs may be counted twice.
    pub(crate) fn mismatch(&self, found: Option<&Folded>, is_exact: bool) -> Option<String> {
        let Some(found) = found else {
            return Some(format!("no value, of {} inputs", self.count));
        };
        let has = |number: &u64| {
            found
                .seen
                .iter()
                .any(|(from, end)| (from..end).contains(&number))
        };
        let missing = self.numbers.iter().filter(|number| !has(number));
        let missing: Vec<_> = missing.take(5).collect();
        if !missing.is_empty() {
            return Some(format!("inputs number {missing:?} are not in it"));
        }
        let seen: u64 = found.seen.iter().map(|(from, end)| end - from).sum();
        if seen != self.numbers.len() as u64 {
            return Some("it has inputs that were never sent".to_owned());
        }
        if found.max != self.max {
            return Some(format!("a maximum of {} and not {}", found.max, self.max));
        }
        let counts = match is_exact {
            true => found.count == self.count,
            false => found.count >= self.count,
        };
        (!counts).then(|| format!("a count of {}, of {} inputs", found.count, self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(number: u64) -> Input {
        Input {
            number,
            amount: number * 7 % 5,
        }
    }

    #[test]
    fn repeated_and_late_inputs_are_in_the_set_once() {
        let mut folded = Folded::default();
        for number in [0, 2, 1, 1, 4, 3, 0] {
            folded.add(input(number));
        }
        let (seen, max) = (vec![(0, 5)], 4);
        let count = 7;
        assert_eq!(folded, Folded { count, max, seen });
    }

    #[test]
    fn a_value_is_compared_with_its_inputs() {
        let (mut expected, mut right) = (Expected::default(), Folded::default());
        for number in 0..5 {
            expected.add(input(number));
            right.add(input(number));
        }
        let with = |change: fn(&mut Folded)| {
            let mut value = right.clone();
            change(&mut value);
            value
        };
        // The change, and whether it is wrong at least once and exactly once.
        let rows = [
            (with(|_| ()), [false, false]),
            (with(|value| value.count += 1), [false, true]),
            (with(|value| value.count -= 1), [true, true]),
            (with(|value| value.max -= 1), [true, true]),
            (
                with(|value| value.seen = vec![(0, 2), (3, 5)]),
                [true, true],
            ),
            (with(|value| value.seen = vec![(0, 6)]), [true, true]),
        ];
        for (value, wrong) in rows {
            let judged =
                [false, true].map(|exact| expected.mismatch(Some(&value), exact).is_some());
            assert_eq!(judged, wrong, "{value:?}");
        }
        assert!(expected.mismatch(None, false).is_some());
    }
}
