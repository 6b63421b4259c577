//! Reads partitions without a group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faults::{Fault, StepKind};
use super::state::{Shared, State};
use super::topics::Page;
use crate::log::{Each, Isolation, LogError, Reader};
use crate::record::{Offset, Record, TopicPartition};

const BATCH: usize = 5_000;

pub(super) struct SimulatedReader {
    shared: Arc<Shared>,
    partitions: Vec<(TopicPartition, Offset)>,
    isolation: Isolation,
    /// Which partition goes first.
    first: usize,
}

impl SimulatedReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        from: &[(TopicPartition, Offset)],
        isolation: Isolation,
    ) -> Result<Self, LogError> {
        {
            let state = shared.lock();
            for (tp, _) in from {
                state.partition(tp)?;
            }
        }
        Ok(Self {
            shared,
            partitions: from.to_vec(),
            isolation,
            first: 0,
        })
    }

    fn next_page(&mut self, state: &mut State) -> Result<Option<(usize, Page)>, LogError> {
        let count = self.partitions.len();
        for index in (0..count).map(|at| (self.first + at) % count) {
            let (tp, position) = &mut self.partitions[index];
            if state.away_until(tp).is_some() {
                continue;
            }
            let page = state.read(tp, *position, self.isolation, BATCH)?;
            let Some(mut page) = page else {
                continue;
            };
            if !page.records.is_empty() {
                match state.inject(StepKind::Read, "reader", None, Some(tp)) {
                    Some(Fault::Slow) => continue,
                    Some(Fault::Few(most)) => page.cut(most),
                    _ => {}
                }
                if state.away_until(tp).is_some() {
                    continue;
                }
            }
            *position = page.next;
            if !page.records.is_empty() {
                self.first = index + 1;
                return Ok(Some((index, page)));
            }
        }
        Ok(None)
    }
}

impl Reader for SimulatedReader {
    fn poll(&mut self, max: Duration, each: Each<'_>) -> Result<(), LogError> {
        let by = Instant::now() + max;
        let shared = self.shared.clone();
        loop {
            let before: Vec<Offset> = self.partitions.iter().map(|(_, at)| *at).collect();
            let (found, version) = {
                let mut state = shared.lock();
                (self.next_page(&mut state)?, state.version)
            };
            if let Some((index, page)) = found {
                let records = page.records.iter();
                let records: Vec<Record<'_>> =
                    records.map(|(offset, body)| body.record(*offset)).collect();
                each(index, &records);
                return Ok(());
            }
            let moved = self.partitions.iter().map(|(_, at)| at).ne(&before);
            if moved || !shared.wait(version, by) {
                return Ok(());
            }
        }
    }

    fn position(&mut self, index: usize) -> Offset {
        self.partitions[index].1
    }
}
