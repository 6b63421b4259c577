//! A deterministic random number generator, for simulated disks and schedules.

/// A random number generator that gives the same numbers for the same seed on every machine.
///
/// ```
/// use goka_runtime::simulation::Dice;
///
/// let (mut one, mut same) = (Dice::new(7), Dice::new(7));
/// assert_eq!(one.below(100), same.below(100));
/// assert!(one.below(6) < 6);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Dice(u64);

impl Dice {
    /// Dice for a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
    /// generators", 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to `limit`, without it; 0 where that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        match limit {
            0 => 0,
            limit => self.next() % limit,
        }
    }

    /// Whether something happens that does so in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several things; `None` where there is none.
    pub fn pick<'t, T>(&mut self, things: &'t [T]) -> Option<&'t T> {
        let at = self.below(things.len() as u64);
        things.get(usize::try_from(at).ok()?)
    }

    /// Splits off another generator with numbers of its own.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
