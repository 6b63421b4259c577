//! Finds the effective handlings of the inputs, and checks `lost input`, `dirty read` and `key order`.

use std::cell::OnceCell;
use std::collections::HashSet;

use super::index::{Commit, Handling, Index, InputKey, LogRecord};
use super::text::{self, describe};
use super::{Findings, FinishedRun, Place, Violation, inputs_of};
use crate::graph::{Definition, Edge, EdgeKind, Start};
use crate::log::simulated::{Simulated, Wrote};
use crate::record::{Offset, TopicPartition};

/// An effective handling: the last one by the member that committed past its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effective<'e> {
    /// Its position in the history.
    pub(super) at: usize,
    pub(super) client: u64,
    pub(super) edge: &'static Edge,
    pub(super) record: LogRecord<'e>,
    pub(super) wrote: &'e [Wrote],
    pub(super) commit: Commit,
}

impl<'e> Effective<'e> {
    /// The last value that it wrote to the table.
    pub(super) fn wrote_to(&self, table: &str) -> Option<&'e Option<Vec<u8>>> {
        let mut wrote = self.wrote.iter().rev();
        let found = wrote.find(|wrote| *wrote.topic == *table);
        found.map(|wrote| &wrote.value)
    }
}

/// Checks all inputs of a processor; returns the effective handlings in time order.
pub(super) fn judge<'e>(
    run: &FinishedRun<'e>,
    index: &Index<'e>,
    definition: &'static Definition,
    findings: &mut Findings,
) -> Vec<Effective<'e>> {
    let mut all = Vec::new();
    for edge in inputs_of(definition) {
        let topic = edge.topic.name;
        let now = run.log.topic(topic);
        let is_compact = now.as_ref().is_some_and(|(info, _)| info.policy.compact);
        let ranges = now.map(|(_, ranges)| ranges).unwrap_or_default();
        for partition in index.partitions(topic) {
            let range = usize::try_from(partition)
                .ok()
                .and_then(|at| ranges.get(at));
            let mut input = InputPartition {
                is_compact,
                end: range.map(|range| range.high),
                kept: OnceCell::new(),
                log: run.log,
                index,
                edge,
                read: (definition.graph.group, topic, partition),
                found: Vec::new(),
            };
            all.extend(input.judge());
            findings.violations.append(&mut input.found);
        }
        if starts_late(edge) {
            let name = definition.graph.name;
            let what = format!("{name}: records of `{topic}` from before its first read");
            findings.unjudged.push(what);
        }
    }
    all.sort_by_key(|effective| effective.at);
    all
}

fn starts_late(edge: &Edge) -> bool {
    matches!(
        edge.kind,
        EdgeKind::Input {
            start: Start::Latest,
            ..
        }
    )
}

struct InputPartition<'i, 'e> {
    log: &'i Simulated,
    index: &'i Index<'e>,
    edge: &'static Edge,
    read: InputKey<'static>,
    is_compact: bool,
    end: Option<Offset>,
    /// The offsets that the log still holds; read when first needed.
    kept: OnceCell<HashSet<Offset>>,
    found: Vec<Violation>,
}

impl<'e> InputPartition<'_, 'e> {
    fn judge(&mut self) -> Vec<Effective<'e>> {
        let (_, topic, partition) = self.read;
        self.dirty_reads();
        let mut records: Vec<&LogRecord<'e>> = self.index.visible(topic, partition).collect();
        if starts_late(self.edge) {
            // The first record that it handled shows where it began to read.
            let first = self.index.handled(self.read).next();
            let first = first.map_or(Offset::MAX, |(offset, _)| offset);
            records.retain(|record| record.place.offset >= first);
        }
        let committed = self.committed();
        self.past_the_end(committed);
        let passed = self.passed(&records);
        let mut all = Vec::with_capacity(records.len());
        for (record, commit) in records.into_iter().zip(passed) {
            match self.effective(record, commit, committed) {
                Ok(effective) => all.push(effective),
                Err(_) if self.is_compacted(record) => {}
                Err(why) => {
                    let what = format!("{} {why}{}", describe(record), self.gone(record));
                    let place = Place::of_record(record);
                    self.found.push(Violation::at("lost input", place, what));
                }
            }
        }
        self.order(&all);
        all
    }

    /// The committed offset of the group, as the log has it at the end.
    fn committed(&self) -> Option<Offset> {
        let (group, topic, partition) = self.read;
        let offsets = self.log.offsets_of(group);
        let committed = offsets.get(&TopicPartition::new(topic, partition));
        let last = self.index.commits(self.read).last();
        committed
            .map(|committed| committed.offset)
            .or(last.map(|last| last.offset))
    }

    fn past_the_end(&mut self, committed: Option<Offset>) {
        let (group, topic, partition) = self.read;
        if let (Some(end), Some(committed)) = (self.end, committed)
            && committed > end
        {
            let what = format!(
                "group `{group}` committed {committed} of {topic}[{partition}], which ends at {end}",
            );
            let place = Place::of(topic, partition);
            self.found.push(Violation::at("lost input", place, what));
        }
    }

    /// For each record the last commit that moved the group's offset past it. An operator's commit only
    /// sets the offset, and passes nothing.
    fn passed(&self, records: &[&LogRecord<'e>]) -> Vec<Option<Commit>> {
        let mut passed = vec![None; records.len()];
        let mut position = 0;
        for commit in self.index.commits(self.read) {
            if self.index.is_member(commit.client) && commit.offset > position {
                let from = records.partition_point(|record| record.place.offset < position);
                let to = records.partition_point(|record| record.place.offset < commit.offset);
                passed[from..to].fill(Some(*commit));
            }
            position = commit.offset;
        }
        passed
    }

    fn effective(
        &self,
        record: &LogRecord<'e>,
        commit: Option<Commit>,
        committed: Option<Offset>,
    ) -> Result<Effective<'e>, String> {
        let group = self.read.0;
        if committed.is_none_or(|committed| committed <= record.place.offset) {
            let how_far = committed.map_or("nothing".to_owned(), |offset| offset.to_string());
            return Err(format!(
                "was not reached: group `{group}` committed {how_far}"
            ));
        }
        let Some(commit) = commit else {
            return Err(format!(
                "was skipped: no member of group `{group}` committed past it"
            ));
        };
        let handlings = self.index.handlings(self.read, record.place.offset);
        let is_its =
            |handling: &&Handling<'_>| handling.client == commit.client && handling.at < commit.at;
        let Some(last) = handlings.iter().rev().find(is_its) else {
            let who = self.index.display_name(commit.client);
            let others = handlings.iter().map(|handling| handling.client);
            let others: Vec<String> = others
                .map(|client| self.index.display_name(client))
                .collect();
            let by = match others.is_empty() {
                true => "no member handled it".to_owned(),
                false => format!("it was handled by {}", others.join(", ")),
            };
            let offset = commit.offset;
            return Err(format!(
                "was committed past ({offset}) by {who}, which had not handled it; {by}"
            ));
        };
        Ok(Effective {
            at: last.at,
            client: last.client,
            edge: self.edge,
            record: *record,
            wrote: last.wrote,
            commit,
        })
    }

    /// Whether compaction deleted a record, so that it need not have been handled.
    fn is_compacted(&self, record: &LogRecord<'_>) -> bool {
        self.is_compact && !self.is_kept(record)
    }

    fn is_kept(&self, record: &LogRecord<'_>) -> bool {
        let kept = self.kept.get_or_init(|| {
            let kept = self
                .log
                .records(record.topic(), record.place.partition)
                .into_iter();
            kept.map(|kept| kept.offset).collect()
        });
        kept.contains(&record.place.offset)
    }

    fn gone(&self, record: &LogRecord<'_>) -> &'static str {
        match self.is_kept(record) {
            true => "",
            false => "; the log does not hold it any more",
        }
    }

    /// Checks that no handler got a record before its transaction was committed.
    fn dirty_reads(&mut self) {
        let (_, topic, partition) = self.read;
        for (offset, handlings) in self.index.handled(self.read) {
            let record = self.index.record(topic, partition, offset);
            let since = record.and_then(|record| self.index.visible_since(record));
            let is_early = |handling: &&Handling<'_>| since.is_none_or(|since| handling.at < since);
            let Some(early) = handlings.iter().find(is_early) else {
                continue;
            };
            let why = match (record, since) {
                (None, _) => "though there is no such record",
                (_, None) => "though it was never committed",
                _ => "before it was committed",
            };
            let key = record.and_then(LogRecord::key);
            let what = format!(
                "{topic}[{partition}]@{offset} {} was handled by {} {why}",
                text::key(key),
                self.index.display_name(early.client)
            );
            let place = Place::of(topic, partition).at(offset).keyed(key);
            self.found.push(Violation::at("dirty read", place, what));
        }
    }

    /// Checks that effective handlings are in the order of the log.
    fn order(&mut self, all: &[Effective<'_>]) {
        for pair in all.windows(2) {
            let [before, after] = pair else { continue };
            if before.at < after.at {
                continue;
            }
            let what = format!(
                "{} was handled by {} before {} was by {}",
                describe(&after.record),
                self.index.display_name(after.client),
                describe(&before.record),
                self.index.display_name(before.client),
            );
            let place = Place::of_record(&after.record);
            self.found.push(Violation::at("key order", place, what));
        }
    }
}
