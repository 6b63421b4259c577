//! Records whose handler ended the process: noted by the run that died, kept with the offsets, and not
//! handled a third time. Each death is known by the run that it ended, so that one which is noted in
//! several places counts once. Pure; the notes are read and written by `crate::crash`.

use std::fmt;

use super::committed_text::{hex, offset};
use crate::record::Offset;

/// After so many deaths at one record it is not handled again.
pub(crate) const ENOUGH: usize = 2;

/// The record of an input whose handler ended the process, and the runs that it ended.
///
/// As text `<offset>:<run>[:<run>]`, a run in 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Died {
    pub(crate) offset: Offset,
    /// The runs that died, each a random number; one at least, and no more than are needed to refuse the
    /// record.
    pub(crate) runs: Vec<u64>,
}

impl Died {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (at, runs) = text.split_once(':')?;
        Some(Self {
            offset: offset(at)?,
            runs: runs.split(':').map(hex).collect::<Option<_>>()?,
        })
    }

    /// Whether the record is not handled again.
    pub(super) fn is_final(&self) -> bool {
        self.runs.len() >= ENOUGH
    }

    fn add(&mut self, run: u64) {
        if self.runs.len() < ENOUGH && !self.runs.contains(&run) {
            self.runs.push(run);
        }
    }
}

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.offset)?;
        self.runs
            .iter()
            .try_for_each(|run| write!(f, ":{run:016x}"))
    }
}

/// A death as the run that died noted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) run: u64,
    pub(crate) group: String,
    pub(crate) record: RecordAt,
}

/// Topic, partition and offset of an input record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordAt {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: Offset,
}

impl fmt::Display for RecordAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (topic, partition) = (&self.topic, self.partition);
        write!(f, "{topic}[{partition}] offset {}", self.offset)
    }
}

/// The records that earlier runs of this instance died of, and those that are handled all the same. Empty
/// by default; the service reads it from the data directory and the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deaths {
    /// In the order in which they happened.
    pub(crate) noted: Vec<Death>,
    /// These records are handled, however many died of them.
    pub(crate) retried: Vec<RecordAt>,
}

impl Deaths {
    fn is_retried(&self, topic: &str, partition: i32, offset: Offset) -> bool {
        let is_it = |record: &RecordAt| {
            record.topic == topic && record.partition == partition && record.offset == offset
        };
        self.retried.iter().any(is_it)
    }

    /// Adds the deaths of an input that this instance noted to those that came with its offset. Only the record of
    /// the last death counts: if a later run died at another record, the earlier one was handled meanwhile. Records
    /// before the committed offset and those that are retried do not count.
    pub(super) fn of_input(
        &self,
        group: &str,
        (topic, partition): (&str, i32),
        committed: Option<Offset>,
        known: Option<Died>,
    ) -> Option<Died> {
        let is_of_input = |death: &&Death| {
            let record = &death.record;
            death.group == group && record.topic == topic && record.partition == partition
        };
        let noted: Vec<_> = self.noted.iter().filter(is_of_input).collect();
        let is_handled = |at: Offset| committed.is_some_and(|next| next > at);
        let last = noted.last().map(|death| death.record.offset);
        let died = match last.filter(|at| !is_handled(*at)) {
            None => known,
            Some(offset) => {
                let known = known.filter(|died| died.offset == offset);
                let runs = Vec::new();
                let mut died = known.unwrap_or(Died { offset, runs });
                let of_it = noted.iter().filter(|death| death.record.offset == offset);
                of_it.for_each(|death| died.add(death.run));
                Some(died)
            }
        };
        died.filter(|died| !self.is_retried(topic, partition, died.offset))
    }
}
