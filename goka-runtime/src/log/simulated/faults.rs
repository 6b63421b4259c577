//! Fault injection, and its record. At each step of each client the log asks the [`Faults`] that are set; the
//! fault that they choose is injected, counted and, when a trace is kept, recorded. Nothing here reads a clock
//! or rolls dice, so the same decisions give the same trace.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use crate::record::Offset;

/// A step of a client at which something may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepKind {
    /// A member polls its group.
    Poll,
    /// A member fetches from a partition that has records for it.
    Fetch,
    /// A member writes a record.
    Append,
    /// A member commits offsets, at least once.
    Commit,
    /// A member makes offsets part of its transaction.
    Attach,
    /// A member commits its transaction.
    End,
    /// A member aborts its transaction.
    Abort,
    /// A member says that it leaves.
    Leave,
    /// A reader reads a partition.
    Read,
    /// An appender writes a record.
    Send,
    /// A client asks for topics, offsets of partitions or of groups, or makes a topic.
    Ask,
}

impl Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of the kinds in lower case.
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// A step that is about to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Step<'s> {
    /// Which.
    pub kind: StepKind,
    /// Who takes it: `group/instance/worker` for a member, else `reader`, `appender`, `asker`.
    pub who: &'s str,
    /// Of which partition, where it is of one.
    pub place: Option<(&'s str, i32)>,
    /// When, by the log's clock.
    pub now: Duration,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The record is written, and the client never hears so: its outcome is unknown.
    AckLost,
    /// The record, and what the client writes to that partition after it, arrives after so long.
    /// The outcome of the commit is unknown.
    Late(Duration),
    /// The record is not written, and its outcome is unknown to the client.
    NotWritten,
    /// The record is refused for good.
    Refused,
    /// The commit of offsets, or of a transaction, is not answered.
    CommitUnknown {
        /// Whether it happened all the same.
        happened: bool,
    },
    /// The offsets are refused because the group has another generation.
    Stale,
    /// The transaction has to be aborted.
    Abortable,
    /// The client breaks, and is of no more use.
    Fatal,
    /// The transaction is committed, and its control records are written after so long.
    LateMarkers(Duration),
    /// No broker answers any client for so long.
    Outage(Duration),
    /// The partition has no leader for so long.
    LeaderMove(Duration),
    /// The process of the member dies once the step is taken: nothing that its members do from now on
    /// arrives.
    Dies,
    /// The member's polls do not reach the group for so long; whatever else it does arrives.
    CutOff(Duration),
    /// Nothing arrives this time.
    Slow,
    /// At most so many records arrive this time.
    Few(usize),
}

impl Fault {
    /// What it is counted as.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::AckLost => "ack lost",
            Fault::Late(_) => "late write",
            Fault::NotWritten => "not written",
            Fault::Refused => "refused",
            Fault::CommitUnknown { happened: true } => "commit unknown, happened",
            Fault::CommitUnknown { happened: false } => "commit unknown, not happened",
            Fault::Stale => "stale generation",
            Fault::Abortable => "abortable",
            Fault::Fatal => "fatal",
            Fault::LateMarkers(_) => "late markers",
            Fault::Outage(_) => "outage",
            Fault::LeaderMove(_) => "leader move",
            Fault::Dies => "process dies",
            Fault::CutOff(_) => "cut off",
            Fault::Slow => "slow fetch",
            Fault::Few(_) => "short fetch",
        }
    }

    /// Whether it can happen at a step. One that cannot is not done and not counted.
    pub fn fits(&self, step: &Step<'_>) -> bool {
        use StepKind::{Abort, Append, Attach, Commit, End, Fetch, Leave, Poll, Read, Send};
        let kind = step.kind;
        match self {
            Fault::AckLost | Fault::NotWritten => matches!(kind, Append | Send),
            Fault::Late(_) | Fault::Refused => kind == Append,
            Fault::CommitUnknown { .. } => matches!(kind, Commit | End),
            Fault::Stale => matches!(kind, Commit | Attach),
            Fault::Abortable => matches!(kind, Attach | End),
            Fault::Fatal => matches!(kind, End | Abort),
            Fault::LateMarkers(_) => kind == End,
            Fault::Outage(_) => true,
            Fault::LeaderMove(_) => step.place.is_some(),
            Fault::CutOff(_) | Fault::Dies => matches!(
                kind,
                Poll | Fetch | Append | Commit | Attach | End | Abort | Leave
            ),
            Fault::Slow | Fault::Few(_) => matches!(kind, Fetch | Read),
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Fault::Late(time)
            | Fault::LateMarkers(time)
            | Fault::Outage(time)
            | Fault::LeaderMove(time)
            | Fault::CutOff(time) => write!(f, " for {} ms", time.as_millis()),
            Fault::Few(most) => write!(f, " of {most}"),
            _ => Ok(()),
        }
    }
}

/// Decides what goes wrong. Called under the log's lock: it must not call the log.
///
/// ```
/// use goka_runtime::log::simulated::{Fault, Faults, Step, StepKind};
///
/// /// Loses the first acknowledgement.
/// struct Once(bool);
///
/// impl Faults for Once {
///     fn at(&mut self, step: &Step<'_>) -> Option<Fault> {
///         let first = step.kind == StepKind::Append && !std::mem::replace(&mut self.0, true);
///         first.then_some(Fault::AckLost)
///     }
/// }
/// ```
pub trait Faults: Send {
    /// What goes wrong at this step, if anything.
    fn at(&mut self, step: &Step<'_>) -> Option<Fault>;
}

/// What injects faults, and how often each fired.
#[derive(Default)]
pub(super) struct Chance {
    pub(super) faults: Option<Box<dyn Faults>>,
    pub(super) fired: BTreeMap<&'static str, u64>,
    pub(super) steps: BTreeMap<StepKind, u64>,
    pub(super) trace: Option<Vec<String>>,
}

impl Chance {
    /// Writes a line of the trace, if one is kept.
    pub(super) fn note(&mut self, now: Duration, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", now.as_millis(), line()));
        }
    }

    pub(super) fn ask(&mut self, step: &Step<'_>) -> Option<Fault> {
        *self.steps.entry(step.kind).or_default() += 1;
        let fault = self.faults.as_mut().and_then(|faults| faults.at(step));
        let fault = fault.filter(|fault| fault.fits(step));
        if let Some(fault) = &fault {
            *self.fired.entry(fault.name()).or_default() += 1;
        }
        let quiet = matches!(step.kind, StepKind::Poll | StepKind::Ask) && fault.is_none();
        if !quiet {
            self.note(step.now, || {
                let place = step
                    .place
                    .map(|(topic, number)| format!(" {topic}[{number}]"));
                let went = fault.map(|fault| format!(": {fault}"));
                let (place, went) = (place.unwrap_or_default(), went.unwrap_or_default());
                format!("{} {}{place}{went}", step.who, step.kind)
            });
        }
        fault
    }
}

/// What became of a record that a member wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It was written, and acknowledged.
    At(Offset),
    /// It is under way; the number asks for it.
    UnderWay(u64),
}
