//! What crosses the border to the file: rows as they are stored, what one transaction changes, and
//! chunks that were read. Knows no database.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::chunk::{CHUNK_BYTES, CHUNK_RECORDS, Damaged, HEAD, Head, Run, Stored, records};
use crate::log::{Failure, LogError};
use crate::record::{Offset, Record, Timestamp};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TopicRow {
    pub(super) id: String,
    /// The handle of partition 0; the others follow.
    pub(super) first: u32,
    pub(super) partitions: i32,
    pub(super) compact: bool,
    pub(super) delete: bool,
    pub(super) retention_ms: Option<u64>,
    pub(super) delete_retention_ms: u64,
    pub(super) max_message_bytes: usize,
}

impl TopicRow {
    pub(super) fn handle(&self, partition: i32) -> Option<u32> {
        let exists = (0..self.partitions).contains(&partition);
        exists.then(|| self.first + partition.unsigned_abs())
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PartitionRow {
    /// The first offset still there.
    pub(super) start: Offset,
    /// Where the next record goes.
    pub(super) end: Offset,
    /// Compacted up to here.
    pub(super) cleaned: Offset,
    /// How many records compaction left before `cleaned`.
    pub(super) kept: u64,
}

/// Everything but the records.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) cluster: String,
    pub(super) topics: Vec<(String, TopicRow)>,
    /// By handle.
    pub(super) partitions: Vec<PartitionRow>,
}

/// A chunk to be written: its records come in pieces that are copied once, into the page.
#[derive(Debug)]
pub(super) struct NewChunk<'a> {
    pub(super) handle: u32,
    pub(super) base: Offset,
    pub(super) head: Head,
    pub(super) pieces: Vec<&'a [u8]>,
}

#[derive(Debug)]
pub(super) struct NewOffset<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: Offset,
    pub(super) metadata: &'a str,
}

/// What one transaction changes.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    /// Bases of chunks to be removed; done first.
    pub(super) removed: Vec<(u32, Offset)>,
    /// Sorted by handle and base.
    pub(super) chunks: Vec<NewChunk<'a>>,
    pub(super) partitions: Vec<(u32, PartitionRow)>,
    pub(super) offsets: Vec<NewOffset<'a>>,
    /// May a crash take it back? What compaction did is done again.
    pub(super) relaxed: bool,
}

#[derive(Debug, Clone)]
pub(super) enum NotWritten {
    /// Nothing was written.
    Nothing(LogError),
    /// It may have been.
    Unknown(LogError),
}

impl From<NotWritten> for Failure {
    fn from(not: NotWritten) -> Self {
        match not {
            NotWritten::Nothing(error) => Failure::Retriable(error.to_string()),
            NotWritten::Unknown(error) => Failure::Unknown(error.to_string()),
        }
    }
}

/// Puts the bodies of runs together where they are small. They were appended at `appended`.
pub(super) fn gather<'r>(
    runs: &[(u32, &'r Run)],
    bases: &[Offset],
    appended: Timestamp,
) -> Vec<NewChunk<'r>> {
    let mut chunks: Vec<NewChunk<'r>> = Vec::new();
    let mut bytes = 0;
    for ((handle, run), base) in runs.iter().zip(bases) {
        let mut base = *base;
        for body in &run.bodies {
            let fits = |chunk: &NewChunk<'_>| {
                chunk.handle == *handle
                    && bytes + body.bytes.len() <= CHUNK_BYTES - HEAD
                    && chunk.head.count + body.count <= CHUNK_RECORDS
            };
            match chunks.last_mut() {
                Some(last) if fits(last) => {
                    last.head.count += body.count;
                    last.pieces.push(&body.bytes);
                    bytes += body.bytes.len();
                }
                _ => {
                    let head = Head {
                        appended,
                        count: body.count,
                    };
                    let pieces = vec![body.bytes.as_slice()];
                    chunks.push(NewChunk {
                        handle: *handle,
                        base,
                        head,
                        pieces,
                    });
                    bytes = body.bytes.len();
                }
            }
            base += Offset::from(body.count);
        }
    }
    chunks
}

/// Chunks of one partition as read from the file, in one buffer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    /// The base offset of each chunk, and its range in `bytes`.
    pub(super) chunks: Vec<(Offset, Range<usize>)>,
    /// Where to read on; `None` when there is no more before `end`.
    pub(super) more: Option<Offset>,
    /// What was asked for.
    pub(super) from: Offset,
    pub(super) end: Offset,
}

impl Page {
    pub(super) fn chunks(&self) -> impl Iterator<Item = (Offset, &[u8])> {
        let chunks = self.chunks.iter();
        chunks.map(|(base, range)| (*base, &self.bytes[range.clone()]))
    }

    /// Hands over the records asked for, if there are any, and returns the position after them: over
    /// offsets without a record to the end, when nothing else is there.
    pub(super) fn hand_out(&self, each: impl FnOnce(&[Record<'_>])) -> Result<Offset, Damaged> {
        let mut stored = Vec::new();
        for (base, chunk) in self.chunks() {
            for record in records(base, chunk) {
                let record = record?;
                if record.offset >= self.from {
                    stored.push(record);
                }
            }
        }
        if !stored.is_empty() {
            each(&stored.iter().map(Stored::record).collect::<Vec<_>>());
        }
        let next = stored.last().map(|last| last.offset + 1);
        Ok(match self.more {
            Some(more) => next.unwrap_or(more).max(self.from),
            None => self.end,
        })
    }
}
