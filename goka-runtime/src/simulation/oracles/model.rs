//! The reference model: calls the handlers for one record after the other, on a table in a map, without
//! faults. It uses neither the engine's core nor a store.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Builder, Runtime};

use super::index::Index;
use super::inputs::Effective;
use super::text::describe;
use super::{FinishedRun, Place, ProcessorRun, Violation};
use crate::dispatch::{
    Call, ContextError, Deferred, Destination, Encode, Handling, Incoming, RawRecord, Scope,
};
use crate::graph::EdgeKind;
use crate::log::simulated::Wrote;
use crate::record::{Guarantee, Timestamp};
use crate::shared_error::HandlerError;
use crate::table::{Stored, StoredRef};
use crate::tester::folded::{StoredRows as Rows, fold, put};
use crate::testing::encoded;

#[derive(Debug)]
pub(super) struct Emitted {
    pub(super) wrote: Wrote,
    /// The index of the effective handling that emitted it.
    pub(super) by: usize,
}

/// The first difference between run and model for a key of the table.
#[derive(Debug)]
pub(super) struct Divergence {
    /// The index of the effective handling in which they differ.
    pub(super) by: usize,
    /// What the model wrote: `None` for nothing, `Some(None)` for a deletion.
    pub(super) expected: Option<Option<Vec<u8>>>,
}

/// What a processor should have written.
#[derive(Debug, Default)]
pub(super) struct ModelResult {
    /// The rows of its table, by partition.
    pub(super) rows: BTreeMap<i32, Rows>,
    /// Its outputs, in the order of the handlings.
    pub(super) emitted: Vec<Emitted>,
    /// Where the run first wrote something else, by partition and key.
    pub(super) divergences: BTreeMap<(i32, Vec<u8>), Divergence>,
}

/// Computes what a processor should have written; `None` where that cannot be known.
pub(super) fn compute(
    run: &FinishedRun<'_>,
    index: &Index<'_>,
    processor: &ProcessorRun<'_>,
    unjudged: &mut Vec<String>,
    failed: &mut Vec<Violation>,
) -> Option<ModelResult> {
    if processor.guarantee == Guarantee::AtLeastOnce && !run.idempotent {
        return None;
    }
    let unknowns = unknowns(run, processor);
    if !unknowns.is_empty() {
        let name = processor.definition.graph.name;
        unjudged.extend(unknowns.into_iter().map(|why| format!("{name}: {why}")));
        return None;
    }
    let mut model = Model {
        tables: tables(run, index, processor),
        counts: counts(run, processor),
        runtime: OnceCell::new(),
        result: ModelResult::default(),
    };
    for (by, effective) in processor.effective.iter().enumerate() {
        if let Err(why) = model.handle(processor, effective, by) {
            let what = format!(
                "{} was handled in the run, but the handler fails for it in the model: {why}",
                describe(&effective.record)
            );
            let place = Place::of_record(&effective.record);
            failed.push(Violation::at("handler", place, what));
            return None;
        }
    }
    Some(model.result)
}

/// Why a model cannot be computed, if it cannot.
fn unknowns(run: &FinishedRun<'_>, processor: &ProcessorRun<'_>) -> Vec<String> {
    let mut unknowns = Vec::new();
    for edge in processor.definition.graph.edges {
        let (name, how) = match edge.kind {
            EdgeKind::Join => (edge.topic.name, "joins"),
            EdgeKind::Lookup => (edge.topic.name, "looks up in"),
            _ => continue,
        };
        if !run.loaded.contains(&name) {
            unknowns.push(format!(
                "it {how} `{name}`, whose contents at the time are not known"
            ));
        }
    }
    if processor.visited {
        unknowns.push("its table was visited".to_owned());
    }
    unknowns
}

/// The loaded tables that a processor reads, by partition.
fn tables(
    run: &FinishedRun<'_>,
    index: &Index<'_>,
    processor: &ProcessorRun<'_>,
) -> HashMap<&'static str, BTreeMap<i32, Rows>> {
    let mut tables = HashMap::new();
    for edge in processor.definition.graph.edges {
        let name = edge.topic.name;
        if !matches!(edge.kind, EdgeKind::Join | EdgeKind::Lookup) || tables.contains_key(name) {
            continue;
        }
        debug_assert!(run.loaded.contains(&name), "see `unknowns`");
        let partitions = index.partitions(name);
        let folded = partitions.map(|partition| (partition, folded(index, name, partition)));
        tables.insert(name, folded.collect());
    }
    tables
}

/// The fold of the visible records of a partition of a table.
pub(super) fn folded(index: &Index<'_>, topic: &str, partition: i32) -> Rows {
    let mut rows = Rows::new();
    for record in index.visible(topic, partition) {
        fold(&mut rows, &record.body.record(record.place.offset));
    }
    rows
}

fn counts(run: &FinishedRun<'_>, processor: &ProcessorRun<'_>) -> HashMap<&'static str, i32> {
    let mut counts = HashMap::new();
    for edge in processor.definition.graph.edges {
        if matches!(edge.kind, EdgeKind::Output | EdgeKind::Loopback { .. })
            && let Some((info, _)) = run.log.topic(edge.topic.name)
        {
            counts.insert(edge.topic.name, info.partitions);
        }
    }
    counts
}

struct Model {
    tables: HashMap<&'static str, BTreeMap<i32, Rows>>,
    counts: HashMap<&'static str, i32>,
    /// Made when the first asynchronous handler is called.
    runtime: OnceCell<Runtime>,
    result: ModelResult,
}

impl Model {
    fn handle(
        &mut self,
        processor: &ProcessorRun<'_>,
        effective: &Effective<'_>,
        by: usize,
    ) -> Result<(), String> {
        let (EdgeKind::Input { call, .. } | EdgeKind::Loopback { call }) = effective.edge.kind
        else {
            return Ok(());
        };
        let record = &effective.record;
        let headers = record.body.record(record.place.offset).headers;
        let incoming = Incoming {
            group: processor.group(),
            topic: effective.edge.topic.name,
            partition: record.place.partition,
            offset: record.place.offset,
            timestamp: record.body.timestamp,
            key: record.key(),
            value: record.value(),
            headers,
        };
        let rows = self.result.rows.entry(record.place.partition).or_default();
        let mut scope = ModelScope {
            record: incoming,
            has_table: processor.definition.graph.table().is_some(),
            rows,
            tables: &self.tables,
            counts: &self.counts,
            written: None,
            emitted: Vec::new(),
            by,
            buffer: Vec::new(),
        };
        let raw = RawRecord {
            record: incoming,
            scope: &mut scope,
        };
        let (shared, runtime) = (processor.shared, &self.runtime);
        let outcome = catch_unwind(AssertUnwindSafe(|| match call {
            Call::Sync(call) => call(shared, raw),
            Call::Async(call) => block_on(runtime, call(shared, raw)),
        }));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the handler panicked".to_owned()),
        }
        let (written, emitted) = (scope.written, scope.emitted);
        if let (Some(table), Some(key)) = (processor.definition.graph.table(), record.key()) {
            let expected = written
                .as_ref()
                .map(|written| written.as_ref().map(|stored| &stored.value));
            if expected != effective.wrote_to(table.topic.name).map(Option::as_ref) {
                let expected = expected.map(|value| value.cloned());
                let of = (record.place.partition, key.to_vec());
                let entry = self.result.divergences.entry(of);
                entry.or_insert(Divergence { by, expected });
            }
            if let Some(written) = written {
                put(rows, key, written);
            }
        }
        self.result.emitted.extend(emitted);
        Ok(())
    }
}

/// Runs an asynchronous handler on a paused clock: a timer that it waits for fires at once.
fn block_on(runtime: &OnceCell<Runtime>, handling: Handling<'_>) -> Result<(), HandlerError> {
    let runtime = match runtime.get() {
        Some(runtime) => runtime,
        None => {
            let mut builder = Builder::new_current_thread();
            let made = builder.enable_all().start_paused(true).build()?;
            runtime.get_or_init(|| made)
        }
    };
    runtime.block_on(handling)
}

/// The scope of one record, on the model's tables.
struct ModelScope<'m> {
    record: Incoming<'m>,
    has_table: bool,
    rows: &'m Rows,
    tables: &'m HashMap<&'static str, BTreeMap<i32, Rows>>,
    counts: &'m HashMap<&'static str, i32>,
    /// What this record wrote to its key.
    written: Option<Option<Stored>>,
    emitted: Vec<Emitted>,
    by: usize,
    buffer: Vec<u8>,
}

fn view(stored: &Stored) -> StoredRef<'_> {
    StoredRef {
        timestamp: stored.timestamp,
        value: &stored.value,
    }
}

impl Scope for ModelScope<'_> {
    fn load(&mut self) -> Result<Option<StoredRef<'_>>, ContextError> {
        if !self.has_table {
            return Ok(None);
        }
        let known = self.rows.get(self.record.key.unwrap_or_default());
        let stored = match &self.written {
            Some(written) => written.as_ref(),
            None => known,
        };
        Ok(stored.map(view))
    }

    fn store(&mut self, value: Option<Encode<'_>>) -> Result<(), ContextError> {
        if self.has_table {
            let value = value.map(|value| encoded(value, "value", "the table"));
            let timestamp = self.record.timestamp;
            let stored = value.transpose()?;
            self.written = Some(stored.map(|value| Stored { timestamp, value }));
        }
        Ok(())
    }

    fn join(&mut self, table: &'static str) -> Result<Option<StoredRef<'_>>, ContextError> {
        let parts = self.tables.get(table);
        let rows = parts.and_then(|parts| parts.get(&self.record.partition));
        let stored = rows.and_then(|rows| rows.get(self.record.key.unwrap_or_default()));
        Ok(stored.map(view))
    }

    fn lookup(
        &mut self,
        table: &'static str,
        key: Encode<'_>,
    ) -> Result<Option<StoredRef<'_>>, ContextError> {
        self.buffer = encoded(key, "key", table)?;
        let parts = self.tables.get(table).into_iter();
        let mut parts = parts.flat_map(BTreeMap::values);
        Ok(parts.find_map(|rows| rows.get(&self.buffer)).map(view))
    }

    fn defer(&mut self) -> Deferred {
        Deferred::new(|_| ())
    }

    fn emit(
        &mut self,
        to: &Destination,
        key: Option<Encode<'_>>,
        value: Option<Encode<'_>>,
        _timestamp: Option<Timestamp>,
        _headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), ContextError> {
        let key = key.map(|key| encoded(key, "key", to.topic)).transpose()?;
        let value = value.map(|value| encoded(value, "value", to.topic));
        let value = value.transpose()?;
        let count = self.counts.get(to.topic).copied().unwrap_or(1);
        let partition = match &key {
            Some(key) => (to.partition_of)(key, count),
            None => self.record.partition % count,
        };
        let wrote = Wrote {
            topic: to.topic.into(),
            partition,
            key,
            value,
        };
        let by = self.by;
        self.emitted.push(Emitted { wrote, by });
        Ok(())
    }
}
