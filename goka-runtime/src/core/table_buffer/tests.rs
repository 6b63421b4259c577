//! The buffer beside a model of it, and what it expects of the changelog.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Table = BTreeMap<u8, Option<i64>>;

#[derive(Debug, Clone)]
enum Step {
    Read(u8),
    Write(u8, Option<i64>),
    Acknowledge,
    Abort,
    StartFlush,
    Flushed(bool),
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..12_u8;
    prop_oneof![
        4 => key.clone().prop_map(Step::Read),
        6 => (key, proptest::option::weighted(0.8, any::<i64>())).prop_map(|(k, v)| Step::Write(k, v)),
        2 => Just(Step::Acknowledge),
        1 => Just(Step::Abort),
        2 => Just(Step::StartFlush),
        2 => any::<bool>().prop_map(Step::Flushed),
        1 => Just(Step::Evict),
    ]
}

fn bytes(value: Option<i64>) -> Option<Vec<u8>> {
    // Long ones lie outside of the row.
    value.map(|value| value.to_string().repeat(2).into_bytes())
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
}

impl Model {
    fn read(&mut self, key: u8) -> Option<Vec<u8>> {
        let key = [key];
        let row = match self.buffer.touch(&key) {
            Some(row) => row,
            None => self
                .buffer
                .remember(&key, RowValue::of(self.store.get(&key[..]))),
        };
        let entry = self.buffer.entry(row).and_then(RowValue::view);
        entry.map(|stored| stored.value.to_vec())
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Read(key) => drop(self.read(*key)),
            Step::Write(key, value) => {
                let row = self.buffer.touch(&[*key]);
                let entry = RowValue::new(1, bytes(*value).as_deref());
                self.buffer.write(&[*key], row, entry);
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
                for write in flush.writes().iter().filter(|_| *done) {
                    match write.value {
                        Some(StoredRef { timestamp, value }) => {
                            let value = value.to_vec();
                            self.store
                                .insert(write.key.to_vec(), Stored { timestamp, value })
                        }
                        None => self.store.remove(write.key),
                    };
                }
                self.buffer.flushed(*done);
            }
            Step::Evict => self.buffer.evict(0, 100),
        }
    }

    fn check(&mut self) {
        let mut expected = self.committed.clone();
        expected.extend(&self.pending);
        // A key with a value is in the store or in the list, unless the buffer has deleted it.
        let listed = self.buffer.unstored_after(None, 100);
        assert!(
            listed.windows(2).all(|two| two[0] < two[1]),
            "once, in order"
        );
        for (key, value) in &expected {
            let known = self.buffer.get(&[*key]).cloned();
            let stored = self.store.contains_key(&[*key][..]);
            assert!(value.is_none() || stored || listed.contains(&&[*key][..]));
            if let Some(known) = known {
                assert_eq!(known.view().map(|v| v.value.to_vec()), bytes(*value));
            }
        }
        let weights = self.buffer.rows.iter().map(|row| row.weight);
        assert_eq!(self.buffer.bytes, weights.sum::<usize>());
        let unstored = self
            .buffer
            .rows
            .iter()
            .filter(|row| row.state != RowState::Clean);
        assert_eq!(
            self.buffer.unstored,
            unstored.map(|row| row.weight).sum::<usize>()
        );
        for key in 0..12 {
            let value = expected.get(&key).copied().flatten();
            assert_eq!(self.read(key), bytes(value), "key {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_read_is_the_last_write(steps in prop::collection::vec(step(), 1..120), check in 1..9_usize) {
        let mut model = Model { buffer: TableBuffer::over(0), ..Model::default() };
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
fn rows_that_were_not_used_lately_are_evicted_first() {
    let mut buffer = TableBuffer::over(0);
    for key in 0..100_u8 {
        buffer.remember(&[key], RowValue::new(1, Some(b"v")));
    }
    let (bytes, _) = buffer.bytes();
    buffer.touch(&[7]);
    buffer.evict(bytes / 2, usize::MAX);
    assert!(buffer.bytes().0 <= bytes / 2);
    assert!(buffer.find(&[7]).is_some());
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
