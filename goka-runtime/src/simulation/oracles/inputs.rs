//! What of the inputs was handled, by whom, and when: `lost input`, `dirty read`, `key order`.

use std::cell::OnceCell;
use std::collections::HashSet;

use super::index::{Commit, Handling, Index, Lies, Read};
use super::text::{self, record};
use super::{Evidence, Place, Verdict, Violation, inputs_of};
use crate::graph::{Definition, Edge, EdgeKind, Start};
use crate::log::simulated::{Simulated, Wrote};
use crate::record::{Offset, TopicPartition};

/// A handling that counts: the last one by whoever committed past its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effective<'e> {
    /// Its place in the history.
    pub(super) at: usize,
    pub(super) client: u64,
    pub(super) edge: &'static Edge,
    pub(super) record: Lies<'e>,
    pub(super) wrote: &'e [Wrote],
    pub(super) commit: Commit,
}

impl<'e> Effective<'e> {
    /// What it wrote to the table, at last.
    pub(super) fn wrote_to(&self, table: &str) -> Option<&'e Option<Vec<u8>>> {
        let mut wrote = self.wrote.iter().rev();
        let found = wrote.find(|wrote| *wrote.topic == *table);
        found.map(|wrote| &wrote.value)
    }
}

/// Judges all inputs of a processor, and hands out what counts in the order in which it was handled.
pub(super) fn judge<'e>(
    evidence: &Evidence<'e>,
    index: &Index<'e>,
    definition: &'static Definition,
    verdict: &mut Verdict,
) -> Vec<Effective<'e>> {
    let mut all = Vec::new();
    for edge in inputs_of(definition) {
        let topic = edge.topic.name;
        let now = evidence.log.topic(topic);
        let is_compact = now.as_ref().is_some_and(|(info, _)| info.policy.compact);
        let ranges = now.map(|(_, ranges)| ranges).unwrap_or_default();
        for partition in index.partitions(topic) {
            let range = usize::try_from(partition)
                .ok()
                .and_then(|at| ranges.get(at));
            let mut input = Input {
                is_compact,
                end: range.map(|range| range.high),
                kept: OnceCell::new(),
                log: evidence.log,
                index,
                edge,
                read: (definition.graph.group, topic, partition),
                found: Vec::new(),
            };
            all.extend(input.judge());
            verdict.violations.append(&mut input.found);
        }
        if starts_late(edge) {
            let name = definition.graph.name;
            let what = format!("{name}: what `{topic}` held before it began to read is not judged");
            verdict.unjudged.push(what);
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

/// One partition of an input.
struct Input<'i, 'e> {
    log: &'i Simulated,
    index: &'i Index<'e>,
    edge: &'static Edge,
    read: Read<'static>,
    is_compact: bool,
    /// Up to where the partition goes.
    end: Option<Offset>,
    /// What the log still holds of it, once somebody asked.
    kept: OnceCell<HashSet<Offset>>,
    found: Vec<Violation>,
}

impl<'e> Input<'_, 'e> {
    fn judge(&mut self) -> Vec<Effective<'e>> {
        let (_, topic, partition) = self.read;
        self.dirty_reads();
        let mut records: Vec<&Lies<'e>> = self.index.seen(topic, partition).collect();
        if starts_late(self.edge) {
            // Where it began is told by what it handled first.
            let first = self.index.handled(self.read).next();
            let first = first.map_or(Offset::MAX, |(offset, _)| offset);
            records.retain(|lies| lies.offset >= first);
        }
        let committed = self.committed();
        self.past_the_end(committed);
        let passed = self.passed(&records);
        let mut all = Vec::with_capacity(records.len());
        for (lies, commit) in records.into_iter().zip(passed) {
            match self.effective(lies, commit, committed) {
                Ok(effective) => all.push(effective),
                Err(_) if self.is_compacted(lies) => {}
                Err(why) => {
                    let what = format!("{} {why}{}", record(lies), self.gone(lies));
                    let place = Place::of_record(lies);
                    self.found.push(Violation::at("lost input", place, what));
                }
            }
        }
        self.order(&all);
        all
    }

    /// Up to where the group has come: what the log says, which may be set back.
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

    /// Who moved the group's offset over each record, the last time that anybody did. Operators only
    /// set it.
    fn passed(&self, records: &[&Lies<'e>]) -> Vec<Option<Commit>> {
        let mut passed = vec![None; records.len()];
        let mut position = 0;
        for commit in self.index.commits(self.read) {
            if self.index.is_member(commit.client) && commit.offset > position {
                let from = records.partition_point(|lies| lies.offset < position);
                let to = records.partition_point(|lies| lies.offset < commit.offset);
                passed[from..to].fill(Some(*commit));
            }
            position = commit.offset;
        }
        passed
    }

    fn effective(
        &self,
        lies: &Lies<'e>,
        commit: Option<Commit>,
        committed: Option<Offset>,
    ) -> Result<Effective<'e>, String> {
        let group = self.read.0;
        if committed.is_none_or(|committed| committed <= lies.offset) {
            let how_far = committed.map_or("nothing".to_owned(), |offset| offset.to_string());
            return Err(format!(
                "was left behind: group `{group}` committed {how_far}"
            ));
        }
        let Some(commit) = commit else {
            return Err(format!(
                "was skipped: no member of group `{group}` committed past it"
            ));
        };
        let handlings = self.index.handlings(self.read, lies.offset);
        let is_its =
            |handling: &&Handling<'_>| handling.client == commit.client && handling.at < commit.at;
        let Some(last) = handlings.iter().rev().find(is_its) else {
            let who = self.index.name(commit.client);
            let others = handlings.iter().map(|handling| handling.client);
            let others: Vec<String> = others.map(|client| self.index.name(client)).collect();
            let by = match others.is_empty() {
                true => "nobody handled it".to_owned(),
                false => format!("it was handled by {}", others.join(", ")),
            };
            let offset = commit.offset;
            return Err(format!(
                "was committed past ({offset}) by {who}, never handled by it; {by}"
            ));
        };
        Ok(Effective {
            at: last.at,
            client: last.client,
            edge: self.edge,
            record: *lies,
            wrote: last.wrote,
            commit,
        })
    }

    /// Whether compaction took a record, so that nobody needs to have seen it.
    fn is_compacted(&self, lies: &Lies<'_>) -> bool {
        self.is_compact && !self.is_kept(lies)
    }

    fn is_kept(&self, lies: &Lies<'_>) -> bool {
        let kept = self.kept.get_or_init(|| {
            let kept = self.log.records(lies.topic, lies.partition).into_iter();
            kept.map(|kept| kept.offset).collect()
        });
        kept.contains(&lies.offset)
    }

    fn gone(&self, lies: &Lies<'_>) -> &'static str {
        match self.is_kept(lies) {
            true => "",
            false => "; the log does not hold it any more",
        }
    }

    /// Nobody reads what is not committed.
    fn dirty_reads(&mut self) {
        let (_, topic, partition) = self.read;
        for (offset, handlings) in self.index.handled(self.read) {
            let lies = self.index.lies(topic, partition, offset);
            let since = lies.and_then(|lies| self.index.seen_since(lies));
            let is_early = |handling: &&Handling<'_>| since.is_none_or(|since| handling.at < since);
            let Some(early) = handlings.iter().find(is_early) else {
                continue;
            };
            let why = match (lies, since) {
                (None, _) => "though nothing was written there",
                (_, None) => "though it was never committed",
                _ => "before it was committed",
            };
            let key = lies.and_then(Lies::key);
            let what = format!(
                "{topic}[{partition}]@{offset} {} was handled by {} {why}",
                text::key(key),
                self.index.name(early.client)
            );
            let place = Place::of(topic, partition).at(offset).keyed(key);
            self.found.push(Violation::at("dirty read", place, what));
        }
    }

    /// What counts was handled in the order of the log.
    fn order(&mut self, all: &[Effective<'_>]) {
        for pair in all.windows(2) {
            let [before, after] = pair else { continue };
            if before.at < after.at {
                continue;
            }
            let what = format!(
                "{} was handled by {}, that counts, before {}, by {}",
                record(&after.record),
                self.index.name(after.client),
                record(&before.record),
                self.index.name(before.client),
            );
            let place = Place::of_record(&after.record);
            self.found.push(Violation::at("key order", place, what));
        }
    }
}
