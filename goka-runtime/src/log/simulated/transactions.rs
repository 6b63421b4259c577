//! The coordinator of transactions: identities with epochs, what each open transaction touches, how
//! it ends. A producer that takes an identity over fences the one before and ends what it left open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::groups::Offsets;
use super::history::{ClientId, Happened, MemberOffset, RecordPlace};
use super::state::State;
use super::topics::Serial;
use crate::record::TopicPartition;

/// The producer's epoch is not the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fenced;

#[derive(Debug)]
struct Transaction {
    serial: Serial,
    began: Duration,
    /// With the number of the topic: one that is created again has another.
    partitions: BTreeSet<(TopicPartition, u64)>,
    /// The groups whose offsets it holds, each with the client that sent them last.
    groups: BTreeMap<Arc<str>, ClientId>,
    /// Whether it is committed, and when the control records are written, once that is decided.
    ending: Option<(bool, Duration)>,
}

/// A transactional id, as its coordinator keeps it.
#[derive(Debug, Default)]
pub(super) struct Identity {
    epoch: u64,
    timeout: Duration,
    open: Option<Transaction>,
}

impl State {
    /// Gives an identity to a new producer: ends what the one before left open, as decided or by
    /// aborting it.
    pub(super) fn take_over(&mut self, id: &str, timeout: Duration) -> u64 {
        self.finish(id, false);
        let identity = self.identities.entry(id.to_owned()).or_default();
        identity.epoch += 1;
        identity.timeout = timeout;
        identity.epoch
    }

    fn current(&mut self, id: &str, epoch: u64) -> Result<&mut Identity, Fenced> {
        let identity = self.identities.get_mut(id);
        identity
            .filter(|identity| identity.epoch == epoch)
            .ok_or(Fenced)
    }

    pub(super) fn is_open(&self, id: &str, serial: Serial) -> bool {
        let open = self.identities.get(id).and_then(|id| id.open.as_ref());
        open.is_some_and(|open| open.serial == serial && open.ending.is_none())
    }

    /// The open transaction of a producer, begun where there is none. One that is being ended is
    /// waited for.
    fn transaction(&mut self, id: &str, epoch: u64) -> Result<&mut Transaction, Fenced> {
        let open = self.current(id, epoch)?.open.as_ref();
        if open.is_some_and(|open| open.ending.is_some()) {
            self.finish(id, false);
        }
        self.serials += 1;
        let (serial, began) = (self.serials, self.now);
        let new = || Transaction {
            serial,
            began,
            partitions: BTreeSet::new(),
            groups: BTreeMap::new(),
            ending: None,
        };
        Ok(self.current(id, epoch)?.open.get_or_insert_with(new))
    }

    /// Adds a partition to the open transaction of a producer.
    pub(super) fn touch(
        &mut self,
        id: &str,
        epoch: u64,
        tp: &TopicPartition,
    ) -> Result<Serial, Fenced> {
        let number = self.topics.get(&tp.topic).map_or(0, |topic| topic.number);
        let transaction = self.transaction(id, epoch)?;
        transaction.partitions.insert((tp.clone(), number));
        Ok(transaction.serial)
    }

    /// Adds offsets to the open transaction of a producer.
    pub(super) fn attach(
        &mut self,
        id: &str,
        epoch: u64,
        client: ClientId,
        group: &Arc<str>,
        offsets: Offsets,
    ) -> Result<(), Fenced> {
        let transaction = self.transaction(id, epoch)?;
        transaction.groups.insert(group.clone(), client);
        let serial = transaction.serial;
        let group = self.groups.entry(group.clone()).or_default();
        group.pending.entry(serial).or_default().extend(offsets);
        self.version += 1;
        Ok(())
    }

    /// Decides how the open transaction ends; its control records are written `late`r.
    pub(super) fn end(
        &mut self,
        id: &str,
        epoch: u64,
        commit: bool,
        late: Duration,
    ) -> Result<(), Fenced> {
        let now = self.now;
        let identity = self.current(id, epoch)?;
        if let Some(open) = &mut identity.open {
            open.ending.get_or_insert((commit, now + late));
        }
        if late.is_zero() {
            self.finish(id, commit);
        }
        Ok(())
    }

    /// Writes the control records and makes the offsets count: as decided before, else by `commit`.
    fn finish(&mut self, id: &str, commit: bool) {
        let identity = self.identities.get_mut(id);
        let Some(open) = identity.and_then(|identity| identity.open.take()) else {
            return;
        };
        let commit = open.ending.map_or(commit, |(commit, _)| commit);
        for (tp, number) in &open.partitions {
            let topic = self.topics.get_mut(&tp.topic);
            let topic = topic.filter(|topic| topic.number == *number);
            if let Some(partition) = topic.and_then(|topic| topic.partition_mut(tp.partition)) {
                partition.end(open.serial, commit, self.wall);
            }
        }
        for (name, client) in &open.groups {
            let group = self.groups.get_mut(name);
            let pending = group.and_then(|group| group.pending.remove(&open.serial));
            if let Some(offsets) = pending.filter(|_| commit) {
                self.count(*client, name, offsets);
            }
        }
        self.remember(|| Happened::Ended {
            serial: open.serial,
            committed: commit,
        });
        self.version += 1;
        let how = if commit { "committed" } else { "aborted" };
        self.note(|| format!("{id}: transaction {how}"));
    }

    /// Offsets of a group count from now on.
    pub(super) fn count(&mut self, client: ClientId, name: &Arc<str>, offsets: Offsets) {
        for (tp, committed) in &offsets {
            self.remember(|| {
                Happened::Committed(MemberOffset {
                    client,
                    group: name.clone(),
                    place: RecordPlace::of(tp, committed.offset),
                })
            });
        }
        let group = self.groups.entry(name.clone()).or_default();
        group.offsets.extend(offsets);
    }

    /// Aborts what was open for too long, and ends what was decided.
    pub(super) fn sweep_transactions(&mut self) {
        let now = self.now;
        let mut due: Vec<(String, bool)> = Vec::new();
        for (id, identity) in &self.identities {
            let Some(open) = &identity.open else {
                continue;
            };
            match open.ending {
                Some((_, at)) if at <= now => due.push((id.clone(), false)),
                None if open.began + identity.timeout <= now => due.push((id.clone(), true)),
                _ => {}
            }
        }
        for (id, late) in due {
            if late {
                // Its producer finds itself fenced.
                if let Some(identity) = self.identities.get_mut(&id) {
                    identity.epoch += 1;
                }
                self.note(|| format!("{id}: the transaction was open for too long"));
            }
            self.finish(&id, false);
        }
    }
}
