//! Writes records outside a group: each is written, or has failed, when `send` returns.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::faults::Written;
use super::produce::{Outgoing, Unwritten};
use super::state::Shared;
use crate::log::{Appender, Failure, LogError, OnDelivery, Sent};
use crate::record::TopicPartition;

pub(super) struct SimulatedAppender {
    shared: Arc<Shared>,
    delivered: OnDelivery,
}

impl fmt::Debug for SimulatedAppender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedAppender").finish_non_exhaustive()
    }
}

impl SimulatedAppender {
    pub(super) fn new(shared: Arc<Shared>, delivered: OnDelivery) -> Self {
        Self { shared, delivered }
    }
}

impl Appender for SimulatedAppender {
    fn send(&self, record: Sent<'_>, token: u64, _deadline: Instant) -> Result<(), LogError> {
        let tp = TopicPartition::new(record.topic, record.partition);
        let written = {
            let mut state = self.shared.lock();
            state.partition(&tp)?;
            state.produce(&Outgoing {
                who: "appender",
                client: None,
                tp: &tp,
                record,
                producer: None,
            })
        };
        let outcome = match written {
            Ok(Written::At(offset)) => Ok((tp.partition, offset)),
            Ok(Written::UnderWay(_)) | Err(Unwritten::Fenced) => Err(Failure::Unknown(
                "not acknowledged: no broker answers".to_owned(),
            )),
            Err(Unwritten::Failed(failure)) => Err(failure),
        };
        (self.delivered)(token, outcome);
        Ok(())
    }

    fn flush(&self, _deadline: Instant) -> Result<(), LogError> {
        Ok(())
    }
}
