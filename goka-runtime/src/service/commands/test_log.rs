//! An embedded log in memory with one table, for the tests of this folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::embedded::Embedded;
use crate::log::{Appender, Log, NewTopic, Sent};

/// The name of the table's topic.
pub(super) const TABLE: &str = "t";

/// A log with the compacted topic [`TABLE`].
pub(super) fn with_table(partitions: i32) -> Arc<Embedded> {
    let log = Embedded::in_memory().unwrap();
    let topic = NewTopic {
        name: TABLE.into(),
        partitions,
        compact: true,
        retention: None,
    };
    log.create(&topic).unwrap();
    Arc::new(log)
}

/// Writes rows to the table; a row without a value is a tombstone.
pub(super) struct Rows {
    appender: Box<dyn Appender>,
    deadline: Instant,
}

impl Rows {
    pub(super) fn of(log: &dyn Log) -> Self {
        let acknowledged = Arc::new(|_, outcome: Result<_, _>| {
            outcome.unwrap();
        });
        Self {
            appender: log.appender(acknowledged).unwrap(),
            deadline: Instant::now() + Duration::from_secs(60),
        }
    }

    pub(super) fn put(&self, partition: i32, key: &str, value: Option<&[u8]>) {
        let record = Sent {
            topic: TABLE,
            partition,
            key: Some(key.as_bytes()),
            value,
            timestamp: 1,
            headers: &[],
        };
        self.appender.send(record, 0, self.deadline).unwrap();
    }

    pub(super) fn flush(&self) {
        self.appender.flush(self.deadline).unwrap();
    }
}
