//! The independent reference: handlers called one record after the other, on a table in a map, with
//! nothing that can go wrong. Neither the core nor a store has a part in it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Builder, Runtime};

use super::index::Index;
use super::inputs::Effective;
use super::text::record;
use super::{Case, Evidence, Place, Violation};
use crate::dispatch::{
    Call, ContextError, Deferred, Destination, Encode, Handling, Incoming, RawRecord, Scope,
};
use crate::error::HandlerError;
use crate::graph::EdgeKind;
use crate::record::{Guarantee, Timestamp};
use crate::table::{Stored, StoredRef};

/// The rows of a table, or of a partition of it.
pub(super) type Rows = BTreeMap<Vec<u8>, Stored>;

/// A record that was to be emitted.
#[derive(Debug)]
pub(super) struct Emitted {
    pub(super) topic: &'static str,
    pub(super) partition: i32,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// For which effective handling, by its place among them.
    pub(super) by: usize,
}

/// Where the run left the model, for a key of the table.
#[derive(Debug)]
pub(super) struct Apart {
    /// At which effective handling, by its place among them.
    pub(super) by: usize,
    /// What it should have written; `None` where nothing, `Some(None)` where a deletion.
    pub(super) expected: Option<Option<Vec<u8>>>,
}

/// What a processor should have come to.
#[derive(Debug, Default)]
pub(super) struct Modelled {
    /// By partition.
    pub(super) rows: BTreeMap<i32, Rows>,
    /// In the order of the handlings.
    pub(super) emitted: Vec<Emitted>,
    /// The first time that the run wrote something else to a key of a partition.
    pub(super) apart: BTreeMap<(i32, Vec<u8>), Apart>,
}

/// Reckons what a processor should have come to; `None` where that cannot be known.
pub(super) fn reckon(
    evidence: &Evidence<'_>,
    index: &Index<'_>,
    case: &Case<'_>,
    unjudged: &mut Vec<String>,
    failed: &mut Vec<Violation>,
) -> Option<Modelled> {
    if case.guarantee == Guarantee::AtLeastOnce && !evidence.idempotent {
        return None;
    }
    let doubts = doubts(evidence, case);
    if !doubts.is_empty() {
        let name = case.definition.graph.name;
        let told = doubts.into_iter().map(|why| format!("{name}: {why}"));
        unjudged.extend(told);
        return None;
    }
    let mut model = Model {
        tables: tables(evidence, index, case),
        counts: counts(evidence, case),
        runtime: OnceCell::new(),
        all: Modelled::default(),
    };
    for (by, effective) in case.effective.iter().enumerate() {
        if let Err(why) = model.handle(case, effective, by) {
            let what = format!(
                "{} was handled in the run, and is not when it is handled again: {why}",
                record(&effective.record)
            );
            let place = Place::of_record(&effective.record);
            failed.push(Violation::at("handler", place, what));
            return None;
        }
    }
    Some(model.all)
}

/// What a model does not know.
fn doubts(evidence: &Evidence<'_>, case: &Case<'_>) -> Vec<String> {
    let mut doubts = Vec::new();
    for edge in case.definition.graph.edges {
        let (name, how) = match edge.kind {
            EdgeKind::Join => (edge.topic.name, "joins"),
            EdgeKind::Lookup => (edge.topic.name, "looks up in"),
            _ => continue,
        };
        if !evidence.loaded.contains(&name) {
            doubts.push(format!(
                "it {how} `{name}`, and what that held at the time is not known"
            ));
        }
    }
    if case.visited {
        doubts.push("its table was visited".to_owned());
    }
    doubts
}

/// The loaded tables that a processor reads, by partition.
fn tables(
    evidence: &Evidence<'_>,
    index: &Index<'_>,
    case: &Case<'_>,
) -> HashMap<&'static str, BTreeMap<i32, Rows>> {
    let mut tables = HashMap::new();
    for edge in case.definition.graph.edges {
        let name = edge.topic.name;
        if !matches!(edge.kind, EdgeKind::Join | EdgeKind::Lookup) || tables.contains_key(name) {
            continue;
        }
        debug_assert!(evidence.loaded.contains(&name), "see `doubts`");
        let partitions = index.partitions(name);
        let folded = partitions.map(|partition| (partition, folded(index, name, partition)));
        tables.insert(name, folded.collect());
    }
    tables
}

/// What everybody saw of a partition of a table, folded.
pub(super) fn folded(index: &Index<'_>, topic: &str, partition: i32) -> Rows {
    let mut rows = Rows::new();
    for lies in index.seen(topic, partition) {
        let value = lies.value().map(<[u8]>::to_vec);
        let timestamp = lies.body.timestamp;
        let stored = value.map(|value| Stored { timestamp, value });
        if let Some(key) = lies.key() {
            put(&mut rows, key, stored);
        }
    }
    rows
}

fn put(rows: &mut Rows, key: &[u8], stored: Option<Stored>) {
    match stored {
        Some(stored) => drop(rows.insert(key.to_vec(), stored)),
        None => drop(rows.remove(key)),
    }
}

/// How many partitions the topics have that a processor emits to.
fn counts(evidence: &Evidence<'_>, case: &Case<'_>) -> HashMap<&'static str, i32> {
    let mut counts = HashMap::new();
    for edge in case.definition.graph.edges {
        if matches!(edge.kind, EdgeKind::Output | EdgeKind::Loopback { .. })
            && let Some((info, _)) = evidence.log.topic(edge.topic.name)
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
    all: Modelled,
}

impl Model {
    fn handle(
        &mut self,
        case: &Case<'_>,
        effective: &Effective<'_>,
        by: usize,
    ) -> Result<(), String> {
        let (EdgeKind::Input { call, .. } | EdgeKind::Loopback { call }) = effective.edge.kind
        else {
            return Ok(());
        };
        let lies = &effective.record;
        let headers = lies.body.record(lies.offset).headers;
        let record = Incoming {
            group: case.group(),
            topic: effective.edge.topic.name,
            partition: lies.partition,
            offset: lies.offset,
            timestamp: lies.body.timestamp,
            key: lies.key(),
            value: lies.value(),
            headers,
        };
        let rows = self.all.rows.entry(lies.partition).or_default();
        let mut scope = ModelScope {
            record,
            has_table: case.definition.graph.table().is_some(),
            rows,
            tables: &self.tables,
            counts: &self.counts,
            written: None,
            emitted: Vec::new(),
            by,
            buffer: Vec::new(),
        };
        let raw = RawRecord {
            record,
            scope: &mut scope,
        };
        let (shared, runtime) = (case.shared, &self.runtime);
        let outcome = catch_unwind(AssertUnwindSafe(|| match call {
            Call::Sync(call) => call(shared, raw),
            Call::Async(call) => drive(runtime, call(shared, raw)),
        }));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the handler panicked".to_owned()),
        }
        let (written, emitted) = (scope.written, scope.emitted);
        if let (Some(table), Some(key)) = (case.definition.graph.table(), lies.key()) {
            let expected = written
                .as_ref()
                .map(|written| written.as_ref().map(|stored| &stored.value));
            if expected != effective.wrote_to(table.topic.name).map(Option::as_ref) {
                let expected = expected.map(|value| value.cloned());
                let apart = self.all.apart.entry((lies.partition, key.to_vec()));
                apart.or_insert(Apart { by, expected });
            }
            if let Some(written) = written {
                put(rows, key, written);
            }
        }
        self.all.emitted.extend(emitted);
        Ok(())
    }
}

/// On a clock that stands still: a timer that the handler waits for fires at once.
fn drive(runtime: &OnceCell<Runtime>, handling: Handling<'_>) -> Result<(), HandlerError> {
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

/// The scope of one record.
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

fn encode(what: &'static str, topic: &str, encode: Encode<'_>) -> Result<Vec<u8>, ContextError> {
    let mut bytes = Vec::new();
    encode(&mut bytes).map_err(|source| ContextError::Codec {
        what,
        topic: topic.to_owned(),
        source,
    })?;
    Ok(bytes)
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
            let value = value.map(|value| encode("value", "the table", value));
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
        self.buffer = encode("key", table, key)?;
        let mut parts = self
            .tables
            .get(table)
            .into_iter()
            .flat_map(BTreeMap::values);
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
        let key = key.map(|key| encode("key", to.topic, key)).transpose()?;
        let value = value.map(|value| encode("value", to.topic, value));
        let value = value.transpose()?;
        let count = self.counts.get(to.topic).copied().unwrap_or(1);
        let partition = match &key {
            Some(key) => (to.partition_of)(key, count),
            None => self.record.partition % count,
        };
        self.emitted.push(Emitted {
            topic: to.topic,
            partition,
            key,
            value,
            by: self.by,
        });
        Ok(())
    }
}
