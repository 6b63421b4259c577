//! Topics and their partitions: their records, which of them are visible, and what compaction and
//! retention remove.
//! Knows transactions by their number only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::log::{Isolation, OffsetRange, Sent, TopicInfo};
use crate::record::{HeaderSource, Headers, Offset, Record, Timestamp};

/// The number of a transaction; 0 is none.
pub(super) type Serial = u64;

/// What is at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A committed record.
    Data,
    /// A record of a transaction that is open.
    Open,
    /// A record of a transaction that was aborted.
    Aborted,
    /// The control record that ends a transaction in a partition.
    Marker {
        /// How it ended.
        committed: bool,
    },
}

/// What is kept at an offset, visible or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its offset.
    pub offset: Offset,
    /// What it is.
    pub kind: Kind,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record without its place.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Body {
    pub(super) fn of(record: &Sent<'_>) -> Self {
        Self {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.to_vec(),
        }
    }

    pub(crate) fn record(&self, offset: Offset) -> Record<'_> {
        Record {
            offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: Headers::new(self),
        }
    }
}

impl HeaderSource for Body {
    fn count(&self) -> usize {
        self.headers.len()
    }

    fn at(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let (name, value) = self.headers.get(index)?;
        Some((name, value.as_deref()))
    }
}

#[derive(Debug)]
struct Entry {
    offset: Offset,
    kind: Kind,
    serial: Serial,
    /// Its place among everything that was ever written to the log.
    written: u64,
    body: Arc<Body>,
    /// When compaction may take it though it is the last of its key (a tombstone) or of its
    /// transaction (a marker): said by the first pass that leaves it.
    horizon: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) records: Vec<(Offset, Arc<Body>)>,
    /// Where to read on.
    pub(super) next: Offset,
}

impl Page {
    /// Leaves the rest for the next time.
    pub(super) fn cut(&mut self, most: usize) {
        if most > 0 && self.records.len() > most {
            self.records.truncate(most);
            self.next = self.records[most - 1].0 + 1;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutOfRange;

#[derive(Debug, Default)]
pub(super) struct Partition {
    start: Offset,
    end: Offset,
    entries: VecDeque<Entry>,
    /// Where each open transaction began here.
    open: BTreeMap<Serial, Offset>,
}

impl Partition {
    /// The last stable offset: where the first open transaction began, or the end.
    pub(super) fn stable(&self) -> Offset {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    pub(super) fn range(&self) -> OffsetRange {
        OffsetRange {
            start: self.start,
            stable: self.stable(),
            high: self.end,
        }
    }

    fn push(&mut self, kind: Kind, serial: Serial, written: u64, body: Arc<Body>) -> Offset {
        let offset = self.end;
        self.end += 1;
        self.entries.push_back(Entry {
            offset,
            kind,
            serial,
            written,
            body,
            horizon: None,
        });
        offset
    }

    /// Writes a record, the `written`th of the log; one of a transaction is seen when that is
    /// committed.
    pub(super) fn append(&mut self, body: Arc<Body>, serial: Serial, written: u64) -> Offset {
        if serial == 0 {
            return self.push(Kind::Data, serial, written, body);
        }
        let offset = self.push(Kind::Open, serial, written, body);
        self.open.entry(serial).or_insert(offset);
        offset
    }

    /// Ends a transaction here, with a control record.
    pub(super) fn end(&mut self, serial: Serial, committed: bool, timestamp: Timestamp) {
        if let Some(first) = self.open.remove(&serial) {
            let from = self.entries.partition_point(|entry| entry.offset < first);
            for entry in self.entries.range_mut(from..) {
                if entry.serial == serial && entry.kind == Kind::Open {
                    entry.kind = match committed {
                        true => Kind::Data,
                        false => Kind::Aborted,
                    };
                }
            }
        }
        let body = Body {
            timestamp,
            ..Body::default()
        };
        self.push(Kind::Marker { committed }, serial, 0, body.into());
    }

    /// What a reader at an offset gets; `None` when there is nothing new.
    pub(super) fn read(
        &self,
        from: Offset,
        isolation: Isolation,
        most: usize,
    ) -> Result<Option<Page>, OutOfRange> {
        if from < self.start || from > self.end {
            return Err(OutOfRange);
        }
        let (limit, all) = match isolation {
            Isolation::ReadCommitted => (self.stable(), false),
            Isolation::ReadUncommitted => (self.end, true),
        };
        let first = self.entries.partition_point(|entry| entry.offset < from);
        let mut page = Page {
            records: Vec::new(),
            next: limit.max(from),
        };
        for entry in self.entries.range(first..) {
            if entry.offset >= limit {
                break;
            }
            if page.records.len() == most {
                page.next = entry.offset;
                break;
            }
            match entry.kind {
                Kind::Data => {}
                Kind::Open | Kind::Aborted if all => {}
                _ => continue,
            }
            page.records.push((entry.offset, entry.body.clone()));
        }
        Ok((page.next > from).then_some(page))
    }

    /// What readers of committed records see from an offset on, with its place among everything that
    /// was written.
    pub(super) fn committed(&self, from: Offset) -> impl Iterator<Item = (u64, Record<'_>)> {
        let (first, stable) = (
            self.entries.partition_point(|entry| entry.offset < from),
            self.stable(),
        );
        let seen = move |entry: &&Entry| entry.kind == Kind::Data && entry.offset < stable;
        let entries = self.entries.range(first..).filter(seen);
        entries.map(|entry| (entry.written, entry.body.record(entry.offset)))
    }

    pub(super) fn kept(&self) -> Vec<Kept> {
        let kept = self.entries.iter().map(|entry| Kept {
            offset: entry.offset,
            kind: entry.kind,
            timestamp: entry.body.timestamp,
            key: entry.body.key.clone(),
            value: entry.body.value.clone(),
            headers: entry.body.headers.clone(),
        });
        kept.collect()
    }

    /// One pass of compaction at `now`, up to the last stable offset: leaves the last record of each
    /// key; tombstones and control records go once they were left for `delete_retention`. The last
    /// entry stays, as Kafka's active segment does.
    pub(super) fn compact(&mut self, now: Timestamp, delete_retention: Timestamp) {
        let stable = self.stable();
        let last = self.entries.back().map(|entry| entry.offset);
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut keep: VecDeque<Entry> = VecDeque::with_capacity(self.entries.len());
        for mut entry in std::mem::take(&mut self.entries).into_iter().rev() {
            if entry.offset >= stable || Some(entry.offset) == last {
                keep.push_front(entry);
                continue;
            }
            let is_newest = match (&entry.body.key, entry.kind) {
                (Some(key), Kind::Data) => seen.insert(key.clone()),
                _ => true,
            };
            let passes = matches!(entry.kind, Kind::Marker { .. }) || entry.body.value.is_none();
            let stays = match entry.kind {
                Kind::Aborted => false,
                _ if !is_newest => false,
                _ if passes => entry.horizon.is_none_or(|horizon| now <= horizon),
                _ => true,
            };
            if stays {
                if passes {
                    let horizon = now.saturating_add(delete_retention);
                    entry.horizon.get_or_insert(horizon);
                }
                keep.push_front(entry);
            }
        }
        self.entries = keep;
    }

    /// Deletes everything before an offset; not beyond the end.
    pub(super) fn delete_before(&mut self, offset: Offset) {
        self.start = self.start.max(offset.min(self.end));
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.offset < self.start)
        {
            self.entries.pop_front();
        }
    }

    /// Deletes what is older than `limit`, up to the first record that is not; says whether it did.
    pub(super) fn expire(&mut self, limit: Timestamp) -> bool {
        let stable = self.stable();
        let young = |entry: &&Entry| entry.offset >= stable || entry.body.timestamp >= limit;
        let first = self.entries.iter().find(young);
        let start = first.map_or(stable, |entry| entry.offset).max(self.start);
        let any = self.entries.front().is_some_and(|old| old.offset < start);
        if any {
            self.delete_before(start);
        }
        any
    }
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) info: TopicInfo,
    /// Never used twice, unlike the name.
    pub(super) number: u64,
    pub(super) partitions: Vec<Partition>,
}

impl Topic {
    pub(super) fn partition(&self, partition: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(super) fn partition_mut(&mut self, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    pub(super) fn refusal(&self, record: &Sent<'_>) -> Option<String> {
        let (policy, most) = (self.info.policy, self.info.max_message_bytes);
        record.refusal(policy.compact, most).or_else(|| {
            let partition = record.partition;
            let missing = self.partition(partition).is_none();
            missing.then(|| format!("the topic has no partition {partition}"))
        })
    }
}
