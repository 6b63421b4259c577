//! The records that handlers made and the log was not handed yet, and how much was made since the last
//! barrier.

use super::event::Effect;
use crate::record::Appends;

/// After so many records or bytes since the last barrier the next one does not wait for its time. What is written
/// between two barriers is in memory several times: as pending rows, on its way to the log, and in the log's cache.
const BARRIER_RECORDS: usize = 100_000;
const BARRIER_BYTES: usize = 16 << 20;

/// What handlers made since the last barrier.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    appends: Appends,
    /// What was handed to the log since the last barrier.
    handed_records: usize,
    handed_bytes: usize,
}

impl Outbox {
    pub(super) fn appends(&mut self) -> &mut Appends {
        &mut self.appends
    }

    /// Takes the memory of records back that the log was handed.
    pub(super) fn recycle(&mut self, mut appends: Appends) {
        appends.clear();
        if self.appends.is_empty() {
            self.appends = appends;
        }
    }

    pub(super) fn hand_over(&mut self, out: &mut Vec<Effect>) {
        if !self.appends.is_empty() {
            self.handed_records += self.appends.len();
            self.handed_bytes += self.appends.size();
            out.push(Effect::Append(std::mem::take(&mut self.appends)));
        }
    }

    /// Whether the log was handed anything since the last barrier.
    pub(super) fn has_handed(&self) -> bool {
        self.handed_records > 0
    }

    /// Whether so much was written that the barrier is not to wait for its time.
    pub(super) fn is_full(&self) -> bool {
        self.handed_records >= BARRIER_RECORDS || self.handed_bytes >= BARRIER_BYTES
    }

    /// A barrier begins: what was handed to the log is its.
    pub(super) fn barrier_begins(&mut self) {
        (self.handed_records, self.handed_bytes) = (0, 0);
    }

    /// Forgets everything since the last barrier.
    pub(super) fn drop_all(&mut self) {
        self.appends.clear();
        self.barrier_begins();
    }
}
