//! A group graph resolved against a log: topics by number, partition counts, largest messages. Made once at
//! the start, read by the core for every record.

use std::time::Duration;

use super::deaths::Deaths;
use crate::codec::Format;
use crate::dispatch::Call;
use crate::graph::Start;
use crate::log::Group;
use crate::record::TopicId;

/// How long a failed commit, flush or read waits before it is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(200);

/// An input and how it is handled.
#[derive(Debug, Clone)]
pub(crate) struct InputPlan {
    pub(crate) topic: TopicId,
    pub(crate) partitions: i32,
    /// The function that decodes a record and calls its handler.
    pub(crate) call: Call,
    /// Where reading begins when nothing is committed.
    pub(crate) start: Start,
    /// Whether its records have no keys, and so may lie in any partition.
    pub(crate) keyless: bool,
    pub(crate) key: Format,
    pub(crate) partitioner: &'static str,
    /// The partition of a key among so many.
    pub(crate) partition_of: fn(&[u8], i32) -> i32,
}

/// An output.
#[derive(Debug, Clone)]
pub(crate) struct OutputPlan {
    /// Its name, as the handler's context gives it.
    pub(crate) name: &'static str,
    pub(crate) topic: TopicId,
    pub(crate) partitions: i32,
    /// The largest record batch it takes, in bytes.
    pub(crate) max_message_bytes: usize,
}

/// The group table.
#[derive(Debug, Clone)]
pub(crate) struct TablePlan {
    pub(crate) topic: TopicId,
    /// The largest record batch it takes, in bytes.
    pub(crate) max_message_bytes: usize,
    /// The definition of the table, as text.
    pub(crate) fingerprint: String,
}

/// A table that is read by the record's own key.
#[derive(Debug, Clone)]
pub(crate) struct JoinPlan {
    /// Its name, as the handler's context gives it.
    pub(crate) name: &'static str,
    pub(crate) topic: TopicId,
    pub(crate) key: Format,
    /// The definition of the table, as text.
    pub(crate) fingerprint: String,
}

/// Walks over the group table.
#[derive(Debug, Clone)]
pub(crate) struct VisitPlan {
    /// The topic whose records ask for walks: an input of the group.
    pub(crate) topic: TopicId,
    /// The handlers by name.
    pub(crate) calls: Vec<(&'static str, Call)>,
}

/// Everything that the core knows of its group.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) group: Group,
    pub(crate) cluster: String,
    /// Whether the log can say what else the group committed, so that another program under the same
    /// name is found before the first handler runs.
    pub(crate) verifies: bool,
    /// The inputs, the loop topic among them.
    pub(crate) inputs: Vec<InputPlan>,
    pub(crate) outputs: Vec<OutputPlan>,
    /// The group table; `None` in a stateless group.
    pub(crate) table: Option<TablePlan>,
    pub(crate) joins: Vec<JoinPlan>,
    /// The walks over the table; `None` where there are none.
    pub(crate) visits: Option<VisitPlan>,
    /// How often a barrier runs.
    pub(crate) barrier: Duration,
    /// How long acknowledged writes wait for the store.
    pub(crate) flush_interval: Duration,
    /// How many bytes of them are flushed without waiting so long.
    pub(crate) flush_bytes: usize,
    /// For how long a store may refuse flushes, or not be readable, before its task stops.
    pub(crate) store_timeout: Duration,
    /// How many bytes the copies of this worker may take in memory.
    pub(crate) memory: usize,
    /// The records that earlier runs of this instance died of.
    pub(crate) deaths: Deaths,
}

impl Plan {
    pub(crate) fn input(&self, topic: TopicId) -> Option<&InputPlan> {
        self.inputs.iter().find(|input| input.topic == topic)
    }

    /// The definition of a table of the plan, as text.
    pub(crate) fn fingerprint(&self, table: TopicId) -> Option<&str> {
        let own = self.table.as_ref().filter(|own| own.topic == table);
        let joined = || Some(self.join(table)?.fingerprint.as_str());
        own.map(|own| own.fingerprint.as_str()).or_else(joined)
    }

    pub(crate) fn join(&self, topic: TopicId) -> Option<&JoinPlan> {
        self.joins.iter().find(|join| join.topic == topic)
    }

    pub(crate) fn output(&self, name: &str) -> &OutputPlan {
        self.outputs
            .iter()
            .find(|output| std::ptr::eq(output.name, name) || output.name == name)
            .expect("the macros let a handler emit to declared outputs only")
    }
}
