//! The buffer beside a model of it, and what it expects of the changelog.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::table::conformance::checkpoint;
use crate::table::memory::MemoryStores;
use crate::table::{Flow, SortedWrites, Stores, Write};

/// Values by their sizes: a byte that is repeated.
type Table = BTreeMap<u8, Option<(u8, usize)>>;

#[derive(Debug, Clone)]
enum Step {
    Read(u8),
    Write(u8, Option<(u8, usize)>),
    Acknowledge,
    Abort,
    StartFlush,
    Flushed(bool),
    Evict(usize),
    /// What the store had at first becomes known.
    Scanned,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..24_u8;
    let size = prop_oneof![
        6 => 0..40_usize,
        2 => 100..3_000_usize,
        1 => 32_000..40_000_usize,
    ];
    let value = proptest::option::weighted(0.8, (any::<u8>(), size));
    prop_oneof![
        4 => key.clone().prop_map(Step::Read),
        8 => (key, value).prop_map(|(key, value)| Step::Write(key, value)),
        2 => Just(Step::Acknowledge),
        1 => Just(Step::Abort),
        2 => Just(Step::StartFlush),
        2 => any::<bool>().prop_map(Step::Flushed),
        1 => prop_oneof![Just(0), Just(20_000)].prop_map(Step::Evict),
        1 => Just(Step::Scanned),
    ]
}

/// Keys of different lengths, some the beginning of others.
fn key_bytes(key: u8) -> Vec<u8> {
    let long = [b'k'; 24];
    let mut bytes = long[..usize::from(key % 4) * 7].to_vec();
    bytes.push(key);
    bytes
}

fn bytes(value: Option<(u8, usize)>) -> Option<Vec<u8>> {
    value.map(|(byte, size)| vec![byte; size])
}

/// What a read must return, and a store beside the buffer.
#[derive(Default)]
struct Model {
    buffer: TableBuffer,
    store: BTreeMap<Vec<u8>, Stored>,
    flush: Option<FlushBatch>,
    committed: Table,
    pending: Table,
    acknowledged: Offset,
    scan: Option<StoredKeys>,
}

impl Model {
    /// Over a store with a few rows.
    fn over(keys: impl Iterator<Item = u8>) -> Self {
        let mut model = Self::default();
        let mut all = MemoryStores::default().open("t", 0).expect("opens");
        for key in keys {
            let (timestamp, value) = (1, vec![key; 9]);
            model.committed.insert(key, Some((key, 9)));
            model
                .store
                .insert(key_bytes(key), Stored { timestamp, value });
        }
        let writes: Vec<_> = model
            .store
            .iter()
            .map(|(key, stored)| Write {
                key,
                value: Some(stored.view()),
            })
            .collect();
        let offset = Offset::try_from(writes.len()).expect("few");
        all.apply(&writes, &checkpoint(offset), Durability::Synced)
            .expect("applies");
        drop(writes);
        model.scan = StoredKeys::read(&*all.snapshot().expect("a snapshot"), &|| true).ok();
        model.acknowledged = offset;
        model.buffer = TableBuffer::over(offset);
        model
    }

    fn read(&mut self, key: u8) -> Option<Vec<u8>> {
        let key = key_bytes(key);
        let row = match self.buffer.touch(&key) {
            Some(row) => row,
            None if self.buffer.may_be_stored(&key) => {
                self.buffer.remember(&key, self.store.get(&key))
            }
            None => {
                assert!(!self.store.contains_key(&key), "it is in the store");
                self.buffer.remember(&key, None)
            }
        };
        let mut bytes = Vec::new();
        let read = self.buffer.read(row, &mut bytes);
        read.map(|stored| stored.value.to_vec())
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Read(key) => drop(self.read(*key)),
            Step::Write(key, value) => {
                let bytes = bytes(*value);
                let row = self.buffer.touch(&key_bytes(*key));
                self.buffer
                    .write(&key_bytes(*key), row, 1, bytes.as_deref());
                self.pending.insert(*key, *value);
            }
            Step::Acknowledge => {
                self.acknowledged += 1;
                self.buffer.acknowledge(self.acknowledged, 0);
                self.committed.append(&mut self.pending);
            }
            Step::Abort => {
                self.buffer.drop_overlay();
                self.pending.clear();
            }
            Step::StartFlush if self.buffer.can_flush() => {
                self.flush = Some(self.buffer.start_flush(None, Durability::Relaxed));
            }
            Step::StartFlush => {}
            Step::Flushed(done) => {
                let Some(flush) = self.flush.take() else {
                    return;
                };
                if *done {
                    apply(&mut self.store, &flush);
                }
                self.buffer.flushed(*done);
            }
            Step::Evict(most) => self.buffer.evict(*most, 100),
            Step::Scanned => {
                if let Some(keys) = self.scan.take() {
                    self.buffer.know_stored(keys);
                }
            }
        }
    }

    fn check(&mut self) {
        let mut expected = self.committed.clone();
        expected.extend(&self.pending);
        // A key with a value is in the store or in the list, unless the buffer has deleted it.
        let listed = self.buffer.unstored_after(None, 100);
        assert!(listed.is_sorted_by(|one, other| one < other), "once");
        for (key, value) in &expected {
            let (key, mut known) = (key_bytes(*key), Vec::new());
            let is_stored = self.store.contains_key(&key);
            assert!(value.is_none() || is_stored || listed.contains(&key));
            assert!(value.is_none() || !self.buffer.is_deleted(&key));
            if let Some(row) = self.buffer.find(&key) {
                let known = self.buffer.read(row, &mut known);
                assert_eq!(known.map(|stored| stored.value.to_vec()), bytes(*value));
            }
        }
        self.check_memory();
        for key in 0..24 {
            let value = expected.get(&key).copied().flatten();
            assert_eq!(self.read(key), bytes(value), "key {key}");
        }
    }

    fn check_memory(&self) {
        let arena = &self.buffer.arena;
        let all = arena.rows().map(|id| arena.row(id).bytes());
        let (chunks, unused) = arena.bytes();
        assert_eq!(all.sum::<usize>() + unused, chunks);
        let waits = arena
            .rows()
            .filter(|id| arena.flags(*id).state != RowState::Clean);
        let waits: usize = waits.map(|id| arena.row(id).bytes()).sum();
        assert_eq!(self.buffer.unstored, waits);
        let here = arena
            .rows()
            .filter(|id| arena.flags(*id).state != RowState::Moved);
        assert_eq!(here.count(), self.buffer.index.len());
    }
}

fn apply(store: &mut BTreeMap<Vec<u8>, Stored>, writes: &dyn SortedWrites) {
    let mut last: Option<Vec<u8>> = None;
    writes.each(&mut |write| {
        assert!(last.as_deref().is_none_or(|last| last < write.key));
        last = Some(write.key.to_vec());
        match write.value {
            Some(stored) => store.insert(write.key.to_vec(), stored.to_stored()),
            None => store.remove(write.key),
        };
        Flow::Continue(())
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_read_is_the_last_write(
        steps in prop::collection::vec(step(), 1..160),
        stored in prop::collection::vec(0..24_u8, 0..12),
        check in 1..9_usize,
    ) {
        let mut model = Model::over(stored.into_iter());
        for (at, step) in steps.iter().enumerate() {
            model.play(step);
            // A look fills the cache: now and then only.
            if at % check == 0 {
                model.check();
            }
        }
        model.check();
    }
}

#[test]
fn keys_that_the_store_never_had_are_not_looked_for() {
    let mut model = Model::over(0..9);
    assert!(
        model.buffer.may_be_stored(&key_bytes(20)),
        "nothing is known"
    );
    model.play(&Step::Scanned);
    assert!((0..9).all(|key| model.buffer.may_be_stored(&key_bytes(key))));
    let strangers = (9..200).filter(|key| model.buffer.may_be_stored(&key_bytes(*key)));
    assert!(strangers.count() < 20);
    assert!(!TableBuffer::over(0).may_be_stored(b"any"));
}

fn flush(buffer: &mut TableBuffer, store: &mut BTreeMap<Vec<u8>, Stored>) {
    let batch = buffer.start_flush(None, Durability::Synced);
    apply(store, &batch);
    buffer.flushed(true);
}

#[test]
fn rows_of_changing_sizes_leave_no_memory_behind() {
    let (mut buffer, mut store) = (TableBuffer::over(0), BTreeMap::new());
    for round in 0..40_usize {
        // Each round has other sizes, so that no place fits a row of the next one.
        for key in 0..2_000_u32 {
            let value = vec![7; 20 + round * 16 + key as usize % 8];
            let key = (key + 700 * round as u32).to_be_bytes();
            let row = buffer.touch(&key);
            buffer.write(&key, row, 1, Some(&value));
        }
        buffer.acknowledge(round as Offset + 1, 0);
        flush(&mut buffer, &mut store);
        for _ in 0..10 {
            buffer.evict(2 << 20, 10_000);
        }
        let (bytes, unstored) = buffer.bytes();
        assert!(bytes <= 2 << 20, "round {round}: {bytes} bytes");
        assert_eq!(unstored, 0);
    }
    assert_eq!(store.len(), 2_000 + 39 * 700);
}

#[test]
fn a_row_that_grows_at_each_barrier_takes_little_more_than_its_value() {
    let (mut buffer, mut value) = (TableBuffer::over(0), Vec::new());
    for round in 1..2_000_i64 {
        value.extend([7; 50]);
        buffer.write(b"growing", buffer.find(b"growing"), 1, Some(&value));
        buffer.acknowledge(round, 0);
        let (bytes, _) = buffer.bytes();
        assert!(
            bytes <= 4 * value.len() + (200 << 10),
            "round {round}: {bytes} bytes"
        );
    }
}

#[test]
fn rows_that_were_not_used_lately_are_evicted_first() {
    let mut buffer = TableBuffer::over(0);
    for key in 0..10_000_u16 {
        let (timestamp, value) = (1, vec![7; 100]);
        buffer.remember(&key.to_be_bytes(), Some(&Stored { timestamp, value }));
    }
    let (bytes, _) = buffer.bytes();
    buffer.touch(&7_u16.to_be_bytes());
    let most = bytes / 2;
    for _ in 0..3 {
        buffer.evict(most, usize::MAX);
    }
    assert!(
        buffer.bytes().0 <= bytes / 2,
        "{:?} of {bytes}",
        buffer.bytes()
    );
    assert!(buffer.find(&7_u16.to_be_bytes()).is_some());
}

#[test]
fn where_the_next_record_lands() {
    let mut buffer = TableBuffer::over(5);
    assert!(buffer.expects(5) && !buffer.expects(6));
    buffer.acknowledge(8, 1);
    assert!(buffer.expects(9) && !buffer.expects(8));
    buffer.expect_anything();
    assert!(buffer.expects(20) && !buffer.expects(7));
}
