//! What a user's own check sees of a run that has come to rest.

use std::fmt;
use std::sync::Arc;

use super::caught::caught;
use super::oracles::Violation;
use super::workload::Workload;
use crate::log::simulated::Simulated;
use crate::tester::folded::Folded;
use crate::tester::{Received, Rows, read_all};
use crate::topic::{Table, Topic};

/// The end of a run: every record is handled, every instance has stopped in order, and what is
/// committed stays. Given to [`Workload::check`].
///
/// ```
/// # use goka_runtime::tester::doc::*;
/// # use goka_runtime::simulation::{End, Workload};
/// fn no_user_is_lost(end: &End<'_>) {
///     assert!(end.table::<ClickCount>().len() <= 20);
/// }
///
/// let workload = Workload::of::<ClickCount>()
///     .input(Clicks, 300, |dice| (format!("user-{}", dice.below(20)), "x"))
///     .check(no_user_is_lost);
/// ```
pub struct End<'e> {
    log: &'e Simulated,
}

impl End<'_> {
    /// A table: of a processor, or one that is joined or looked up.
    ///
    /// ```
    /// # use goka_runtime::tester::doc::*;
    /// # use goka_runtime::simulation::End;
    /// fn check(end: &End<'_>) {
    ///     for (user, count) in end.table::<ClickCount>().iter() {
    ///         assert!(count > 0, "{user} is there without clicks");
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    /// When there is no such table in the workload.
    #[track_caller]
    pub fn table<T: Table>(&self) -> Rows<'_, T> {
        let partitions = self.partitions::<T>();
        let folded = Folded::new(self.log.clone(), &T::SPEC, partitions);
        Rows::new(Arc::new(folded))
    }

    /// The records of a topic, committed ones alone, in the order in which they were written.
    ///
    /// ```
    /// # use goka_runtime::tester::doc::*;
    /// # use goka_runtime::simulation::End;
    /// fn check(end: &End<'_>) {
    ///     let alerts = end.output::<Alerts>();
    ///     assert!(alerts.iter().all(|alert| alert.value.is_some_and(|count| count % 2 == 0)));
    /// }
    /// ```
    ///
    /// # Panics
    /// When there is no such topic in the workload, or a record does not decode.
    #[track_caller]
    pub fn output<T: Topic>(&self) -> Vec<Received<T::Key, T::Value>> {
        self.partitions::<T>();
        read_all::<T>(self.log)
    }

    #[track_caller]
    fn partitions<T: Topic>(&self) -> i32 {
        let partitions = self.log.partitions_of(T::NAME);
        assert!(
            partitions > 0,
            "no processor of this workload has to do with topic `{}`",
            T::NAME
        );
        partitions
    }
}

impl fmt::Debug for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End")
    }
}

impl Workload {
    /// What the user's own checks find wrong.
    pub(super) fn checked(&self, log: &Simulated) -> Vec<Violation> {
        let failed = self.checks.iter();
        let failed = failed.filter_map(|check| caught(|| check(&End { log })).err());
        failed
            .map(|what| Violation {
                oracle: "check",
                what,
                place: None,
            })
            .collect()
    }
}
