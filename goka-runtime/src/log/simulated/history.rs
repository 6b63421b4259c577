//! The history of a run, for the oracles that check it afterwards: what was in the log before compaction
//! removed it, which client handled which record, which client committed what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::topics::{Body, Serial};
use crate::record::{Append, Offset};

/// The number of a member's client; never used twice.
pub(crate) type ClientId = u64;

/// A moment of a run.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// By the log's clock.
    pub(crate) at: Duration,
    pub(crate) what: Happened,
}

/// What a handler wrote, as it should be in the log.
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
    /// A record was written to the log. `client` is `None` for what no member wrote; `serial` is the number of
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
    /// Offsets of a group were committed by a client.
    Committed {
        client: ClientId,
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
        offset: Offset,
    },
    /// Something was done to the log or its members: a fault, a crash, compaction.
    Event(String),
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
            Happened::Event(what) => f.write_str(what),
        }
    }
}
