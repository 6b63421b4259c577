//! What a simulation runs: the processors, their input records, and the values that handlers share.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::panics::catch_panic;
use super::{Dice, End, FeedValue};
use crate::dispatch::ProcessorState;
use crate::edges::Processor;
use crate::graph::TopicSpec;
use crate::key::{AsKey, Key, NoKey};
use crate::record::Guarantee;
use crate::registry::Registry;
use crate::topic::{Table, Topic};

/// An input record of the workload, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FedRecord {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

impl FedRecord {
    fn new<T, K, V>(key: &K, value: &V) -> Self
    where
        T: Topic,
        K: AsKey<T::Key>,
        V: FeedValue<T::Value>,
    {
        let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        let put = key.put(&mut key_bytes);
        put.unwrap_or_else(|error| panic!("key of a record for topic `{}`: {error}", T::NAME));
        let is_value = value.put(&T::CODEC, &mut value_bytes);
        let is_value = is_value.unwrap_or_else(|error| {
            panic!("value of a record for topic `{}`: {error}", T::NAME);
        });
        Self {
            key: (!T::Key::IS_NONE).then_some(key_bytes),
            value: is_value.then_some(value_bytes),
        }
    }
}

/// A topic that gets records while the processors run.
pub(super) struct FedTopic {
    pub(super) topic: TopicSpec,
    pub(super) count: usize,
    pub(super) make: Box<dyn Fn(&mut Dice) -> FedRecord + Send + Sync>,
}

/// A table of another program: it is complete before the processors start, and does not change.
pub(super) struct LoadedTable {
    pub(super) topic: TopicSpec,
    pub(super) rows: Vec<FedRecord>,
}

type MakeState = Box<dyn Fn() -> Arc<ProcessorState> + Send + Sync>;
type HandlerTime = Arc<dyn Fn(&mut Dice) -> Duration + Send + Sync>;
type Check = Box<dyn Fn(&End<'_>) + Send + Sync>;

/// The processors that are simulated and their input: what a function with `#[goka::simulate]` returns.
/// Built once for all seeds.
///
/// ```
/// # use goka_runtime::{simulation::Workload, tester::doc::*};
/// let workload = Workload::of::<ClickCount>()
///     .input(Clicks, 300, |dice| (format!("user-{}", dice.below(20)), "x"))
///     .partitions(2);
/// ```
#[must_use = "nothing runs by itself"]
pub struct Workload {
    pub(super) registry: Registry,
    /// How to make the value that handlers share, by processor; made for each instance.
    pub(super) shared: BTreeMap<TypeId, MakeState>,
    pub(super) partitions: i32,
    pub(super) guarantee: Option<Guarantee>,
    pub(super) idempotent: bool,
    pub(super) fed_topics: Vec<FedTopic>,
    pub(super) loaded_tables: Vec<LoadedTable>,
    pub(super) checks: Vec<Check>,
    pub(super) handler_takes: Option<HandlerTime>,
}

impl Workload {
    /// One processor.
    ///
    /// ```
    /// # use goka_runtime::{simulation::Workload, tester::doc::*};
    /// let workload = Workload::of::<ClickCount>()
    ///     .input(Clicks, 300, |dice| (format!("user-{}", dice.below(20)), "x"));
    /// ```
    pub fn of<P: Processor>() -> Self {
        Self {
            registry: Registry::new().with::<P>(),
            shared: BTreeMap::new(),
            partitions: crate::processor::DEFAULT_PARTITIONS,
            guarantee: None,
            idempotent: false,
            fed_topics: Vec::new(),
            loaded_tables: Vec::new(),
            checks: Vec::new(),
            handler_takes: None,
        }
    }

    /// Adds a processor. Each instance runs all processors of the workload.
    ///
    /// ```
    /// # use goka_runtime::{edges::Processor, simulation::Workload};
    /// fn chain<First: Processor, Second: Processor>() -> Workload {
    ///     Workload::of::<First>().and::<Second>()
    /// }
    /// ```
    pub fn and<P: Processor>(mut self) -> Self {
        self.registry = self.registry.with::<P>();
        self
    }

    /// Adds a processor, if it is not there yet, and says how to make the value that its handlers share.
    /// The value is made whenever an instance starts, as in a program that starts.
    ///
    /// ```
    /// # use goka_runtime::{simulation::Workload, tester::doc::*};
    /// let workload = Workload::of::<ClickCount>().with(|| ClickCount);
    /// ```
    pub fn with<P: Processor + Send + Sync>(
        mut self,
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> Self {
        let make: MakeState = Box::new(move || Arc::new(make()));
        self.shared.insert(TypeId::of::<P>(), make);
        self.and::<P>()
    }

    /// Writes `count` records to a topic while the processors run, each made by `make`; `None` as the
    /// value is a tombstone. `make` must depend on its dice alone: with a random number of its own, the
    /// clock or a counter a replay of the seed would get other records.
    ///
    /// ```
    /// # use goka_runtime::{simulation::Workload, tester::doc::*};
    /// let workload = Workload::of::<ClickCount>()
    ///     .input(Clicks, 300, |dice| (format!("user-{}", dice.below(20)), "x"));
    /// ```
    pub fn input<T, K, V>(
        self,
        _topic: T,
        count: usize,
        make: impl Fn(&mut Dice) -> (K, V) + Send + Sync + 'static,
    ) -> Self
    where
        T: Topic,
        K: AsKey<T::Key>,
        V: FeedValue<T::Value>,
    {
        self.feed::<T>(count, move |dice| {
            let (key, value) = make(dice);
            FedRecord::new::<T, K, V>(&key, &value)
        })
    }

    /// The same as [`input`](Workload::input) for a stream that is declared `keyless`. Records go to the
    /// partitions in turn.
    ///
    /// ```
    /// # use goka_runtime::{edges::Processor, key::NoKey, simulation::Workload, topic::Topic};
    /// fn measured<P: Processor, T: Topic<Key = NoKey, Value = i64>>(measurements: T) -> Workload {
    ///     Workload::of::<P>().input_values(measurements, 300, |dice| dice.below(40).cast_signed())
    /// }
    /// ```
    pub fn input_values<T, V>(
        self,
        _topic: T,
        count: usize,
        make: impl Fn(&mut Dice) -> V + Send + Sync + 'static,
    ) -> Self
    where
        T: Topic<Key = NoKey>,
        V: FeedValue<T::Value>,
    {
        self.feed::<T>(count, move |dice| {
            FedRecord::new::<T, NoKey, V>(&NoKey, &make(dice))
        })
    }

    fn feed<T: Topic>(
        mut self,
        count: usize,
        make: impl Fn(&mut Dice) -> FedRecord + Send + Sync + 'static,
    ) -> Self {
        let make = move |dice: &mut Dice| {
            catch_panic(|| make(dice))
                .unwrap_or_else(|text| panic!("making a record for topic `{}`: {text}", T::NAME))
        };
        self.fed_topics.push(FedTopic {
            topic: T::SPEC,
            count,
            make: Box::new(make),
        });
        self
    }

    /// Adds a table that is joined or looked up and that none of the processors writes. Its rows are
    /// written before the processors start, and do not change.
    ///
    /// ```
    /// # use goka_runtime::{edges::Processor, simulation::Workload, topic::Table};
    /// fn named<P: Processor, T: Table<Key = String, Value = String>>(names: T) -> Workload {
    ///     Workload::of::<P>().table(names, [("alice", "Alice"), ("bob", "Bob")])
    /// }
    /// ```
    ///
    /// # Panics
    /// When a key or a value does not encode.
    pub fn table<T, K, V>(mut self, _topic: T, rows: impl IntoIterator<Item = (K, V)>) -> Self
    where
        T: Table,
        K: AsKey<T::Key>,
        V: FeedValue<T::Value>,
    {
        let rows = rows.into_iter();
        let rows = rows.map(|(key, value)| FedRecord::new::<T, K, V>(&key, &value));
        self.loaded_tables.push(LoadedTable {
            topic: T::SPEC,
            rows: rows.collect(),
        });
        self
    }

    /// Sets the partition count of topics that declare none; 4 unless set.
    ///
    /// ```
    /// # use goka_runtime::{simulation::Workload, tester::doc::*};
    /// let workload = Workload::of::<ClickCount>().partitions(2);
    /// ```
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Runs every processor with this guarantee, whatever each declares.
    ///
    /// ```
    /// # use goka_runtime::{simulation::Workload, tester::doc::*};
    /// use goka_runtime::record::Guarantee;
    /// let workload = Workload::of::<ClickCount>().guarantee(Guarantee::ExactlyOnce);
    /// ```
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = Some(guarantee);
        self
    }

    /// Says that handling a record twice has the same effect as handling it once. Then tables are also
    /// compared with the model at least once, not only exactly once.
    ///
    /// ```
    /// # use goka_runtime::{simulation::Workload, tester::doc::*};
    /// let workload = Workload::of::<ClickCount>().idempotent();
    /// ```
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Says how long the handler of a record takes on the run's clock. It takes the same time whenever the
    /// record is handled again. Unless set, the seed decides: from no time to longer than the session
    /// timeout or the transaction timeout.
    ///
    /// ```
    /// # use goka_runtime::{simulation::Workload, tester::doc::*};
    /// use std::time::Duration;
    ///
    /// // One record in a hundred waits for a service that is slow.
    /// let workload = Workload::of::<ClickCount>().handler_takes(|dice| match dice.chance(1) {
    ///     true => Duration::from_secs(3),
    ///     false => Duration::ZERO,
    /// });
    /// ```
    pub fn handler_takes(
        mut self,
        time: impl Fn(&mut Dice) -> Duration + Send + Sync + 'static,
    ) -> Self {
        self.handler_takes = Some(Arc::new(time));
        self
    }

    /// Adds a check of the final state of each run, beside the rules that every workload is checked by. A
    /// check that panics is a violation with the panic's message.
    ///
    /// ```
    /// # use goka_runtime::{simulation::Workload, tester::doc::*};
    /// let workload = Workload::of::<ClickCount>().check(|end| {
    ///     assert!(end.table::<ClickCount>().len() <= 20);
    /// });
    /// ```
    pub fn check(mut self, check: impl Fn(&End<'_>) + Send + Sync + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
