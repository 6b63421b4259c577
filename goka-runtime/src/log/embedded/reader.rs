//! Reads partitions of the embedded log from explicit offsets, without a group: for views, restores and
//! commands. Everything in the file is committed, so both isolation levels are the same here.

use std::time::{Duration, Instant};

use super::Embedded;
use super::shared::MOST;
use crate::log::{Each, LogError, Reader};
use crate::record::{Offset, TopicPartition};

pub(super) struct EmbeddedReader {
    log: Embedded,
    /// Each partition with its handle in the file, and the offset to read next.
    partitions: Vec<(TopicPartition, u32, Offset)>,
    /// The partition that the next poll begins with: the one after that which was read last.
    first: usize,
}

impl EmbeddedReader {
    pub(super) fn new(log: Embedded, from: &[(TopicPartition, Offset)]) -> Result<Self, LogError> {
        let mut partitions = Vec::with_capacity(from.len());
        for (tp, offset) in from {
            let handle = log.shared().state().handle(&tp.topic, tp.partition)?;
            partitions.push((tp.clone(), handle, *offset));
        }
        Ok(Self {
            log,
            partitions,
            first: 0,
        })
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, max: Duration, each: Each<'_>) -> Result<(), LogError> {
        let shared = self.log.shared().clone();
        let deadline = Instant::now() + max;
        let count = self.partitions.len();
        loop {
            // Read first: what changes while the partitions are read ends the wait at once.
            let version = shared.state().version;
            let mut moved = false;
            for index in (0..count).map(|at| (self.first + at) % count) {
                let (tp, handle, position) = &mut self.partitions[index];
                let Some(page) = shared.read(tp, *handle, *position, MOST)? else {
                    continue;
                };
                let mut any = false;
                let next = page.hand_out(|records| {
                    any = true;
                    each(index, records);
                });
                *position = next.map_err(|damaged| shared.file.damaged(damaged))?;
                // The position may move over offsets without a record, at the end of a compacted partition.
                moved = true;
                if any {
                    self.first = index + 1;
                    return Ok(());
                }
            }
            if moved || Instant::now() >= deadline {
                return Ok(());
            }
            shared.wait(version, deadline);
        }
    }

    fn position(&mut self, index: usize) -> Offset {
        self.partitions[index].2
    }
}
