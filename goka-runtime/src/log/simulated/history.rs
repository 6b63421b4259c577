//! The history of a run, for the oracles that check it afterwards: what was in the log before compaction
//! removed it, which client handled which record, which client committed what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::topics::{Body, Serial};
use crate::record::{Append, Offset, TopicPartition};

/// The number of a member's client; never used twice.
pub(crate) type ClientId = u64;

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

/// Topic, partition, key and value of a record.
pub(crate) type Content<'w> = (&'w str, i32, Option<&'w [u8]>, Option<&'w [u8]>);

impl Wrote {
    pub(crate) fn content(&self) -> Content<'_> {
        let (key, value) = (self.key.as_deref(), self.value.as_deref());
        (&self.topic, self.partition, key, value)
    }

    pub(crate) fn of(topic: Arc<str>, append: &Append<'_>) -> Self {
        Self {
            topic,
            partition: append.partition,
            key: append.key.map(<[u8]>::to_vec),
            value: append.value.map(<[u8]>::to_vec),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RecordPlace {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: Offset,
}

impl RecordPlace {
    pub(crate) fn of(tp: &TopicPartition, offset: Offset) -> Self {
        Self {
            topic: tp.topic.clone(),
            partition: tp.partition,
            offset,
        }
    }
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// An offset of an input, as a member of a group handled or committed it.
#[derive(Debug, Clone)]
pub(crate) struct MemberOffset {
    pub(crate) client: ClientId,
    pub(crate) group: Arc<str>,
    pub(crate) place: RecordPlace,
}

impl MemberOffset {
    /// Group, topic and partition.
    pub(crate) fn input(&self) -> (&str, &str, i32) {
        (&self.group, &self.place.topic, self.place.partition)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct WrittenRecord {
    /// `None` for what no member wrote.
    pub(crate) client: Option<ClientId>,
    /// The number of its transaction; 0 is none.
    pub(crate) serial: Serial,
    pub(crate) place: RecordPlace,
    pub(crate) body: Arc<Body>,
}

/// What happened. Clients are numbered, and no number is used twice: a process that starts again has
/// another one.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    /// A member joined: from now on this number is this name's (`group/instance/worker`).
    Joined { client: ClientId, who: String },
    /// A handler returned `Ok`.
    Handled(MemberOffset, Vec<Wrote>),
    /// A record was written to the log.
    Written(WrittenRecord),
    /// A transaction ended.
    Ended { serial: Serial, committed: bool },
    /// An offset of a group was committed by a client.
    Committed(MemberOffset),
    /// Something was done to the log or its members: a fault, a crash, compaction.
    Event(String),
}

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
            Happened::Handled(of, wrote) => {
                write!(f, "#{} handled {}:", of.client, of.place)?;
                wrote.iter().try_for_each(|wrote| write!(f, " {wrote}"))
            }
            Happened::Written(written) => {
                match written.client {
                    Some(client) => write!(f, "#{client}")?,
                    None => f.write_str("somebody")?,
                }
                let (key, value) = (&written.body.key, &written.body.value);
                let (key, value) = (text(key.as_deref()), text(value.as_deref()));
                write!(f, " wrote {} {key}={value}", written.place)?;
                match written.serial {
                    0 => Ok(()),
                    serial => write!(f, " in transaction {serial}"),
                }
            }
            Happened::Ended { serial, committed } => {
                let how = if *committed { "committed" } else { "aborted" };
                write!(f, "transaction {serial} {how}")
            }
            Happened::Committed(of) => {
                write!(f, "#{} committed {} {}", of.client, of.group, of.place)
            }
            Happened::Event(what) => f.write_str(what),
        }
    }
}
