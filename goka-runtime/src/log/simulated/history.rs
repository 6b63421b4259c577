//! What happened, for whoever judges a run afterwards: what lay in the log before compaction took it,
//! who handled which record, who committed what. Kept only when somebody asks for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Simulated;
use super::state::{ClientId, State};
use super::topics::{Body, Serial};
use crate::log::Committed;
use crate::record::{Append, Offset, Record, TopicPartition};

/// A moment of a run.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// By the log's clock.
    pub(crate) at: Duration,
    pub(crate) what: Happened,
}

/// What a handler wrote, as it should lie in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrote {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Wrote {
    pub(crate) fn of(topic: Arc<str>, append: &Append<'_>) -> Self {
        Self {
            topic,
            partition: append.partition,
            key: append.key.map(<[u8]>::to_vec),
            value: append.value.map(<[u8]>::to_vec),
        }
    }
}

/// What happened. Clients are numbered, and no number is used twice: a process that starts again has
/// another one.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    /// A member joined: from now on this number is this name's (`group/instance/worker`).
    Joined { client: ClientId, who: String },
    /// A handler returned `Ok`.
    Handled {
        client: ClientId,
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
        offset: Offset,
        wrote: Vec<Wrote>,
    },
    /// A record lies in the log. `client` is `None` for what no member wrote; `serial` is the number of
    /// its transaction, 0 for none.
    Written {
        client: Option<ClientId>,
        serial: Serial,
        topic: Arc<str>,
        partition: i32,
        offset: Offset,
        body: Arc<Body>,
    },
    /// A transaction ended.
    Ended { serial: Serial, committed: bool },
    /// Offsets of a group count from now on, told by a client.
    Committed {
        client: ClientId,
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
        offset: Offset,
    },
    /// Something was done to the log or its members: a fault, a crash, compaction.
    Told(String),
}

/// Bytes as text.
fn text(bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        None => "nothing".to_owned(),
    }
}

impl fmt::Display for Wrote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (text(self.key.as_deref()), text(self.value.as_deref()));
        write!(f, "{}[{}] {key}={value}", self.topic, self.partition)
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happened::Joined { client, who } => write!(f, "#{client} is {who}"),
            Happened::Handled {
                client,
                topic,
                partition,
                offset,
                wrote,
                ..
            } => {
                write!(f, "#{client} handled {topic}[{partition}]@{offset}:")?;
                wrote.iter().try_for_each(|wrote| write!(f, " {wrote}"))
            }
            Happened::Written {
                client,
                serial,
                topic,
                partition,
                offset,
                body,
            } => {
                match client {
                    Some(client) => write!(f, "#{client}")?,
                    None => f.write_str("somebody")?,
                }
                let (key, value) = (text(body.key.as_deref()), text(body.value.as_deref()));
                write!(f, " wrote {topic}[{partition}]@{offset} {key}={value}")?;
                match serial {
                    0 => Ok(()),
                    serial => write!(f, " in transaction {serial}"),
                }
            }
            Happened::Ended { serial, committed } => {
                let how = if *committed { "committed" } else { "aborted" };
                write!(f, "transaction {serial} {how}")
            }
            Happened::Committed {
                client,
                group,
                topic,
                partition,
                offset,
            } => write!(
                f,
                "#{client} committed {group} {topic}[{partition}]@{offset}"
            ),
            Happened::Told(what) => f.write_str(what),
        }
    }
}

impl State {
    /// Remembers what happened, if anybody wants to know.
    pub(super) fn remember(&mut self, what: impl FnOnce() -> Happened) {
        if let Some(history) = &mut self.history {
            let (at, what) = (self.now, what());
            if !matches!(what, Happened::Told(_)) {
                self.chance.note(at, || what.to_string());
            }
            history.push(Moment { at, what });
        }
    }
}

impl Simulated {
    /// Remembers from now on what happens.
    pub(crate) fn keep_history(&self) {
        self.0.lock().history.get_or_insert_default();
    }

    /// What happened so far; it begins anew.
    pub(crate) fn take_history(&self) -> Vec<Moment> {
        let mut state = self.0.lock();
        state
            .history
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The number of the client that joined last.
    pub(crate) fn last_client(&self) -> ClientId {
        let state = self.0.lock();
        state
            .clients
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default()
    }

    /// How many partitions a topic has; 0 where there is none.
    pub(crate) fn partitions_of(&self, topic: &str) -> i32 {
        let state = self.0.lock();
        state
            .topics
            .get(topic)
            .map_or(0, |topic| topic.info.partitions)
    }

    /// Kills one client, if it lives: nothing that it does from now on arrives.
    pub(crate) fn kill_client(&self, client: ClientId) {
        let mut state = self.0.lock();
        if !state.dead.contains(&client) {
            state.bury(&[client]);
        }
    }

    /// How long tombstones of topics stay that are made from now on, and how many records are fetched
    /// at once.
    pub(crate) fn set_limits(&self, delete_retention: Duration, batch: usize) {
        let mut state = self.0.lock();
        state.delete_retention = Some(delete_retention);
        state.batch = Some(batch);
    }

    /// Puts offsets back that a group has lost.
    pub(crate) fn restore_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Committed>,
    ) {
        let mut state = self.0.lock();
        if let Some(group) = state.groups.get_mut(group) {
            for (tp, committed) in offsets {
                let place = (tp.topic.clone(), tp.partition);
                group
                    .offsets
                    .entry(place)
                    .or_insert_with(|| committed.clone());
            }
        }
        state.version += 1;
        state.note(|| format!("{group}: offsets are put back"));
    }

    /// What a group has still to do of a topic: of each partition the committed offset, and the offset
    /// behind the last record that everybody sees, where that is further.
    pub(crate) fn behind(&self, group: &str, topic: &str) -> Vec<(i32, Offset, Offset)> {
        let state = self.0.lock();
        let group = state.groups.get(group);
        let Some((name, topic)) = state.topics.get_key_value(topic) else {
            return Vec::new();
        };
        let mut behind = Vec::new();
        for (number, partition) in (0..).zip(&topic.partitions) {
            let committed = group.and_then(|group| group.committed(name, number));
            let committed = committed.map_or(0, |committed| committed.offset);
            if let Some((_, record)) = partition.committed(committed).last() {
                behind.push((number, committed, record.offset + 1));
            }
        }
        behind
    }

    /// Whether a transaction is open anywhere, or records are under way.
    pub(crate) fn is_unsettled(&self) -> bool {
        let state = self.0.lock();
        let mut partitions = state.topics.values().flat_map(|topic| &topic.partitions);
        !state.under_way.is_empty()
            || partitions.any(|partition| partition.range().stable < partition.range().high)
    }

    /// Adds something that the log itself does not see.
    pub(crate) fn tell_history(&self, what: Happened) {
        self.0.lock().remember(|| what);
    }

    /// Writes a record past everything that may go wrong, and says where it lies; `None` where there is
    /// no such partition.
    pub(crate) fn put(&self, topic: &str, partition: i32, record: &Record<'_>) -> Option<Offset> {
        let state = &mut *self.0.lock();
        state.written += 1;
        let written = state.written;
        let body = Arc::new(Body {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        });
        let (topic, _) = state.topics.get_key_value(topic)?;
        let topic = topic.clone();
        let found = state.topics.get_mut(&topic)?;
        let offset = found
            .partition_mut(partition)?
            .append(body.clone(), 0, written);
        state.version += 1;
        state.remember(|| Happened::Written {
            client: None,
            serial: 0,
            topic,
            partition,
            offset,
            body,
        });
        Some(offset)
    }
}
