//! What stopped, and why.

use super::Tester;
use crate::core::StopReason;
use crate::graph::EdgeKind;
use crate::processor::TaskStatus;
use crate::processor::topics::is_copartitioned;

/// One partition, or a whole processor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("group `{group}` stopped: {cause}")]
pub(super) struct Failure {
    group: &'static str,
    cause: StopReason,
}

/// Why partitions, or whole processors, have stopped: a handler failed, or a record does not decode.
///
/// ```
/// # use goka_runtime::tester::{Tester, doc::*};
/// use goka_runtime::processor::StopReason;
/// let mut app = Tester::of::<ClickCount>();
/// let stopped = app.input(Clicks).try_send("alice", "bad").unwrap_err();
/// let Some(StopReason::Handler { record, error }) = stopped.causes().next() else {
///     panic!("{stopped}");
/// };
/// assert_eq!((&*record.key, error.to_string()), ("alice", "a bad click".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.failures))]
pub struct Stopped {
    failures: Vec<Failure>,
}

impl Stopped {
    pub(super) fn of(failures: Vec<Failure>) -> Option<Self> {
        (!failures.is_empty()).then_some(Self { failures })
    }

    /// The causes, at least one: [`StopReason::Handler`] has the record's topic, partition, offset and key,
    /// and what the handler failed with.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// let stopped = app.input(Clicks).try_send("alice", "bad").unwrap_err();
    /// assert_eq!(stopped.causes().count(), 1);
    /// ```
    pub fn causes(&self) -> impl Iterator<Item = &StopReason> {
        self.failures.iter().map(|failure| &failure.cause)
    }
}

fn lines(failures: &[Failure]) -> String {
    let lines: Vec<_> = failures.iter().map(Failure::to_string).collect();
    lines.join("\n")
}

impl Tester {
    pub(super) fn failures(&self) -> Vec<Failure> {
        self.failures_where(|_, _| true)
    }

    /// What keeps the records of a partition from being handled.
    pub(super) fn failures_at(&self, topic: &str, partition: i32) -> Vec<Failure> {
        self.failures_where(|at, task| {
            let graph = &self.processors[at].definition.graph;
            let reads = graph.edges.iter().any(|edge| {
                let is_output = matches!(edge.kind, EdgeKind::Output);
                edge.topic.name == topic && !is_output
            });
            reads
                && task.is_none_or(|task| {
                    let is_its = is_copartitioned(graph) || task.topic == topic;
                    is_its && task.partition == partition
                })
        })
    }

    /// The ends of processors, and of their tasks, for which `counts` is true of the processor's index and
    /// the task.
    fn failures_where(&self, counts: impl Fn(usize, Option<&TaskStatus>) -> bool) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (worker, at) in self.workers.iter().zip(0..) {
            let at = at % self.processors.len();
            let group = self.processors[at].definition.graph.group;
            if let Some(cause) = worker.ended().filter(|_| counts(at, None)) {
                let cause = cause.clone();
                failures.push(Failure { group, cause });
            }
            for task in worker.config().state.tasks() {
                if let Some(cause) = task.stopped.clone().filter(|_| counts(at, Some(&task))) {
                    failures.push(Failure { group, cause });
                }
            }
        }
        failures
    }
}
