//! What a user's own check sees of the end of a run.

use std::fmt;
use std::sync::Arc;

use super::oracles::Violation;
use super::panics::catch_panic;
use super::schedule::{Step, StepAction};
use super::workload::Workload;
use crate::log::simulated::Simulated;
use crate::tester::folded::Folded;
use crate::tester::{Received, Rows, decoded, read_all};
use crate::topic::{Table, Topic};

/// The rule that users write.
pub(super) const CHECK: &str = "check";

/// The end of a run: every record is handled, and every instance has stopped cleanly. Passed to the
/// checks of [`Workload::check`].
///
/// ```
/// # use goka_runtime::{simulation::{End, Workload}, tester::doc::*};
/// fn every_click_is_counted(end: &End<'_>) {
///     let counted: i64 = end.table::<ClickCount>().iter().map(|(_, count)| count).sum();
///     assert!(counted >= end.input::<Clicks>().len().try_into().unwrap());
/// }
///
/// let workload = Workload::of::<ClickCount>()
///     .input(Clicks, 300, |dice| (format!("user-{}", dice.below(20)), "x"))
///     .check(every_click_is_counted);
/// ```
pub struct End<'e> {
    workload: &'e Workload,
    log: &'e Simulated,
    steps: &'e [Step],
}

impl End<'_> {
    /// A table: of a processor, or one that is joined or looked up.
    ///
    /// ```
    /// # use goka_runtime::{simulation::End, tester::doc::*};
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
        self.check_known::<T>();
        Rows::new(Arc::new(Folded::new(self.log, &T::SPEC)))
    }

    /// The records that the workload wrote to a topic, in their order; a value of `None` is a tombstone.
    /// The smallest schedule that fails has fewer of them than the workload says, so a check that counts
    /// has to compare with these, not with a constant.
    ///
    /// ```
    /// # use goka_runtime::{simulation::End, tester::doc::*};
    /// fn check(end: &End<'_>) {
    ///     let clicks = end.input::<Clicks>();
    ///     let of_alice = clicks.iter().filter(|(user, _)| user == "alice").count();
    ///     let counted = end.table::<ClickCount>().get("alice").unwrap_or(0);
    ///     assert!(counted >= of_alice.try_into().unwrap());
    /// }
    /// ```
    ///
    /// # Panics
    /// When the topic is not an input of the workload.
    #[track_caller]
    pub fn input<T: Topic>(&self) -> Vec<(T::Key, Option<T::Value>)> {
        let mut topics = self.workload.fed_topics.iter();
        assert!(
            topics.any(|fed| fed.topic.name == T::NAME),
            "topic `{}` is not an input of the workload",
            T::NAME
        );
        let fed = self.steps.iter().filter_map(|step| match &step.action {
            StepAction::Feed { topic, record } if topic.name == T::NAME => Some(record),
            _ => None,
        });
        let records = fed.map(|record| {
            decoded::<T>(record.key.as_deref(), record.value.as_deref())
                .unwrap_or_else(|error| panic!("a record of topic `{}`: {error}", T::NAME))
        });
        records.collect()
    }

    /// The records of a topic, committed ones alone, in the order in which they were written.
    ///
    /// ```
    /// # use goka_runtime::{simulation::End, tester::doc::*};
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
        self.check_known::<T>();
        read_all::<T>(self.log)
    }

    #[track_caller]
    fn check_known<T: Topic>(&self) {
        assert!(
            self.log.partitions_of(T::NAME) > 0,
            "no processor of this workload reads or writes topic `{}`",
            T::NAME
        );
    }
}

impl fmt::Debug for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End")
    }
}

impl Workload {
    /// Runs the user's own checks; returns what failed.
    pub(super) fn run_checks(&self, log: &Simulated, steps: &[Step]) -> Vec<Violation> {
        let end = End {
            workload: self,
            log,
            steps,
        };
        let failed = self.checks.iter();
        let failed = failed.filter_map(|check| catch_panic(|| check(&end)).err());
        failed.map(|what| Violation::new(CHECK, what)).collect()
    }
}
