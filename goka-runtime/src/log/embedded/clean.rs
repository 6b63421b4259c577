//! Compaction and retention, by a thread of the log's own. Reads outside any lock (records
//! before a partition's end are changed nowhere else), then replaces chunks in slices small enough
//! that a barrier hardly waits. Only the last record of a key stays, with its offset; a tombstone
//! stays for the topic's `delete_retention` after it was appended. What a crash takes back is done again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::chunk::{Body, CHUNK_BYTES, CHUNK_RECORDS, Damaged, HEAD, Head, records};
use super::rows::{NewChunk, Page, TopicRow};
use super::shared::{Shared, now_millis};
use crate::log::LogError;
use crate::record::{Offset, Timestamp};

/// One slice: what is read at once, and so the most that is written at once.
const SLICE: (usize, u32) = (1 << 20, u32::MAX);
const ONE_CHUNK: (usize, u32) = (0, 0);
/// The keys that one pass remembers: a partition with more takes several.
const KEY_BYTES: usize = 32 << 20;
/// How often old records are looked for.
const PERIOD: Duration = Duration::from_secs(30);

/// Cleans until the log is closed.
pub(super) fn run(shared: &Shared, wake: &Receiver<()>) {
    while !shared.stopping.load(Ordering::Relaxed) {
        if let Err(error) = clean(shared, false) {
            tracing::warn!(log = %shared.what, %error, "compaction put off");
        }
        if wake.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// Cleans every partition that is worth it, or all of them.
pub(super) fn clean(shared: &Shared, all: bool) -> Result<(), LogError> {
    let topics: Vec<Arc<TopicRow>> = shared.state().topics.values().cloned().collect();
    for topic in topics {
        for handle in topic.first..topic.first + topic.partitions.unsigned_abs() {
            if let (true, Some(retention)) = (topic.delete, topic.retention_ms) {
                expire(shared, handle, retention)?;
            }
            while topic.compact && (all || shared.state().is_dirty(handle)) {
                if !compact(shared, handle, topic.delete_retention_ms)? || all {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn stopping(shared: &Shared) -> bool {
    shared.stopping.load(Ordering::Relaxed)
}

fn damaged(shared: &Shared) -> impl Fn(Damaged) -> LogError + '_ {
    |damaged| shared.file.damaged(damaged)
}

fn age_limit(retention_ms: u64) -> Timestamp {
    now_millis().saturating_sub(Timestamp::try_from(retention_ms).unwrap_or(Timestamp::MAX))
}

/// Removes leading chunks whose records are all older than the retention.
fn expire(shared: &Shared, handle: u32, retention_ms: u64) -> Result<(), LogError> {
    // Mostly the first chunk says that nothing is old.
    let mut amount = ONE_CHUNK;
    loop {
        let row = shared.state().partitions[handle as usize];
        if row.start == row.end || stopping(shared) {
            return Ok(());
        }
        let page = shared.file.read(handle, row.start, row.end, amount)?;
        amount = SLICE;
        let limit = age_limit(retention_ms);
        let mut old = Vec::new();
        let mut start = page.more.unwrap_or(row.end);
        for (base, chunk) in page.chunks() {
            if Head::read(chunk).map_err(damaged(shared))?.appended >= limit {
                start = base;
                break;
            }
            old.push(base);
        }
        if old.is_empty() {
            return Ok(());
        }
        let is_done = old.len() < page.chunks.len();
        shared.replace(handle, old, Vec::new(), |row| row.start = start)?;
        if is_done {
            return Ok(());
        }
    }
}

/// One pass over a partition; says whether it got anywhere.
fn compact(shared: &Shared, handle: u32, delete_retention_ms: u64) -> Result<bool, LogError> {
    let row = shared.state().partitions[handle as usize];
    let (latest, until) = latest(shared, handle, row.cleaned, row.end)?;
    let rules = Rules {
        latest,
        until,
        limit: age_limit(delete_retention_ms),
        merge_within: Timestamp::try_from(delete_retention_ms / 8).unwrap_or(Timestamp::MAX),
    };
    let mut kept = 0;
    let mut from = row.start;
    while from < until {
        if stopping(shared) {
            return Ok(false);
        }
        let page = shared.file.read(handle, from, until, SLICE)?;
        let slice = rules.slice(&page).map_err(damaged(shared))?;
        kept += slice.kept;
        if let Some(out) = &slice.out {
            let chunks = out.iter().map(|(base, head, body)| NewChunk {
                handle,
                base: *base,
                head: *head,
                pieces: vec![&body.bytes],
            });
            let bases = page.chunks.iter().map(|(base, _)| *base);
            shared.replace(handle, bases.collect(), chunks.collect(), |_| {})?;
        }
        from = page.more.unwrap_or(until);
    }
    shared.replace(handle, Vec::new(), Vec::new(), |row| {
        (row.cleaned, row.kept) = (until, kept);
    })?;
    Ok(until > row.cleaned)
}

/// The last offset of each key, and where the keys stop fitting in memory.
type Latest = HashMap<Box<[u8]>, Offset>;

fn latest(
    shared: &Shared,
    handle: u32,
    from: Offset,
    end: Offset,
) -> Result<(Latest, Offset), LogError> {
    let mut latest = Latest::new();
    let (mut bytes, mut from) = (0, from);
    while from < end && bytes < KEY_BYTES && !stopping(shared) {
        let page = shared.file.read(handle, from, end, SLICE)?;
        for (base, chunk) in page.chunks() {
            for record in records(base, chunk) {
                let record = record.map_err(damaged(shared))?;
                let Some(key) = record.key.filter(|_| record.offset >= from) else {
                    continue;
                };
                match latest.get_mut(key) {
                    Some(offset) => *offset = record.offset,
                    None => {
                        bytes += key.len() + 48;
                        latest.insert(key.into(), record.offset);
                    }
                }
            }
        }
        from = page.more.unwrap_or(end);
    }
    Ok((latest, from))
}

/// What one pass goes by.
struct Rules {
    latest: Latest,
    /// Records from here on are not looked at.
    until: Offset,
    /// Tombstones appended before it go.
    limit: Timestamp,
    /// Chunks whose ages differ by more stay apart, or a tombstone would be young for ever.
    merge_within: Timestamp,
}

/// What becomes of one slice.
struct Slice {
    /// The chunks that replace those of the slice; `None` when they are as good as they can be.
    out: Option<Vec<(Offset, Head, Body)>>,
    kept: u64,
}

impl Rules {
    fn slice(&self, page: &Page) -> Result<Slice, Damaged> {
        let mut out: Vec<(Offset, Head, Body)> = Vec::new();
        let (mut kept, mut dropped, mut next) = (0, 0, 0);
        let mut oldest = 0;
        for (base, chunk) in page.chunks() {
            let head = Head::read(chunk)?;
            for record in records(base, chunk) {
                let record = record?;
                let is_last = record.key.is_none_or(|key| {
                    self.latest
                        .get(key)
                        .is_none_or(|last| *last <= record.offset)
                });
                let is_expired = record.value.is_none() && head.appended < self.limit;
                if record.offset < self.until && (!is_last || is_expired) {
                    dropped += 1;
                    continue;
                }
                kept += 1;
                let room = |(_, theirs, body): &(Offset, Head, Body)| {
                    body.bytes.len() + record.size() <= CHUNK_BYTES - HEAD
                        && theirs.count < CHUNK_RECORDS
                        && head.appended - oldest <= self.merge_within
                };
                if !out.last().is_some_and(room) {
                    out.push((
                        record.offset,
                        Head {
                            appended: head.appended,
                            count: 0,
                        },
                        Body::default(),
                    ));
                    (oldest, next) = (head.appended, record.offset);
                }
                if let Some((_, theirs, body)) = out.last_mut() {
                    theirs.appended = theirs.appended.max(head.appended);
                    theirs.count += 1;
                    record.copy_to((record.offset - next).unsigned_abs(), body);
                    next = record.offset + 1;
                }
            }
        }
        let is_better = dropped > 0 || out.len() < page.chunks.len();
        Ok(Slice {
            out: is_better.then_some(out),
            kept,
        })
    }
}
