//! What happened, for whoever judges a run afterwards: what lay in the log before compaction took it,
//! who handled which record, who committed what. Kept only when somebody asks for it.

use std::sync::Arc;
use std::time::Duration;

use super::Simulated;
use super::state::{ClientId, State};
use super::topics::{Body, Serial};
use crate::record::{Append, Offset, Record};

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

impl State {
    /// Remembers what happened, if anybody wants to know.
    pub(super) fn remember(&mut self, what: impl FnOnce() -> Happened) {
        if let Some(history) = &mut self.history {
            let (at, what) = (self.now, what());
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
