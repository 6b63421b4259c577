//! What happened, by place: looked up by every rule. Made once for each run.

use std::collections::{BTreeMap, HashMap};

use crate::log::simulated::{Body, Happened, Moment, Wrote};
use crate::record::Offset;

/// A partition of an input, as one group reads it.
pub(super) type Read<'e> = (&'e str, &'e str, i32);

/// A record in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lies<'e> {
    /// Its place in the history.
    pub(super) at: usize,
    pub(super) topic: &'e str,
    pub(super) partition: i32,
    pub(super) offset: Offset,
    pub(super) client: Option<u64>,
    pub(super) serial: u64,
    pub(super) body: &'e Body,
}

impl<'e> Lies<'e> {
    pub(super) fn key(&self) -> Option<&'e [u8]> {
        self.body.key.as_deref()
    }

    pub(super) fn value(&self) -> Option<&'e [u8]> {
        self.body.value.as_deref()
    }
}

/// A handling that returned `Ok`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handling<'e> {
    pub(super) at: usize,
    pub(super) client: u64,
    pub(super) wrote: &'e [Wrote],
}

/// An offset that counts from now on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit {
    pub(super) at: usize,
    pub(super) client: u64,
    pub(super) offset: Offset,
    /// The transaction that it was part of.
    pub(super) serial: Option<u64>,
}

/// The history, by place.
#[derive(Debug, Default)]
pub(super) struct Index<'e> {
    who: HashMap<u64, &'e str>,
    ended: HashMap<u64, (usize, bool)>,
    written: BTreeMap<&'e str, BTreeMap<i32, BTreeMap<Offset, Lies<'e>>>>,
    handled: HashMap<Read<'e>, BTreeMap<Offset, Vec<Handling<'e>>>>,
    commits: HashMap<Read<'e>, Vec<Commit>>,
}

impl<'e> Index<'e> {
    pub(super) fn of(history: &'e [Moment]) -> Self {
        let mut index = Self::default();
        // What was committed since anything else happened: the end of a transaction tells whose.
        let mut fresh: Vec<Read<'e>> = Vec::new();
        for (at, moment) in history.iter().enumerate() {
            index.take(at, &moment.what, &mut fresh);
        }
        index
    }

    fn take(&mut self, at: usize, what: &'e Happened, fresh: &mut Vec<Read<'e>>) {
        if !matches!(what, Happened::Committed { .. } | Happened::Ended { .. }) {
            fresh.clear();
        }
        match what {
            Happened::Joined { client, who } => drop(self.who.insert(*client, who)),
            Happened::Handled {
                client,
                group,
                topic,
                partition,
                offset,
                wrote,
            } => {
                let read = self.handled.entry((group, topic, *partition)).or_default();
                read.entry(*offset).or_default().push(Handling {
                    at,
                    client: *client,
                    wrote,
                });
            }
            Happened::Written {
                client,
                serial,
                topic,
                partition,
                offset,
                body,
            } => {
                let lies = Lies {
                    at,
                    topic,
                    partition: *partition,
                    offset: *offset,
                    client: *client,
                    serial: *serial,
                    body,
                };
                let topic = self.written.entry(topic).or_default();
                topic.entry(*partition).or_default().insert(*offset, lies);
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
            Happened::Committed {
                client,
                group,
                topic,
                partition,
                offset,
            } => {
                let read = (&**group, &**topic, *partition);
                self.commits.entry(read).or_default().push(Commit {
                    at,
                    client: *client,
                    offset: *offset,
                    serial: None,
                });
                fresh.push(read);
            }
            Happened::Told(_) => {}
        }
    }

    /// Whether a client is a member of a group, and not an operator.
    pub(super) fn is_member(&self, client: u64) -> bool {
        self.who.contains_key(&client)
    }

    /// The name that a client joined under.
    pub(super) fn who(&self, client: u64) -> Option<&'e str> {
        self.who.get(&client).copied()
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = (u64, &'e str)> {
        self.who.iter().map(|(client, who)| (*client, *who))
    }

    /// The group that a client joined.
    pub(super) fn group_of(&self, client: u64) -> Option<&'e str> {
        self.who(client)?.rsplitn(3, '/').nth(2)
    }

    /// A client for people.
    pub(super) fn name(&self, client: u64) -> String {
        match self.who(client) {
            Some(who) => format!("{who} (#{client})"),
            None => format!("#{client}"),
        }
    }

    /// How a transaction ended, and when.
    pub(super) fn ended(&self, serial: u64) -> Option<(usize, bool)> {
        self.ended.get(&serial).copied()
    }

    /// Since when everybody sees a record; `None` where nobody ever does.
    pub(super) fn seen_since(&self, lies: &Lies<'_>) -> Option<usize> {
        match lies.serial {
            0 => Some(lies.at),
            serial => self.ended(serial).and_then(|(at, yes)| yes.then_some(at)),
        }
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &'e str> {
        self.written.keys().copied()
    }

    /// The partitions of a topic that anything was written to.
    pub(super) fn partitions(&self, topic: &str) -> impl Iterator<Item = i32> {
        self.written
            .get(topic)
            .into_iter()
            .flat_map(|all| all.keys().copied())
    }

    /// Everything that was written to a partition, in its order.
    pub(super) fn lying(&self, topic: &str, partition: i32) -> impl Iterator<Item = &Lies<'e>> {
        let found = self.written.get(topic).and_then(|all| all.get(&partition));
        found.into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn lies(&self, topic: &str, partition: i32, offset: Offset) -> Option<&Lies<'e>> {
        self.written.get(topic)?.get(&partition)?.get(&offset)
    }

    /// What everybody sees of a partition, in its order.
    pub(super) fn seen(&self, topic: &str, partition: i32) -> impl Iterator<Item = &Lies<'e>> {
        let all = self.lying(topic, partition);
        all.filter(|lies| self.seen_since(lies).is_some())
    }

    /// All handlings of a partition, by offset.
    pub(super) fn handled(
        &self,
        read: Read<'e>,
    ) -> impl Iterator<Item = (Offset, &[Handling<'e>])> {
        let found = self.handled.get(&read).into_iter().flatten();
        found.map(|(offset, all)| (*offset, all.as_slice()))
    }

    /// The handlings of a record, in their order.
    pub(super) fn handlings(&self, read: Read<'e>, offset: Offset) -> &[Handling<'e>] {
        let found = self.handled.get(&read).and_then(|all| all.get(&offset));
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// What was committed for a partition, in order.
    pub(super) fn commits(&self, read: Read<'e>) -> &[Commit] {
        self.commits
            .get(&read)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}
