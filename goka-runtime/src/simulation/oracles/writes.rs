//! Checks `durable writes` and `stale write`: compares what handlers wrote with the records in the log.

use std::collections::{HashMap, VecDeque};

use super::index::{Index, LogRecord};
use super::inputs::Effective;
use super::model::ModelResult;
use super::text::{self, Values, describe};
use super::{Place, ProcessorRun, Violation};
use crate::graph::EdgeKind;
use crate::log::simulated::{Content, Wrote};

/// The visible records of members that no effective handling has claimed yet, by client, transaction and
/// content.
struct UnclaimedWrites<'p, 'e>(HashMap<(u64, u64, Content<'e>), VecDeque<&'p LogRecord<'e>>>);

impl<'p, 'e> UnclaimedWrites<'p, 'e> {
    fn of(index: &'p Index<'e>) -> Self {
        let mut unclaimed = Self(HashMap::new());
        for record in index.topics().flat_map(|topic| index.of_members(topic)) {
            let client = record.client.unwrap_or_default();
            let content = (client, record.serial, record.content());
            unclaimed.0.entry(content).or_default().push_back(record);
        }
        unclaimed
    }

    /// Claims the record of a write; returns whether it was in the log before the commit.
    fn claim(&mut self, of: &Effective<'e>, wrote: &'e Wrote, is_exactly_once: bool) -> bool {
        let serial = match is_exactly_once {
            true => of.commit.serial.unwrap_or(u64::MAX),
            false => 0,
        };
        let content = (of.client, serial, wrote.content());
        let Some(records) = self.0.get_mut(&content) else {
            return false;
        };
        // Handlings are in time order: a record from before this one belongs to another.
        while records.front().is_some_and(|record| record.at < of.at) {
            records.pop_front();
        }
        let in_time = |record: &mut &LogRecord<'_>| record.at < of.commit.at;
        records.pop_front_if(in_time).is_some()
    }
}

pub(super) fn judge(
    index: &Index<'_>,
    processors: &[ProcessorRun<'_>],
    models: &[Option<ModelResult>],
    found: &mut Vec<Violation>,
) {
    let mut unclaimed = UnclaimedWrites::of(index);
    let values = Values::of(processors);
    for processor in processors {
        for effective in &processor.effective {
            for wrote in effective.wrote {
                if !unclaimed.claim(effective, wrote, processor.is_exactly_once()) {
                    found.push(lost(index, processor, effective, wrote, &values));
                }
            }
        }
    }
    let mut stale: Vec<&LogRecord<'_>> = unclaimed.0.into_values().flatten().collect();
    stale.retain(|record| is_judged(index, processors, models, record));
    stale.sort_by_key(|record| record.at);
    found.extend(stale.into_iter().map(|record| {
        let who = index.writer(record);
        let value = values.show(record.topic(), record.value());
        let what = format!(
            "{} = {value} is visible, though no effective handling of {who} wrote it",
            describe(record)
        );
        Violation::at("stale write", Place::of_record(record), what)
    }));
}

/// Whether `stale write` applies to a record: exactly once, of a table, or of an output without a model.
fn is_judged(
    index: &Index<'_>,
    processors: &[ProcessorRun<'_>],
    models: &[Option<ModelResult>],
    record: &LogRecord<'_>,
) -> bool {
    let group = record.client.and_then(|client| index.group_of(client));
    let of = processors.iter().zip(models);
    let mut of = of.filter(|(processor, _)| Some(processor.group()) == group);
    of.any(|(processor, model)| {
        let table = processor.definition.graph.table();
        let is_table = table.is_some_and(|table| table.topic.name == record.topic());
        processor.is_exactly_once() && !processor.visited && (is_table || model.is_none())
    })
}

fn lost(
    index: &Index<'_>,
    processor: &ProcessorRun<'_>,
    of: &Effective<'_>,
    wrote: &Wrote,
    values: &Values<'_>,
) -> Violation {
    let kind = match of.edge.kind {
        EdgeKind::Loopback { .. } => "loopback record",
        _ => "record",
    };
    let by_when = match (processor.is_exactly_once(), of.commit.serial) {
        (false, _) => "was not in the log when its offset was committed".to_owned(),
        (true, Some(serial)) => {
            format!("is not in transaction {serial}, which committed its offset")
        }
        (true, None) => "is not in a transaction that committed its offset".to_owned(),
    };
    let (topic, partition) = (&wrote.topic, wrote.partition);
    let what = format!(
        "what {} wrote for {kind} {} {by_when}: {topic}[{partition}] {} = {}",
        index.display_name(of.client),
        describe(&of.record),
        text::key(wrote.key.as_deref()),
        values.show(topic, wrote.value.as_deref()),
    );
    Violation::at("durable writes", Place::of_record(&of.record), what)
}
