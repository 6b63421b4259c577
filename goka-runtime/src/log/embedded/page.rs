//! Chunks as they were read from the file, and how their records are handed out.

use std::ops::Range;

use super::chunk::{Damaged, Stored, records};
use crate::record::{Offset, Record};

/// Chunks of one partition as read from the file, in one buffer.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    /// The base offset of each chunk, and its range in `bytes`.
    pub(super) chunks: Vec<(Offset, Range<usize>)>,
    /// Where to read on; `None` when this is all that there is.
    pub(super) more: Option<Offset>,
}

impl Page {
    /// The chunks, with their base offsets.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (Offset, &[u8])> {
        let chunks = self.chunks.iter();
        chunks.map(|(base, range)| (*base, &self.bytes[range.clone()]))
    }

    /// Hands over the records from `from` on, and returns the position after the last one.
    pub(super) fn hand_out(
        &self,
        from: Offset,
        each: impl FnOnce(&[Record<'_>]),
    ) -> Result<Option<Offset>, Damaged> {
        let mut stored = Vec::new();
        for (base, chunk) in self.chunks() {
            for record in records(base, chunk) {
                let record = record?;
                if record.offset >= from {
                    stored.push(record);
                }
            }
        }
        let Some(last) = stored.last() else {
            return Ok(None);
        };
        let next = last.offset + 1;
        let batch: Vec<Record<'_>> = stored.iter().map(Stored::record).collect();
        each(&batch);
        Ok(Some(next))
    }
}

/// What was read of a partition.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) page: Page,
    pub(super) from: Offset,
    /// The partition's end, as it was before.
    pub(super) end: Offset,
}

impl Batch {
    /// Hands over its records, if there are any, and returns the position after them: over offsets
    /// without a record to the end, when nothing else is there.
    pub(super) fn hand_out(&self, each: impl FnOnce(&[Record<'_>])) -> Result<Offset, Damaged> {
        let next = self.page.hand_out(self.from, each)?;
        Ok(match self.page.more {
            Some(more) => next.unwrap_or(more).max(self.from),
            None => self.end,
        })
    }
}
