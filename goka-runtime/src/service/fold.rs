//! A table as the log has it: the fold of its topic, for `get` and `scan`, which need no processor
//! and no copy. Reads committed records, from the first one to where the topic ended when asked. A table that
//! is larger than the memory for it is folded part by part, with a pass over the topic for each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::error::CliError;
use crate::log::{Isolation, Log};
use crate::record::{Record, TopicPartition};

/// How long nothing may move before the wait is given up; longer than a transaction may stay open.
const STALL: Duration = Duration::from_secs(20);

/// What an entry takes besides its bytes.
const OVERHEAD: usize = 96;

/// Keys and values, in key order.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The last value of one key.
pub(crate) fn last(
    log: &dyn Log,
    topic: &str,
    partition: i32,
    key: &[u8],
) -> Result<Option<Vec<u8>>, CliError> {
    let mut value = None;
    read(
        log,
        &[TopicPartition::new(topic, partition)],
        &mut |record| {
            if record.key == Some(key) {
                value = record.value.map(<[u8]>::to_vec);
            }
        },
    )?;
    Ok(value)
}

/// Gives the first `limit` keys with `prefix`, in key order, with their last values, in parts of about
/// `memory` bytes at most, which is also what is held for them. Each part is as the table is when it is read.
pub(crate) fn table(
    log: &dyn Log,
    (topic, partitions): (&str, i32),
    prefix: &[u8],
    limit: Option<usize>,
    memory: usize,
    each: &mut dyn FnMut(Entries) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let list: Vec<_> = (0..partitions)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    let mut left = limit.unwrap_or(usize::MAX);
    let mut from = prefix.to_vec();
    while left > 0 {
        let mut kept = Kept::new(memory);
        read(log, &list, &mut |record| {
            if let Some(key) = record.key
                && key.starts_with(prefix)
                && key >= &*from
            {
                kept.put(key, record.value);
            }
        })?;
        let cut = kept.cut.take();
        let found = kept.first(left);
        left -= found.len();
        each(found)?;
        match cut {
            Some(cut) => from = cut,
            None => break,
        }
    }
    Ok(())
}

/// The smallest keys seen, tombstones with them, as far as there is memory: the largest are given up first.
struct Kept {
    memory: usize,
    bytes: usize,
    keys: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The smallest key given up: what is said of it and all above is not to be trusted.
    cut: Option<Vec<u8>>,
}

impl Kept {
    fn new(memory: usize) -> Self {
        Self {
            memory,
            bytes: 0,
            keys: BTreeMap::new(),
            cut: None,
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.cut.as_deref().is_some_and(|cut| key >= cut) {
            return;
        }
        let value = value.map(<[u8]>::to_vec);
        self.bytes += taken(key, &value);
        match self.keys.get_mut(key) {
            Some(slot) => self.bytes -= taken(key, &std::mem::replace(slot, value)),
            None => {
                self.keys.insert(key.to_vec(), value);
            }
        }
        // One is kept whatever it takes, so that each pass comes further.
        while self.bytes > self.memory && self.keys.len() > 1 {
            let Some((key, value)) = self.keys.pop_last() else {
                return;
            };
            self.bytes -= taken(&key, &value);
            self.cut = Some(key);
        }
    }

    /// The first `limit` live keys.
    fn first(self, limit: usize) -> Entries {
        let live = self.keys.into_iter();
        let live = live.filter_map(|(key, value)| Some((key, value?)));
        live.take(limit).collect()
    }
}

/// What an entry takes of the memory.
fn taken(key: &[u8], value: &Option<Vec<u8>>) -> usize {
    key.len() + value.as_ref().map_or(0, Vec::len) + OVERHEAD
}

/// Reads partitions from their start to where they end now.
fn read(
    log: &dyn Log,
    partitions: &[TopicPartition],
    each: &mut dyn FnMut(&Record<'_>),
) -> Result<(), CliError> {
    // The high watermark first: what is written while we read is none of ours.
    let ranges = log.ranges(partitions)?;
    let from: Vec<_> = partitions
        .iter()
        .cloned()
        .zip(ranges.iter().map(|range| range.start))
        .collect();
    let mut reader = log.reader(&from, Isolation::ReadCommitted)?;
    let mut moved = Instant::now();
    let mut total = i64::MIN;
    loop {
        let positions: Vec<_> = (0..from.len()).map(|at| reader.position(at)).collect();
        let behind = positions
            .iter()
            .zip(&ranges)
            .position(|(position, range)| *position < range.high);
        let Some(behind) = behind else {
            return Ok(());
        };
        let sum = positions.iter().sum();
        if sum != total {
            total = sum;
            moved = Instant::now();
        } else if moved.elapsed() > STALL {
            return Err(CliError::new(format!(
                "{} is read to {} of {}, and nothing has come for {} s: a broker may be away, or a \
                 transaction open; try again",
                partitions[behind],
                positions[behind],
                ranges[behind].high,
                STALL.as_secs()
            )));
        }
        reader.poll(Duration::from_millis(100), &mut |at, records| {
            let high = ranges[at].high;
            for record in records.iter().take_while(|record| record.offset < high) {
                each(record);
            }
        })?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::embedded::Embedded;
    use crate::log::{NewTopic, Sent};

    const VALUE: usize = 1_000;

    fn put(log: &Embedded, keys: impl Iterator<Item = (usize, Option<u8>)>) {
        let appender = log.appender(Arc::new(|_, outcome| {
            outcome.unwrap();
        }));
        let (appender, by) = (appender.unwrap(), Instant::now() + STALL);
        for (number, fill) in keys {
            let (key, value) = (format!("k{number:04}"), fill.map(|fill| vec![fill; VALUE]));
            let sent = Sent {
                topic: "t",
                partition: i32::try_from(number % 3).unwrap(),
                key: Some(key.as_bytes()),
                value: value.as_deref(),
                timestamp: 1,
                headers: &[],
            };
            appender.send(sent, 0, by).unwrap();
        }
        appender.flush(by).unwrap();
    }

    #[test]
    fn a_table_is_folded_in_parts_that_are_as_large_as_the_memory() {
        let log = Embedded::in_memory().unwrap();
        let topic = NewTopic {
            name: "t".into(),
            partitions: 3,
            compact: true,
            retention: None,
        };
        log.create(&topic).unwrap();
        put(&log, (0..600).rev().map(|number| (number, Some(b'a'))));
        // The last of each third, and what is deleted at the front and in between.
        put(&log, (0..600).step_by(3).map(|number| (number, Some(b'b'))));
        put(&log, (0..90).map(|number| (number, None)));
        put(&log, (90..600).step_by(7).map(|number| (number, None)));
        let expected: Vec<_> = (90..600)
            .filter(|number| (number - 90) % 7 != 0)
            .map(|number| {
                let fill = if number % 3 == 0 { b'b' } else { b'a' };
                (format!("k{number:04}").into_bytes(), vec![fill; VALUE])
            })
            .collect();
        for (memory, parts_expected) in [(usize::MAX, 1), (100 << 10, 4), (10 << 10, 40), (0, 600)]
        {
            for (prefix, limit) in [
                ("", None),
                ("", Some(17)),
                ("k02", None),
                ("k02", Some(60)),
                ("x", None),
            ] {
                let fits = |(key, _): &&(Vec<u8>, Vec<u8>)| key.starts_with(prefix.as_bytes());
                let wanted = expected
                    .iter()
                    .filter(fits)
                    .take(limit.unwrap_or(usize::MAX));
                let wanted: Entries = wanted.cloned().collect();
                let (mut found, mut parts) = (Entries::new(), 0);
                let folded = table(
                    &log,
                    ("t", 3),
                    prefix.as_bytes(),
                    limit,
                    memory,
                    &mut |part| {
                        let bytes = part.len() * (VALUE + OVERHEAD);
                        assert!(bytes <= memory.max(2 * VALUE), "{bytes} of {memory}");
                        parts += 1;
                        found.extend(part);
                        Ok(())
                    },
                );
                folded.unwrap();
                assert_eq!(found, wanted, "{memory} `{prefix}` {limit:?}");
                if (prefix, limit) == ("", None) {
                    assert!(parts >= parts_expected, "{memory}: {parts} parts");
                }
            }
        }
    }
}
