//! The buffer beside a model of it, and what it expects of the changelog.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Table = BTreeMap<u8, Option<i64>>;

#[derive(Debug, Clone)]
enum Act {
    Read(u8),
    Write(u8, Option<i64>),
    Acknowledge,
    Abort,
    Freeze,
    Flushed(bool),
    Evict,
}

fn act() -> impl Strategy<Value = Act> {
    let key = 0..12_u8;
    prop_oneof![
        4 => key.clone().prop_map(Act::Read),
        6 => (key, proptest::option::weighted(0.8, any::<i64>())).prop_map(|(k, v)| Act::Write(k, v)),
        2 => Just(Act::Acknowledge),
        1 => Just(Act::Abort),
        2 => Just(Act::Freeze),
        2 => any::<bool>().prop_map(Act::Flushed),
        1 => Just(Act::Evict),
    ]
}

fn bytes(value: Option<i64>) -> Option<Vec<u8>> {
    // Long ones lie outside of the row.
    value.map(|value| value.to_string().repeat(2).into_bytes())
}

/// What is told, and a store beside the layers.
#[derive(Default)]
struct Model {
    layers: TableBuffer,
    store: BTreeMap<Vec<u8>, Stored>,
    frozen: Option<FlushBatch>,
    committed: Table,
    pending: Table,
    acknowledged: Offset,
}

impl Model {
    fn read(&mut self, key: u8) -> Option<Vec<u8>> {
        let key = [key];
        let row = match self.layers.touch(&key) {
            Some(row) => row,
            None => self
                .layers
                .remember(&key, RowValue::of(self.store.get(&key[..]))),
        };
        let entry = self.layers.entry(row).and_then(RowValue::view);
        entry.map(|stored| stored.value.to_vec())
    }

    fn play(&mut self, act: &Act) {
        match act {
            Act::Read(key) => drop(self.read(*key)),
            Act::Write(key, value) => {
                let row = self.layers.touch(&[*key]);
                let entry = RowValue::new(1, bytes(*value).as_deref());
                self.layers.write(&[*key], row, entry);
                self.pending.insert(*key, *value);
            }
            Act::Acknowledge => {
                self.acknowledged += 1;
                self.layers.acknowledge(self.acknowledged, 0);
                self.committed.append(&mut self.pending);
            }
            Act::Abort => {
                self.layers.drop_overlay();
                self.pending.clear();
            }
            Act::Freeze if self.layers.can_flush() => {
                self.frozen = Some(self.layers.start_flush(None, Durability::Relaxed));
            }
            Act::Freeze => {}
            Act::Flushed(done) => {
                let Some(frozen) = self.frozen.take() else {
                    return;
                };
                for write in frozen.writes().iter().filter(|_| *done) {
                    match write.value {
                        Some(StoredRef { timestamp, value }) => {
                            let value = value.to_vec();
                            self.store
                                .insert(write.key.to_vec(), Stored { timestamp, value })
                        }
                        None => self.store.remove(write.key),
                    };
                }
                self.layers.flushed(*done);
            }
            Act::Evict => self.layers.evict(0, 100),
        }
    }

    fn check(&mut self) {
        let mut told = self.committed.clone();
        told.extend(&self.pending);
        // What lives is in the store, unless the layers say otherwise, or they name it.
        let listed = self.layers.unstored_after(None, 100);
        assert!(
            listed.windows(2).all(|two| two[0] < two[1]),
            "once, in order"
        );
        for (key, value) in &told {
            let known = self.layers.get(&[*key]).cloned();
            let stored = self.store.contains_key(&[*key][..]);
            assert!(value.is_none() || stored || listed.contains(&&[*key][..]));
            if let Some(known) = known {
                assert_eq!(known.view().map(|v| v.value.to_vec()), bytes(*value));
            }
        }
        let weights = self.layers.rows.iter().map(|row| row.weight);
        assert_eq!(self.layers.bytes, weights.sum::<usize>());
        let unstored = self
            .layers
            .rows
            .iter()
            .filter(|row| row.state != RowState::Clean);
        assert_eq!(
            self.layers.unstored,
            unstored.map(|row| row.weight).sum::<usize>()
        );
        for key in 0..12 {
            let value = told.get(&key).copied().flatten();
            assert_eq!(self.read(key), bytes(value), "key {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_read_is_the_last_write(acts in prop::collection::vec(act(), 1..120), check in 1..9_usize) {
        let mut model = Model { layers: TableBuffer::over(0), ..Model::default() };
        for (at, act) in acts.iter().enumerate() {
            model.play(act);
            // A look fills the cache: now and then only.
            if at % check == 0 {
                model.check();
            }
        }
        model.check();
    }
}

#[test]
fn what_was_not_used_lately_goes_first() {
    let mut layers = TableBuffer::over(0);
    for key in 0..100_u8 {
        layers.remember(&[key], RowValue::new(1, Some(b"v")));
    }
    let (bytes, _) = layers.bytes();
    layers.touch(&[7]);
    layers.evict(bytes / 2, usize::MAX);
    assert!(layers.bytes().0 <= bytes / 2);
    assert!(layers.find(&[7]).is_some());
}

#[test]
fn where_the_next_record_lands() {
    let mut layers = TableBuffer::over(5);
    assert!(layers.expects(5) && !layers.expects(6));
    layers.acknowledge(8, 1);
    assert!(layers.expects(9) && !layers.expects(8));
    layers.expect_anything();
    assert!(layers.expects(20) && !layers.expects(7));
}
