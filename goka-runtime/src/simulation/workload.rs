//! What is simulated: the processors, what is fed to them, and what they share.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Dice;
use crate::codec::AsValue;
use crate::dispatch::Shared;
use crate::edges::Processor;
use crate::graph::TopicSpec;
use crate::key::AsKey;
use crate::record::Guarantee;
use crate::registry::Registry;
use crate::topic::Topic;

/// A record as it is fed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

/// A topic that is fed while the processors run.
pub(super) struct Feed {
    pub(super) topic: TopicSpec,
    pub(super) count: usize,
    pub(super) make: Box<dyn Fn(&mut Dice) -> Fresh + Send + Sync>,
}

/// A table of somebody else's that is there before the processors start, and does not change.
pub(super) struct Load {
    pub(super) topic: TopicSpec,
    pub(super) rows: Vec<Fresh>,
}

type Make = Box<dyn Fn() -> Arc<Shared> + Send + Sync>;

/// The processors that are simulated and what is fed to them.
#[must_use = "nothing runs by itself"]
pub struct Workload {
    pub(super) registry: Registry,
    /// What handlers share, made anew for each instance.
    pub(super) shared: BTreeMap<TypeId, Make>,
    pub(super) partitions: i32,
    pub(super) guarantee: Option<Guarantee>,
    pub(super) idempotent: bool,
    pub(super) feeds: Vec<Feed>,
    pub(super) loads: Vec<Load>,
}

impl Workload {
    /// One processor.
    pub fn of<P: Processor>() -> Self {
        Self {
            registry: Registry::new().with::<P>(),
            shared: BTreeMap::new(),
            partitions: crate::processor::DEFAULT_PARTITIONS,
            guarantee: None,
            idempotent: false,
            feeds: Vec::new(),
            loads: Vec::new(),
        }
    }

    /// Feeds `count` records to a topic, each made by `make`.
    pub fn input<T, K, V>(
        mut self,
        _topic: T,
        count: usize,
        make: impl Fn(&mut Dice) -> (K, V) + Send + Sync + 'static,
    ) -> Self
    where
        T: Topic,
        K: AsKey<T::Key>,
        V: AsValue<T::Value>,
    {
        let make = move |dice: &mut Dice| {
            let (key, value) = make(dice);
            let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
            let put = key.put(&mut key_bytes);
            put.unwrap_or_else(|error| panic!("key of a record for topic `{}`: {error}", T::NAME));
            let put = value.put(&T::CODEC, &mut value_bytes);
            put.unwrap_or_else(|error| {
                panic!("value of a record for topic `{}`: {error}", T::NAME)
            });
            Fresh {
                key: Some(key_bytes),
                value: Some(value_bytes),
            }
        };
        self.feeds.push(Feed {
            topic: T::SPEC,
            count,
            make: Box::new(make),
        });
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
