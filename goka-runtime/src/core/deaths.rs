//! Records whose handler ended the process: noted by the run that died, kept with the offsets, and not
//! handled a third time. Each death is known by the run that it ended, so that one which is noted in
//! several places counts once. Pure; the notes are read and written by [`crate::service`].

use std::fmt;

use super::committed_text::{hex, offset};
use super::plan::Plan;
use super::stop_reason::StopReason;
use super::stop_reason::key_text;
use super::task::Task;
use crate::dispatch::Incoming;
use crate::record::{Offset, TopicId};

/// After so many deaths at one record it is not handled again.
pub(crate) const ENOUGH: usize = 2;

/// The record of an input whose handler ended the process, and the runs that it ended.
///
/// As text `<offset>:<run>[:<run>]`, a run in 16 hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Died {
    /// The record.
    pub offset: Offset,
    /// The runs that died, each a random number; one at least, more than two tell nothing new.
    pub runs: Vec<u64>,
}

impl Died {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (at, runs) = text.split_once(':')?;
        Some(Self {
            offset: offset(at)?,
            runs: runs.split(':').map(hex).collect::<Option<_>>()?,
        })
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

/// A record, by the name of its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordAt {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: Offset,
}

/// What earlier runs of this instance died of, and what is handled all the same. Empty by default;
/// the service reads it from the data directory and the command line.
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
}

impl Task {
    /// Adds the deaths that this instance noted to those that came with the offsets. Of an input the
    /// last death counts alone: a record that was handled after another did not die of that one.
    pub(super) fn learn_deaths(&mut self, plan: &Plan) {
        let (deaths, group) = (&plan.deaths, &plan.group);
        for topic in group.inputs_of(self.id) {
            let name = &**group.topic(topic);
            let here = |death: &&Death| {
                *death.group == *group.name
                    && death.record.topic == name
                    && death.record.partition == self.id.partition
            };
            let noted: Vec<_> = deaths.noted.iter().filter(here).collect();
            let last = noted.last().map(|death| death.record.offset);
            let is_past = |at: Offset| self.committed.get(&topic).is_some_and(|next| *next > at);
            if let Some(at) = last.filter(|at| !is_past(*at)) {
                let known = self.died.remove(&topic).filter(|died| died.offset == at);
                let mut died = known.unwrap_or(Died {
                    offset: at,
                    runs: Vec::new(),
                });
                let of_it = noted.iter().filter(|death| death.record.offset == at);
                of_it.for_each(|death| died.add(death.run));
                self.died.insert(topic, died);
            }
            let is_retried = |died: &Died| deaths.is_retried(name, self.id.partition, died.offset);
            if self.died.get(&topic).is_some_and(is_retried) {
                self.died.remove(&topic);
            }
        }
    }

    /// What is committed of deaths with an offset: nothing once the record is handled.
    pub(super) fn died_at_or_after(&self, topic: TopicId, offset: Offset) -> Option<&Died> {
        self.died.get(&topic).filter(|died| died.offset >= offset)
    }

    /// Refuses a record that the process died of too often.
    pub(super) fn check_deaths(
        &self,
        topic: TopicId,
        incoming: &Incoming<'_>,
    ) -> Result<(), StopReason> {
        match self.died.get(&topic) {
            Some(died) if died.offset == incoming.offset && died.runs.len() >= ENOUGH => {
                Err(StopReason::Died {
                    topic: incoming.topic.to_owned(),
                    partition: self.id.partition,
                    offset: incoming.offset,
                    key: key_text(incoming.key.unwrap_or_default()),
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::metadata::{OffsetMetadata, VERSION};
    use super::super::tests::{INPUT, plan};
    use super::*;
    use crate::log::{Assignment, Committed, Epoch};
    use crate::record::{Headers, TaskId};

    /// Whether the record at 7 is refused, and what is committed with its offset, when `noted` was
    /// noted here and `committed` by the group, whose offset is `next`.
    fn refused(next: Offset, committed: Option<Died>, noted: &[(u64, Offset)]) -> (bool, usize) {
        refused_by(Deaths::default(), next, committed, noted)
    }

    fn refused_by(
        deaths: Deaths,
        next: Offset,
        committed: Option<Died>,
        noted: &[(u64, Offset)],
    ) -> (bool, usize) {
        let mut plan = plan(1);
        let record = |offset| RecordAt {
            topic: "input".to_owned(),
            partition: 0,
            offset,
        };
        let ours = noted.iter().map(|(run, offset)| Death {
            run: *run,
            group: "group".to_owned(),
            record: record(*offset),
        });
        let mut theirs: Vec<Death> = ours.clone().collect();
        // What is of another group, topic or partition is not ours.
        for (at, death) in theirs.iter_mut().enumerate() {
            match at % 3 {
                0 => death.group = "other".to_owned(),
                1 => death.record.topic = "other".to_owned(),
                _ => death.record.partition = 1,
            }
            death.run += 1_000;
        }
        plan.deaths = Deaths {
            noted: ours.chain(theirs).collect(),
            ..deaths
        };
        let metadata = OffsetMetadata {
            version: VERSION,
            fingerprint: 0,
            table_id: String::new(),
            table_start: None,
            table_end: None,
            lead: "group-state".to_owned(),
            input_id: None,
            died: committed,
            inputs: Vec::new(),
            reads: None,
            address: None,
        };
        let committed = Committed {
            offset: next,
            metadata: metadata.to_string(),
        };
        let lead = plan.group.lead.expect("it has a table");
        let assignment = Assignment {
            task: TaskId { lead, partition: 0 },
            epoch: Epoch(1),
            committed: BTreeMap::from([(INPUT, committed)]),
        };
        let mut task = Task::new(&assignment, Duration::ZERO);
        task.learn_deaths(&plan);
        let incoming = Incoming {
            group: "group",
            topic: "input",
            partition: 0,
            offset: 7,
            timestamp: 0,
            key: Some(b"k"),
            value: None,
            headers: Headers::default(),
        };
        let text = task.commit_text(&plan, INPUT, 7);
        let died = OffsetMetadata::parse(&text).expect("ours").died;
        let is_refused = task.check_deaths(INPUT, &incoming).is_err();
        (is_refused, died.map_or(0, |died| died.runs.len()))
    }

    #[test]
    fn two_deaths_of_one_record_are_enough_wherever_they_were_noted() {
        let died = |offset, runs: &[u64]| {
            let runs = runs.to_vec();
            Some(Died { offset, runs })
        };
        for (case, next, committed, noted, expected) in [
            ("none", 5, None, &[][..], (false, 0)),
            ("one here", 5, None, &[(1, 7)], (false, 1)),
            ("two here", 5, None, &[(1, 7), (2, 7)], (true, 2)),
            ("two there", 5, died(7, &[1, 2]), &[], (true, 2)),
            (
                "one here, one there",
                5,
                died(7, &[1]),
                &[(2, 7)],
                (true, 2),
            ),
            ("the same one", 5, died(7, &[1]), &[(1, 7)], (false, 1)),
            ("of two records", 5, None, &[(1, 6), (2, 7)], (false, 1)),
            (
                "an earlier one there",
                5,
                died(6, &[1, 3]),
                &[(2, 7)],
                (false, 1),
            ),
            (
                "handled since",
                8,
                died(9, &[3]),
                &[(1, 7), (2, 7)],
                (false, 1),
            ),
            ("a third one", 5, died(7, &[1, 2]), &[(3, 7)], (true, 2)),
        ] {
            assert_eq!(refused(next, committed, noted), expected, "{case}");
        }
    }

    #[test]
    fn a_record_that_is_retried_has_no_deaths() {
        let deaths = |offset| Deaths {
            noted: Vec::new(),
            retried: vec![RecordAt {
                topic: "input".to_owned(),
                partition: 0,
                offset,
            }],
        };
        let died = Some(Died {
            offset: 7,
            runs: vec![1, 2],
        });
        let noted = [(1, 7), (2, 7)];
        assert_eq!(refused_by(deaths(7), 5, died.clone(), &noted), (false, 0));
        assert_eq!(refused_by(deaths(8), 5, died, &noted), (true, 2));
    }
}
