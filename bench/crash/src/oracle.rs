//! The rules, checked on records that a client other than goka's has read. Pure: no process, no broker.

use std::collections::{BTreeMap, HashMap};

use crate::child::INPUTS;
use crate::fold::{Expected, Folded, Input};
use crate::topics::{PARTITIONS, Seen};

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) oracle: Oracle,
    pub(crate) what: String,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oracle {
    /// The offset in a store's checkpoint is beyond the committed records of the group topic, or the store
    /// has a value that the group topic does not have before that offset.
    StoreAhead,
    /// A store lacks a value that the group topic has before the store's offset.
    StoreIsPrefix,
    /// The group topic is not the fold of the input.
    TableIsFold,
    /// An input has no output.
    NothingLost,
    /// Exactly once: an input has two outputs.
    NothingTwice,
    /// There is an output without an input.
    NothingInvented,
    /// A store that was closed cleanly is behind the group topic.
    StoreIsLevel,
    /// A process ended by itself, or made no progress.
    Progress,
}

impl Oracle {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Oracle::StoreAhead => "store-ahead-of-changelog",
            Oracle::StoreIsPrefix => "store-not-a-prefix-of-changelog",
            Oracle::TableIsFold => "table-is-not-the-fold-of-the-input",
            Oracle::NothingLost => "input-lost",
            Oracle::NothingTwice => "output-twice",
            Oracle::NothingInvented => "output-without-input",
            Oracle::StoreIsLevel => "store-behind-after-a-clean-stop",
            Oracle::Progress => "no-progress",
        }
    }

    /// Whether it is about a table that is wrong.
    pub(crate) fn is_mismatch(self) -> bool {
        matches!(
            self,
            Oracle::StoreAhead | Oracle::StoreIsPrefix | Oracle::TableIsFold | Oracle::StoreIsLevel
        )
    }
}

/// The contents of a store or of a topic: values by key.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// An input record: partition and offset.
pub(crate) type Place = (i32, i64);

/// Everything that was read from the three topics.
#[derive(Debug)]
pub(crate) struct Ledger {
    is_exact: bool,
    expected: HashMap<Vec<u8>, Expected>,
    /// The outputs of each input, by partition and offset; `None` where there is no input record.
    outputs: Vec<Vec<Option<Outputs>>>,
    /// Outputs whose input was not read yet.
    early: Vec<Place>,
    changelogs: Vec<Changelog>,
    /// How many processes have ended.
    process: usize,
    /// The number of outputs beyond the first of each input, by the process that wrote the one before.
    duplicates: BTreeMap<usize, u64>,
    invalid: Vec<String>,
}

/// The outputs of one input.
#[derive(Debug, Clone, Copy, Default)]
struct Outputs {
    count: u32,
    /// The process that wrote the last one.
    process: usize,
}

/// One partition of the group topic.
#[derive(Debug, Default)]
struct Changelog {
    records: Vec<(i64, Vec<u8>, Option<Vec<u8>>)>,
    /// The fold of the first records: how many records, and the rows.
    folded: (usize, Rows),
}

impl Changelog {
    /// The fold of the records before an offset.
    fn at(&mut self, offset: i64) -> &Rows {
        let count = self.records.partition_point(|(at, ..)| *at < offset);
        if count < self.folded.0 {
            self.folded = Default::default();
        }
        let (done, rows) = &mut self.folded;
        for (_, key, value) in &self.records[*done..count] {
            match value {
                Some(value) => drop(rows.insert(key.clone(), value.clone())),
                None => drop(rows.remove(key)),
            }
        }
        *done = count;
        rows
    }

    /// Whether a key ever had a value before an offset.
    fn had(&self, offset: i64, key: &[u8], value: &[u8]) -> bool {
        let before = self.records.iter().take_while(|(at, ..)| *at < offset);
        let mut same = before.filter(|(_, of, what)| of == key && what.as_deref() == Some(value));
        same.next().is_some()
    }
}

impl Ledger {
    pub(crate) fn new(is_exact: bool) -> Self {
        let partitions = || 0..PARTITIONS;
        Self {
            is_exact,
            expected: HashMap::new(),
            outputs: partitions().map(|_| Vec::new()).collect(),
            early: Vec::new(),
            changelogs: partitions().map(|_| Changelog::default()).collect(),
            process: 0,
            duplicates: BTreeMap::new(),
            invalid: Vec::new(),
        }
    }

    pub(crate) fn take_input(&mut self, seen: Seen<'_>) {
        match seen.value.map(serde_json::from_slice::<Input>) {
            Some(Ok(input)) => self
                .expected
                .entry(seen.key.to_vec())
                .or_default()
                .add(input),
            other => self
                .invalid
                .push(format!("input {}: {other:?}", place_text(&seen))),
        }
        let outputs = &mut self.outputs[seen.partition as usize];
        outputs.resize((seen.offset as usize).max(outputs.len()), None);
        outputs.push(Some(Outputs::default()));
    }

    pub(crate) fn take_output(&mut self, seen: Seen<'_>) {
        let text = String::from_utf8_lossy(seen.value.unwrap_or_default());
        match place(&text) {
            Some(place) => self.count_output(place),
            None => self
                .invalid
                .push(format!("`{text}` at {}", place_text(&seen))),
        }
    }

    fn count_output(&mut self, (partition, offset): Place) {
        let input = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.outputs.get_mut(partition as usize)?.get_mut(offset));
        let Some(Some(outputs)) = input else {
            self.early.push((partition, offset));
            return;
        };
        if outputs.count > 0 {
            *self.duplicates.entry(outputs.process).or_default() += 1;
        }
        outputs.count += 1;
        outputs.process = self.process;
    }

    /// Outputs that are read from now on were written by the next process.
    pub(crate) fn end_process(&mut self) {
        self.process += 1;
    }

    pub(crate) fn take_change(&mut self, seen: Seen<'_>) {
        let (key, value) = (seen.key.to_vec(), seen.value.map(<[u8]>::to_vec));
        let changelog = &mut self.changelogs[seen.partition as usize];
        changelog.records.push((seen.offset, key, value));
    }

    /// The number of outputs beyond the first of each input, by the process that wrote the one before.
    pub(crate) fn duplicates(&self) -> &BTreeMap<usize, u64> {
        &self.duplicates
    }

    pub(crate) fn inputs(&self) -> usize {
        self.outputs.iter().flatten().flatten().count()
    }

    /// Compares a store with the fold of the group topic up to the store's offset.
    pub(crate) fn check_store(
        &mut self,
        partition: i32,
        checkpoint: i64,
        rows: &Rows,
    ) -> Vec<Finding> {
        let changelog = &mut self.changelogs[partition as usize];
        let right = changelog.at(checkpoint).clone();
        let text = |row: Option<&Vec<u8>>| row.map(|row| String::from_utf8_lossy(row).into_owned());
        let mut findings = Vec::new();
        for key in right
            .keys()
            .chain(rows.keys().filter(|key| !right.contains_key(*key)))
        {
            let (right, found) = (right.get(key), rows.get(key));
            if right == found {
                continue;
            }
            let is_ahead = found.is_some_and(|found| !changelog.had(checkpoint, key, found));
            let oracle = match is_ahead {
                true => Oracle::StoreAhead,
                false => Oracle::StoreIsPrefix,
            };
            let what = format!(
                "partition {partition}, key `{}`: {:?} in the store, {:?} in the group topic before \
                 the store's offset {checkpoint}",
                String::from_utf8_lossy(key),
                text(found),
                text(right),
            );
            findings.push(Finding { oracle, what });
        }
        findings
    }

    /// Whether the group topic has records from an offset on.
    pub(crate) fn has_changes_from(&self, partition: i32, offset: i64) -> bool {
        let last = self.changelogs[partition as usize].records.last();
        last.is_some_and(|(at, ..)| *at >= offset)
    }

    /// The inputs that have no output.
    pub(crate) fn lost(&self) -> Vec<Place> {
        let mut lost = Vec::new();
        for (partition, outputs) in (0..).zip(&self.outputs) {
            for (offset, outputs) in (0..).zip(outputs) {
                if outputs.is_some_and(|outputs| outputs.count == 0) {
                    lost.push((partition, offset));
                }
            }
        }
        lost
    }

    /// Compares group topic and outputs with the input, once everything was handled and read.
    pub(crate) fn check_all(&mut self) -> Vec<Finding> {
        for place in std::mem::take(&mut self.early) {
            self.count_output(place);
        }
        let finding = |oracle, what| Finding { oracle, what };
        let mut findings = Vec::new();
        for what in &self.invalid {
            findings.push(finding(Oracle::NothingInvented, what.clone()));
        }
        for place in &self.early {
            findings.push(finding(
                Oracle::NothingInvented,
                format!("of input {place:?}"),
            ));
        }
        for place in self.lost() {
            findings.push(finding(
                Oracle::NothingLost,
                format!("input {place:?} has no output"),
            ));
        }
        let duplicates: u64 = self.duplicates.values().sum();
        if self.is_exact && duplicates > 0 {
            let what = format!("{duplicates} extra outputs");
            findings.push(finding(Oracle::NothingTwice, what));
        }
        let mut table = Rows::new();
        for changelog in &mut self.changelogs {
            table.extend(changelog.at(i64::MAX).clone());
        }
        for (key, expected) in &self.expected {
            let value = table.remove(key);
            let value = value.map(|value| serde_json::from_slice::<Folded>(&value));
            let wrong = match value.transpose() {
                Ok(value) => expected.mismatch(value.as_ref(), self.is_exact),
                Err(error) => Some(error.to_string()),
            };
            if let Some(wrong) = wrong {
                let key = String::from_utf8_lossy(key);
                findings.push(finding(
                    Oracle::TableIsFold,
                    format!("key `{key}`: {wrong}"),
                ));
            }
        }
        for key in table.keys() {
            let key = String::from_utf8_lossy(key);
            findings.push(finding(
                Oracle::TableIsFold,
                format!("key `{key}` has no input"),
            ));
        }
        findings
    }
}

fn place_text(seen: &Seen<'_>) -> String {
    format!("partition {} offset {}", seen.partition, seen.offset)
}

/// The place in an output of the processor.
fn place(text: &str) -> Option<Place> {
    let (partition, offset) = text
        .strip_prefix(INPUTS)?
        .strip_prefix('/')?
        .split_once('/')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<'a>(offset: i64, key: &'a str, value: &'a str) -> Seen<'a> {
        Seen {
            partition: 1,
            offset,
            key: key.as_bytes(),
            value: Some(value.as_bytes()),
        }
    }

    /// Three inputs of one key, with the given outputs and changelog.
    fn ledger(is_exact: bool, outputs: &[i64], changelog: &[&Folded]) -> Ledger {
        let mut ledger = Ledger::new(is_exact);
        for number in 0..3 {
            let (amount, offset) = (number, number as i64);
            let input = serde_json::to_string(&Input { number, amount }).expect("JSON");
            ledger.take_input(seen(offset, "k", &input));
        }
        for offset in outputs {
            ledger.take_output(seen(*offset, "k", &format!("{INPUTS}/1/{offset}")));
        }
        for (offset, value) in (0..).zip(changelog) {
            let value = serde_json::to_string(value).expect("JSON");
            ledger.take_change(seen(offset, "k", &value));
        }
        ledger
    }

    fn names(findings: &[Finding]) -> Vec<&'static str> {
        findings
            .iter()
            .map(|finding| finding.oracle.name())
            .collect()
    }

    #[test]
    fn losses_duplicates_and_wrong_tables_are_found() {
        let of = |count, end| Folded {
            count,
            max: end - 1,
            seen: vec![(0, end)],
        };
        let (right, less, twice) = (of(3, 3), of(2, 2), of(4, 3));
        let none: &[&str] = &[];
        let rows: &[(bool, &[i64], &Folded, &[&str])] = &[
            (true, &[0, 1, 2], &right, none),
            (true, &[0, 2], &right, &["input-lost"]),
            (true, &[0, 1, 1, 2], &right, &["output-twice"]),
            (false, &[0, 1, 1, 2], &right, none),
            (false, &[0, 1, 2, 3], &right, &["output-without-input"]),
            (
                false,
                &[0, 1, 2],
                &less,
                &["table-is-not-the-fold-of-the-input"],
            ),
            (
                true,
                &[0, 1, 2],
                &twice,
                &["table-is-not-the-fold-of-the-input"],
            ),
            (false, &[0, 1, 2], &twice, none),
        ];
        for (is_exact, outputs, value, expected) in rows {
            let mut ledger = ledger(*is_exact, outputs, &[value]);
            assert_eq!(
                names(&ledger.check_all()),
                *expected,
                "{outputs:?} {value:?}"
            );
        }
    }

    #[test]
    fn a_store_is_a_prefix_of_the_group_topic() {
        let (first, second) = (
            Folded::default(),
            Folded {
                count: 1,
                ..Folded::default()
            },
        );
        let mut ledger = ledger(true, &[], &[&first, &second]);
        let holding = |value: &Folded| -> Rows {
            let value = serde_json::to_vec(value).expect("JSON");
            [(b"k".to_vec(), value)].into()
        };
        let (ahead, behind) = (
            "store-ahead-of-changelog",
            "store-not-a-prefix-of-changelog",
        );
        let rows: [(i64, Rows, &[&str]); 7] = [
            (2, holding(&second), &[]),
            (1, holding(&first), &[]),
            (1, holding(&second), &[ahead]),
            (2, holding(&first), &[behind]),
            (0, holding(&first), &[ahead]),
            (0, Rows::new(), &[]),
            (2, Rows::new(), &[behind]),
        ];
        for (checkpoint, store, expected) in rows {
            let findings = ledger.check_store(1, checkpoint, &store);
            assert_eq!(names(&findings), expected, "{checkpoint} {store:?}");
        }
    }
}
