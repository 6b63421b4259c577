//! Finds a small part of a schedule that still fails: leaves parts out, halves first, while the rest
//! still fails in the same way.

use std::time::{Duration, Instant};

pub(super) struct Budget {
    pub(super) runs: usize,
    pub(super) time: Duration,
}

/// The result of shrinking, and how many runs it took.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shrunk<T> {
    pub(super) left: Vec<T>,
    pub(super) runs: usize,
    /// Whether leaving out any single element makes it pass.
    pub(super) is_minimal: bool,
}

/// Shrinks by delta debugging with complements (Zeller and Hildebrandt, "Simplifying and isolating
/// failure-inducing input", 2002). `fails` is called with parts of `all`, in its order.
pub(super) fn shrink<T: Clone>(
    all: &[T],
    budget: &Budget,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Shrunk<T> {
    let deadline = Instant::now() + budget.time;
    let (mut left, mut runs) = (all.to_vec(), 0);
    let mut size = left.len();
    let mut is_minimal = true;
    'sizes: while size > 0 {
        let (mut at, mut shrank) = (0, false);
        while at < left.len() {
            if runs == budget.runs || Instant::now() >= deadline {
                is_minimal = false;
                break 'sizes;
            }
            let end = (at + size).min(left.len());
            let without = [&left[..at], &left[end..]].concat();
            runs += 1;
            if fails(&without) {
                (left, shrank) = (without, true);
            } else {
                at = end;
            }
        }
        // An element that was needed before may be left out once another one is gone.
        if size > 1 {
            size = size.div_ceil(2);
        } else if !shrank {
            break;
        }
    }
    Shrunk {
        left,
        runs,
        is_minimal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMPLE: Budget = Budget {
        runs: 10_000,
        time: Duration::from_secs(60),
    };

    fn all() -> Vec<u32> {
        (0..200).collect()
    }

    #[test]
    fn only_what_is_needed_is_left_in_its_order() {
        for needed in [&[][..], &[0], &[199], &[17, 18], &[3, 90, 91, 150]] {
            let fails = |part: &[u32]| needed.iter().all(|one| part.contains(one));
            let shrunk = shrink(&all(), &AMPLE, fails);
            assert_eq!(shrunk.left, needed);
            assert!(shrunk.is_minimal);
        }
    }

    #[test]
    fn no_single_thing_can_be_left_out_of_what_is_left() {
        // Fails with any seven elements, or with 5 and 120.
        let fails = |part: &[u32]| part.len() >= 7 || part.contains(&5) && part.contains(&120);
        let shrunk = shrink(&all(), &AMPLE, fails);
        assert!(shrunk.is_minimal && fails(&shrunk.left));
        for at in 0..shrunk.left.len() {
            let mut without = shrunk.left.clone();
            without.remove(at);
            assert!(!fails(&without), "{:?} without its {at}.", shrunk.left);
        }
    }

    #[test]
    fn an_element_that_can_go_only_after_another_goes_too() {
        // 10 is needed as long as 150 is there.
        let fails =
            |part: &[u32]| part.contains(&60) && (part.contains(&10) || !part.contains(&150));
        assert_eq!(shrink(&all(), &AMPLE, fails).left, [60]);
    }

    #[test]
    fn nothing_is_tried_beyond_the_budget() {
        let mut runs = 0;
        let budget = Budget { runs: 9, ..AMPLE };
        let shrunk = shrink(&all(), &budget, |part| {
            runs += 1;
            part.contains(&7)
        });
        assert_eq!((runs, shrunk.runs, shrunk.is_minimal), (9, 9, false));
        assert!(shrunk.left.contains(&7) && shrunk.left.len() < 200);
        let none = Budget {
            time: Duration::ZERO,
            ..AMPLE
        };
        assert_eq!(shrink(&all(), &none, |_| unreachable!()).left, all());
    }
}
