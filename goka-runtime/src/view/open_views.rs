//! The views of this process, so that the error of a second one of a table names the first: a local copy has
//! one holder, and the system does not say which process that is.

use std::sync::{Arc, Mutex, Weak};

use super::error::ViewError;
use crate::lock::lock;
use crate::table::{StoreError, Stores};

static VIEWS: Mutex<Vec<Weak<OpenView>>> = Mutex::new(Vec::new());

/// A view of this process, while it lives.
pub(super) struct OpenView {
    topic: Arc<str>,
    stores: Arc<dyn Stores>,
    partitions: i32,
}

impl OpenView {
    pub(super) fn new(topic: Arc<str>, stores: Arc<dyn Stores>, partitions: i32) -> Arc<Self> {
        let view = Arc::new(Self {
            topic,
            stores,
            partitions,
        });
        let mut views = lock(&VIEWS);
        views.retain(|view| view.strong_count() > 0);
        views.push(Arc::downgrade(&view));
        view
    }

    /// Makes [`ViewError::InUse`] of an error that says that another view of this process holds the copy.
    pub(super) fn explain(self: &Arc<Self>, error: ViewError) -> ViewError {
        let ViewError::Store(StoreError::Locked { path }) = &error else {
            return error;
        };
        let others: Vec<_> = lock(&VIEWS).iter().filter_map(Weak::upgrade).collect();
        let is_same = |other: &&Arc<Self>| {
            !Arc::ptr_eq(self, other)
                && other.topic == self.topic
                && (Arc::ptr_eq(&self.stores, &other.stores) || other.has_copy_at(path))
        };
        let is_own = others.iter().any(|other| is_same(&other));
        if is_own {
            let topic = self.topic.to_string();
            return ViewError::InUse { topic };
        }
        error
    }

    /// Whether it has a copy at this path.
    fn has_copy_at(&self, path: &str) -> bool {
        let places = 0..self.partitions;
        places
            .filter_map(|partition| self.stores.location(&self.topic, partition))
            .any(|place| place == path)
    }
}
