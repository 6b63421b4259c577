//! A table that a test reads.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::folded::Folded;
use super::output::shown;
use crate::codec::Codec;
use crate::key::AsKey;
use crate::topic::Table;

/// A table, as readers of committed records see it now.
///
/// ```
/// # use goka_runtime::tester::{Tester, doc::*};
/// let mut app = Tester::of::<ClickCount>();
/// app.input(Clicks).send("alice", "x");
/// assert_eq!(format!("{:?}", app.table::<ClickCount>()), r#"{"alice": "1"}"#);
/// ```
pub struct Rows<'t, T> {
    folded: Arc<Folded>,
    /// What it borrows from: a tester, or the end of a simulated run.
    of: PhantomData<&'t ()>,
    table: PhantomData<fn() -> T>,
}

impl<T: Table> Rows<'_, T> {
    pub(crate) fn new(folded: Arc<Folded>) -> Self {
        let (of, table) = (PhantomData, PhantomData);
        Self { folded, of, table }
    }

    /// The value of a key.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::of::<ClickCount>();
    /// assert_eq!(app.table::<ClickCount>().get("alice"), None);
    /// ```
    ///
    /// # Panics
    /// When the key does not encode, or the value does not decode.
    #[track_caller]
    pub fn get(&self, key: impl AsKey<T::Key>) -> Option<T::Value> {
        let mut bytes = Vec::new();
        if let Err(error) = key.put(&mut bytes) {
            panic!("key of table `{}`: {error}", T::NAME);
        }
        let stored = self.folded.get(&bytes)?;
        Some(value::<T>(&stored.value))
    }

    /// All rows, in the order of the keys' bytes.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send("bob", "x");
    /// app.input(Clicks).send("alice", "x");
    /// let users: Vec<_> = app.table::<ClickCount>().iter().map(|(user, _)| user).collect();
    /// assert_eq!(users, ["alice", "bob"]);
    /// ```
    ///
    /// # Panics
    /// When a row does not decode.
    #[track_caller]
    pub fn iter(&self) -> impl Iterator<Item = (T::Key, T::Value)> + use<T> {
        let rows = self.folded.rows().into_iter();
        let rows = rows.map(|(key, bytes)| match T::Key::decode(&key) {
            Ok(key) => (key, value::<T>(&bytes)),
            Err(error) => panic!("key of table `{}`: {error}", T::NAME),
        });
        rows.collect::<Vec<_>>().into_iter()
    }

    /// How many rows there are.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send("alice", "x");
    /// assert_eq!(app.table::<ClickCount>().len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.folded.rows().len()
    }

    /// Whether there are no rows.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// assert!(Tester::of::<ClickCount>().table::<ClickCount>().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[track_caller]
fn value<T: Table>(bytes: &[u8]) -> T::Value {
    let value = T::CODEC.decode(bytes);
    value.unwrap_or_else(|error| panic!("value of table `{}`: {error}", T::NAME))
}

impl<T: Table> fmt::Debug for Rows<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.folded.rows();
        let rows = rows
            .iter()
            .map(|(key, value)| (shown(&T::SPEC.key, key), shown(&T::SPEC.value, value)));
        f.debug_map().entries(rows).finish()
    }
}
