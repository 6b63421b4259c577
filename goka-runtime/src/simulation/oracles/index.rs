//! The history of a run, indexed by topic, partition and offset, for all rules.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;

use crate::log::simulated::{Content, Happened, Moment, WrittenRecord, Wrote};
use crate::record::Offset;

/// A partition of an input of a group: group, topic, partition.
pub(super) type InputKey<'e> = (&'e str, &'e str, i32);

/// A record as it was written to the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogRecord<'e> {
    /// Its position in the history.
    pub(super) at: usize,
    pub(super) written: &'e WrittenRecord,
}

impl Deref for LogRecord<'_> {
    type Target = WrittenRecord;

    fn deref(&self) -> &WrittenRecord {
        self.written
    }
}

impl<'e> LogRecord<'e> {
    pub(super) fn topic(&self) -> &'e str {
        &self.written.place.topic
    }

    pub(super) fn content(&self) -> Content<'e> {
        let partition = self.place.partition;
        (self.topic(), partition, self.key(), self.value())
    }

    pub(super) fn key(&self) -> Option<&'e [u8]> {
        self.written.body.key.as_deref()
    }

    pub(super) fn value(&self) -> Option<&'e [u8]> {
        self.written.body.value.as_deref()
    }
}

/// A call of a handler that returned `Ok`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handling<'e> {
    pub(super) at: usize,
    pub(super) client: u64,
    pub(super) wrote: &'e [Wrote],
}

/// A commit of one offset of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit {
    pub(super) at: usize,
    pub(super) client: u64,
    pub(super) offset: Offset,
    /// The transaction that it was part of, if any.
    pub(super) serial: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Index<'e> {
    who: HashMap<u64, &'e str>,
    ended: HashMap<u64, (usize, bool)>,
    written: BTreeMap<&'e str, BTreeMap<i32, BTreeMap<Offset, LogRecord<'e>>>>,
    handled: HashMap<InputKey<'e>, BTreeMap<Offset, Vec<Handling<'e>>>>,
    commits: HashMap<InputKey<'e>, Vec<Commit>>,
}

impl<'e> Index<'e> {
    pub(super) fn of(history: &'e [Moment]) -> Self {
        let mut index = Self::default();
        // The commits since the last other event. The end of a transaction that follows says that they
        // were part of it.
        let mut fresh: Vec<InputKey<'e>> = Vec::new();
        for (at, moment) in history.iter().enumerate() {
            index.add(at, &moment.what, &mut fresh);
        }
        index
    }

    fn add(&mut self, at: usize, what: &'e Happened, fresh: &mut Vec<InputKey<'e>>) {
        if !matches!(what, Happened::Committed(_) | Happened::Ended { .. }) {
            fresh.clear();
        }
        match what {
            Happened::Joined { client, who } => drop(self.who.insert(*client, who)),
            Happened::Handled(of, wrote) => {
                let read = self.handled.entry(of.input()).or_default();
                read.entry(of.place.offset).or_default().push(Handling {
                    at,
                    client: of.client,
                    wrote,
                });
            }
            Happened::Written(written) => {
                let place = &written.place;
                let topic = self.written.entry(&place.topic).or_default();
                let partition = topic.entry(place.partition).or_default();
                partition.insert(place.offset, LogRecord { at, written });
            }
            Happened::Ended { serial, committed } => {
                self.ended.insert(*serial, (at, *committed));
                for read in fresh.drain(..) {
                    let last = self.commits.get_mut(&read).and_then(|all| all.last_mut());
                    if let Some(commit) = last {
                        commit.serial = Some(*serial);
                    }
                }
            }
            Happened::Committed(of) => {
                self.commits.entry(of.input()).or_default().push(Commit {
                    at,
                    client: of.client,
                    offset: of.place.offset,
                    serial: None,
                });
                fresh.push(of.input());
            }
            Happened::Event(_) => {}
        }
    }

    /// Whether a client is a member of a group, and not an operator.
    pub(super) fn is_member(&self, client: u64) -> bool {
        self.who.contains_key(&client)
    }

    /// The name under which a client joined: `group/instance/worker`.
    pub(super) fn member_name(&self, client: u64) -> Option<&'e str> {
        self.who.get(&client).copied()
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = (u64, &'e str)> {
        self.who.iter().map(|(client, who)| (*client, *who))
    }

    pub(super) fn group_of(&self, client: u64) -> Option<&'e str> {
        self.member_name(client)?.rsplitn(3, '/').nth(2)
    }

    /// A client's name and number, for messages.
    pub(super) fn display_name(&self, client: u64) -> String {
        match self.member_name(client) {
            Some(who) => format!("{who} (#{client})"),
            None => format!("#{client}"),
        }
    }

    pub(super) fn writer(&self, record: &LogRecord<'_>) -> String {
        let client = record.client;
        client.map_or_else(String::new, |client| self.display_name(client))
    }

    /// Where in the history a transaction ended, and whether it was committed.
    pub(super) fn transaction_end(&self, serial: u64) -> Option<(usize, bool)> {
        self.ended.get(&serial).copied()
    }

    /// From which position in the history on readers of committed records see a record; `None` where they
    /// never do.
    pub(super) fn visible_since(&self, record: &LogRecord<'_>) -> Option<usize> {
        match record.serial {
            0 => Some(record.at),
            serial => match self.transaction_end(serial) {
                Some((at, true)) => Some(at),
                _ => None,
            },
        }
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &'e str> {
        self.written.keys().copied()
    }

    /// The partitions of a topic that have records.
    pub(super) fn partitions(&self, topic: &str) -> impl Iterator<Item = i32> {
        let found = self.written.get(topic).into_iter();
        found.flat_map(|all| all.keys().copied())
    }

    /// All records that were written to a partition, in offset order.
    pub(super) fn records(
        &self,
        topic: &str,
        partition: i32,
    ) -> impl Iterator<Item = &LogRecord<'e>> {
        let found = self.written.get(topic).and_then(|all| all.get(&partition));
        found.into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn record(
        &self,
        topic: &str,
        partition: i32,
        offset: Offset,
    ) -> Option<&LogRecord<'e>> {
        self.written.get(topic)?.get(&partition)?.get(&offset)
    }

    /// The records of a partition that readers of committed records see, in offset order.
    pub(super) fn visible(
        &self,
        topic: &str,
        partition: i32,
    ) -> impl Iterator<Item = &LogRecord<'e>> {
        let all = self.records(topic, partition);
        all.filter(|record| self.visible_since(record).is_some())
    }

    /// The records of a topic that readers of committed records see and that members wrote.
    pub(super) fn of_members(&self, topic: &str) -> impl Iterator<Item = &LogRecord<'e>> {
        let partitions = self.partitions(topic);
        let all = partitions.flat_map(move |partition| self.visible(topic, partition));
        all.filter(|record| record.client.is_some())
    }

    /// All handlings of a partition, by offset.
    pub(super) fn handled(
        &self,
        read: InputKey<'e>,
    ) -> impl Iterator<Item = (Offset, &[Handling<'e>])> {
        let found = self.handled.get(&read).into_iter().flatten();
        found.map(|(offset, all)| (*offset, all.as_slice()))
    }

    /// The handlings of a record, in time order.
    pub(super) fn handlings(&self, read: InputKey<'e>, offset: Offset) -> &[Handling<'e>] {
        let found = self.handled.get(&read).and_then(|all| all.get(&offset));
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// The commits of a partition, in time order.
    pub(super) fn commits(&self, read: InputKey<'e>) -> &[Commit] {
        let found = self.commits.get(&read);
        found.map(Vec::as_slice).unwrap_or_default()
    }
}
