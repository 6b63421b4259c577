//! A table as the log has it: the fold of its topic, for `get` and `scan`, which need no processor
//! and no copy. Reads committed records, from the first one to where the topic ended when asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::fail::Fail;
use crate::log::{Isolation, Log};
use crate::record::{Record, TopicPartition};

/// How long nothing may move before the wait is given up; longer than a transaction may stay open.
const STALL: Duration = Duration::from_secs(20);

/// How many keys a limited scan keeps at least, so that few scans need a second pass.
const KEEP: usize = 10_000;

/// Keys and values, in key order.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The last value of one key.
pub(crate) fn last(
    log: &dyn Log,
    topic: &str,
    partition: i32,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Fail> {
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

/// The first `limit` keys with `prefix`, in key order, with their last values. Without a limit the
/// whole of them is in memory; with one, about as much as the answer needs.
pub(crate) fn table(
    log: &dyn Log,
    topic: &str,
    partitions: i32,
    prefix: &[u8],
    limit: Option<usize>,
) -> Result<Entries, Fail> {
    let list: Vec<_> = (0..partitions)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    let mut keep = limit.map_or(usize::MAX, |limit| limit.saturating_mul(4).max(KEEP));
    loop {
        let mut kept = Kept::new(keep);
        read(log, &list, &mut |record| {
            if let Some(key) = record.key
                && key.starts_with(prefix)
            {
                kept.put(key, record.value);
            }
        })?;
        if let Some(found) = kept.first(limit.unwrap_or(usize::MAX)) {
            return Ok(found);
        }
        keep = keep.saturating_mul(8);
    }
}

/// The smallest keys seen, tombstones with them: at most `keep`, the largest given up first.
struct Kept {
    keep: usize,
    keys: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The smallest key given up: what is said of it and all above is not to be trusted.
    cut: Option<Vec<u8>>,
}

impl Kept {
    fn new(keep: usize) -> Self {
        Self {
            keep,
            keys: BTreeMap::new(),
            cut: None,
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.cut.as_deref().is_some_and(|cut| key >= cut) {
            return;
        }
        let value = value.map(<[u8]>::to_vec);
        match self.keys.get_mut(key) {
            Some(slot) => *slot = value,
            None => {
                self.keys.insert(key.to_vec(), value);
            }
        }
        if self.keys.len() > self.keep {
            self.cut = self.keys.pop_last().map(|(key, _)| key);
        }
    }

    /// The first `limit` live keys; `None` when they may lie beyond what was kept.
    fn first(self, limit: usize) -> Option<Entries> {
        let found: Vec<_> = self
            .keys
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .take(limit)
            .collect();
        (self.cut.is_none() || found.len() == limit).then_some(found)
    }
}

/// Reads partitions from their start to where they end now.
fn read(
    log: &dyn Log,
    partitions: &[TopicPartition],
    each: &mut dyn FnMut(&Record<'_>),
) -> Result<(), Fail> {
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
            return Err(Fail::new(format!(
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
    use super::*;

    #[test]
    fn a_bounded_fold_never_answers_what_it_gave_up() {
        let mut kept = Kept::new(2);
        for key in [b"d", b"c", b"b", b"a"] {
            kept.put(key, Some(b"1"));
        }
        kept.put(b"a", None);
        kept.put(b"c", Some(b"2"));
        // `c` and `d` were given up, `a` is deleted: of two keys only `b` is known.
        assert_eq!(kept.first(2), None);

        let mut kept = Kept::new(4);
        for key in [b"d", b"c", b"b", b"a"] {
            kept.put(key, Some(b"1"));
        }
        kept.put(b"a", None);
        let keys: Vec<_> = kept
            .first(2)
            .expect("known")
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, [b"b".to_vec(), b"c".to_vec()]);
    }
}
