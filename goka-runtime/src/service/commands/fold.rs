//! A table as its topic has it, for `get` and `scan`: needs no processor and no local copy. Reads the
//! committed records from the first one to the end that the topic had when the read began. A table that
//! is larger than the memory for it is read in several passes over the topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::CommandError;
use crate::log::{Isolation, Log};
use crate::record::{Record, TopicPartition};

/// How long a read without progress goes on; longer than a transaction may stay open.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Estimated bytes of memory for an entry besides its key and value.
const ENTRY_OVERHEAD: usize = 96;

/// Keys and values, in key order.
pub(crate) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) fn last(
    log: &dyn Log,
    topic: &str,
    partition: i32,
    key: &[u8],
) -> Result<Option<Vec<u8>>, CommandError> {
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

/// Hands the first `limit` entries whose keys begin with `prefix` to `each`, in key order, in parts of at most
/// about `memory` bytes, which is also the memory that is used. Each part is as the table is when the pass
/// for it ends.
pub(crate) fn table<E: From<CommandError>>(
    log: &dyn Log,
    (topic, partitions): (&str, i32),
    prefix: &[u8],
    limit: Option<usize>,
    memory: usize,
    each: &mut dyn FnMut(Entries) -> Result<(), E>,
) -> Result<(), E> {
    let list: Vec<_> = (0..partitions)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    let mut left = limit.unwrap_or(usize::MAX);
    let mut from = prefix.to_vec();
    while left > 0 {
        let mut smallest = SmallestKeys::new(memory);
        read(log, &list, &mut |record| {
            if let Some(key) = record.key
                && key.starts_with(prefix)
                && key >= &*from
            {
                smallest.put(key, record.value);
            }
        })?;
        let next = smallest.end.take();
        let entries = smallest.live(left);
        left -= entries.len();
        each(entries)?;
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    Ok(())
}

/// The smallest keys of a pass with their last values, as many as the memory has room for: the largest
/// keys are evicted first.
struct SmallestKeys {
    memory: usize,
    bytes: usize,
    /// A key that was deleted has no value, and stays until the end of the pass.
    keys: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The smallest key that was evicted. It and all larger keys are left to the next pass.
    end: Option<Vec<u8>>,
}

impl SmallestKeys {
    fn new(memory: usize) -> Self {
        Self {
            memory,
            bytes: 0,
            keys: BTreeMap::new(),
            end: None,
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.end.as_deref().is_some_and(|end| key >= end) {
            return;
        }
        let value = value.map(<[u8]>::to_vec);
        self.bytes += size(key, &value);
        match self.keys.get_mut(key) {
            Some(slot) => self.bytes -= size(key, &std::mem::replace(slot, value)),
            None => {
                self.keys.insert(key.to_vec(), value);
            }
        }
        // One key is kept whatever its size, so that each pass makes progress.
        while self.bytes > self.memory && self.keys.len() > 1 {
            let Some((key, value)) = self.keys.pop_last() else {
                return;
            };
            self.bytes -= size(&key, &value);
            self.end = Some(key);
        }
    }

    /// The first `limit` keys that have a value.
    fn live(self, limit: usize) -> Entries {
        let entries = self.keys.into_iter();
        let entries = entries.filter_map(|(key, value)| Some((key, value?)));
        entries.take(limit).collect()
    }
}

fn size(key: &[u8], value: &Option<Vec<u8>>) -> usize {
    key.len() + value.as_ref().map_or(0, Vec::len) + ENTRY_OVERHEAD
}

/// Reads partitions from their start to their present end.
fn read(
    log: &dyn Log,
    partitions: &[TopicPartition],
    each: &mut dyn FnMut(&Record<'_>),
) -> Result<(), CommandError> {
    // The ends are asked for first: records that are written during the read do not belong to it.
    let ranges = log.ranges(partitions)?;
    let from: Vec<_> = partitions
        .iter()
        .cloned()
        .zip(ranges.iter().map(|range| range.start))
        .collect();
    let mut reader = log.reader(&from, Isolation::ReadCommitted)?;
    let mut last_progress = Instant::now();
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
            last_progress = Instant::now();
        } else if last_progress.elapsed() > STALL_TIMEOUT {
            return Err(CommandError::Stalled {
                partition: partitions[behind].clone(),
                position: positions[behind],
                end: ranges[behind].high,
            });
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
    use super::super::test_log::{Rows as Writer, TABLE, with_table};
    use super::*;

    const VALUE: usize = 1_000;

    fn put(log: &dyn Log, keys: impl Iterator<Item = (usize, Option<u8>)>) {
        let writer = Writer::of(log);
        for (number, fill) in keys {
            let partition = i32::try_from(number % 3).unwrap();
            let value = fill.map(|fill| vec![fill; VALUE]);
            writer.put(partition, &format!("k{number:04}"), value.as_deref());
        }
        writer.flush();
    }

    #[test]
    fn a_table_is_read_in_parts_that_are_as_large_as_the_memory() {
        let log = with_table(3);
        put(&*log, (0..600).rev().map(|number| (number, Some(b'a'))));
        // Every third is overwritten; the first ones, and some others, are deleted.
        put(
            &*log,
            (0..600).step_by(3).map(|number| (number, Some(b'b'))),
        );
        put(&*log, (0..90).map(|number| (number, None)));
        put(&*log, (90..600).step_by(7).map(|number| (number, None)));
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
                let read = table::<CommandError>(
                    &*log,
                    (TABLE, 3),
                    prefix.as_bytes(),
                    limit,
                    memory,
                    &mut |part| {
                        let bytes = part.len() * (VALUE + ENTRY_OVERHEAD);
                        assert!(bytes <= memory.max(2 * VALUE), "{bytes} of {memory}");
                        parts += 1;
                        found.extend(part);
                        Ok(())
                    },
                );
                read.unwrap();
                assert_eq!(found, wanted, "{memory} `{prefix}` {limit:?}");
                if (prefix, limit) == ("", None) {
                    assert!(parts >= parts_expected, "{memory}: {parts} parts");
                }
            }
        }
    }
}
