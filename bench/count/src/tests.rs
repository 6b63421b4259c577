//! Floor and processor count a small input, and both have the expected counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use goka::{Processor, Topic, View};
use goka_runtime::record::Guarantee;
use goka_runtime::table::memory::MemoryStores;

use crate::count::{Count, Numbers, Setting, TIMEOUT, TestBed};
use crate::input::Input;
use goka_test_support::kafka::another;

const GUARANTEES: [Guarantee; 2] = [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce];

#[test]
fn the_processor_counts_what_the_floor_counts() {
    let Some(broker) = another(&[]) else { return };
    let bed = TestBed::new(broker).expect("a log is made without a broker");
    let input = Input {
        records: 20_000,
        keys: 500,
        seed: 7,
    };
    let mut setting = Setting {
        records: input.records,
        partitions: 4,
        barrier: Duration::from_millis(100),
        flush: Duration::from_secs(5),
        guarantee: Guarantee::AtLeastOnce,
    };
    bed.broker
        .create_topic(Numbers::NAME, setting.partitions, &[]);
    input
        .load(&bed.broker.bootstrap(), Numbers::NAME)
        .expect("the input is written");
    let mut expected = BTreeMap::new();
    for (key, add) in input.each() {
        *expected.entry(key).or_insert(0) += add;
    }
    for guarantee in GUARANTEES {
        setting.guarantee = guarantee;
        let (_, counted) = bed.floor(setting).expect("the floor counts");
        assert_eq!(counted, expected, "{guarantee}");
    }
    for guarantee in GUARANTEES {
        setting.guarantee = guarantee;
        bed.count(setting).expect("the processor counts");
        let view = View::<Count>::start(Arc::clone(&bed.log), Arc::new(MemoryStores::default()))
            .expect("its table is there");
        view.wait_ready(TIMEOUT).expect("its table is read");
        let counted: BTreeMap<String, i64> = view
            .iter()
            .expect("the table is ready")
            .map(|entry| entry.expect("an entry is read"))
            .collect();
        assert_eq!(counted, expected, "{guarantee}");
        drop(view);
        let group = Count::DEFINITION.graph.group;
        bed.forget(group, &[&format!("{group}-state")])
            .expect("the group has ended");
    }
}
