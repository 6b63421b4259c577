//! The walk of a visit over the group table: where it is, and what of that may be committed. Knows
//! neither stores nor handlers; [`super::super::visit`] lists the keys and calls the handler.

use std::cmp::Ordering;

use super::super::visited_key::VisitedKey;
use crate::dispatch::{Call, Incoming};
use crate::log::Committed;
use crate::record::{Headers, Offset, Record, Timestamp};

/// How many keys are listed at once, at most.
const MAX_SLICE: usize = 500;

/// The walk of a task, if one is under way, and where the last one was when it was committed.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    visit: Option<Visit>,
    /// The record that asked for the walk, and the last key visited, as the group has them.
    committed: Option<(Offset, VisitedKey)>,
}

impl Walk {
    /// What the group committed with the offset of the visit topic.
    pub(super) fn new(committed: Option<&Committed>) -> Self {
        let mut walk = Self::default();
        if let Some(Committed { offset, metadata }) = committed {
            walk.commit(*offset, metadata);
        }
        walk
    }

    /// The group has an offset of the visit topic, with that text.
    pub(super) fn commit(&mut self, offset: Offset, text: &str) {
        if let Some(key) = VisitedKey::read(text) {
            self.committed = Some((offset, key));
        }
    }

    /// Begins the walk that a record asks for, or goes on with it where the group committed it.
    pub(crate) fn begin(&mut self, record: &Record<'_>, call: Call) {
        let committed = self.committed.as_ref();
        let visited = committed.filter(|(offset, _)| *offset == record.offset);
        self.visit = Some(Visit::new(record, call, visited.map(|(_, key)| key)));
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.visit.is_some()
    }

    /// Takes the visit under way, to go on with it.
    pub(crate) fn take(&mut self) -> Option<Visit> {
        self.visit.take()
    }

    /// Puts a visit back that is not over.
    pub(crate) fn put_back(&mut self, visit: Visit) {
        self.visit = Some(visit);
    }

    /// Forgets the visit under way: its record is read again.
    pub(super) fn rewind(&mut self) {
        self.visit = None;
    }

    /// Adds where the walk is to the text that is committed with the visit topic's offset. With guards
    /// held it is the key before the first of them.
    pub(super) fn add_to(&self, text: String, position: Offset, is_held: bool) -> String {
        match (&self.visit, &self.committed) {
            (Some(visit), _) => visit.add_to(text, is_held),
            // It has not begun again yet.
            (None, Some((offset, key))) if *offset == position => key.add_to(text),
            _ => text,
        }
    }
}

/// A visit under way.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) call: Call,
    /// The record that asked for it.
    pub(crate) offset: Offset,
    timestamp: Timestamp,
    argument: Option<Vec<u8>>,
    /// The search for the last key visited, if it was too long to be committed whole.
    search: Option<Search>,
    /// The last key visited.
    last: Option<Vec<u8>>,
    /// The last key up to which no guard holds anything back: what may be committed.
    committable: Option<Vec<u8>>,
    /// How many keys are listed next: about as many as a turn has time for.
    slice: usize,
}

impl Visit {
    fn new(record: &Record<'_>, call: Call, visited: Option<&VisitedKey>) -> Self {
        let last = visited.and_then(VisitedKey::whole).map(<[u8]>::to_vec);
        let truncated = visited.filter(|key| key.whole().is_none());
        Self {
            call,
            offset: record.offset,
            timestamp: record.timestamp,
            argument: record.value.map(<[u8]>::to_vec),
            search: truncated.cloned().map(Search::new),
            committable: last.clone(),
            last,
            slice: MAX_SLICE,
        }
    }

    fn add_to(&self, text: String, is_held: bool) -> String {
        if let Some(search) = &self.search {
            return search.visited.add_to(text);
        }
        match if is_held {
            &self.committable
        } else {
            &self.last
        } {
            Some(key) => VisitedKey::of(key).add_to(text),
            None => text,
        }
    }

    /// Whether the last key visited has to be searched for first.
    pub(crate) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// Behind which key the next ones are listed, and how many of them.
    pub(crate) fn next_slice(&self) -> (Option<&[u8]>, usize) {
        match &self.search {
            Some(search) => (Some(&search.at), MAX_SLICE),
            None => (self.last.as_deref(), self.slice),
        }
    }

    /// Searches the next keys for the last one visited. At the end of the search the visit goes on
    /// behind it.
    pub(crate) fn search(&mut self, keys: Vec<Vec<u8>>, group: &str, partition: i32) {
        let is_last = keys.len() < MAX_SLICE;
        let ended = |search: &mut Search| search.look_at(keys) || is_last;
        if let Some(search) = self.search.take_if(ended) {
            self.last = Some(search.end(group, partition));
            self.committable.clone_from(&self.last);
        }
    }

    /// The call for a key.
    pub(crate) fn incoming<'a>(
        &'a self,
        group: &'a str,
        (topic, partition): (&'a str, i32),
        key: &'a [u8],
    ) -> Incoming<'a> {
        Incoming {
            group,
            topic,
            partition,
            offset: self.offset,
            timestamp: self.timestamp,
            key: Some(key),
            value: self.argument.as_deref(),
            headers: Headers::default(),
        }
    }

    /// A key was visited. `is_held` says whether a guard of the visit holds anything back.
    pub(crate) fn visited(&mut self, key: Vec<u8>, is_held: bool) {
        self.last = Some(key);
        if !is_held {
            self.committable.clone_from(&self.last);
        }
    }

    /// The turn had time for so many keys.
    pub(crate) fn turn_ended(&mut self, visited: usize) {
        self.slice = (visited * 2).clamp(1, MAX_SLICE);
    }

    /// The turn had time for all keys that were listed.
    pub(crate) fn slice_ended(&mut self) {
        self.slice = (self.slice * 2).min(MAX_SLICE);
    }
}

/// The search for the last key of a walk that was too long to be committed whole.
#[derive(Debug)]
struct Search {
    visited: VisitedKey,
    /// The last key looked at.
    at: Vec<u8>,
    /// The last key that was surely visited.
    found: Option<Vec<u8>>,
    /// How many keys behind it may have been visited or not.
    unsure: usize,
}

impl Search {
    fn new(visited: VisitedKey) -> Self {
        Self {
            at: visited.start().to_vec(),
            visited,
            found: None,
            unsure: 0,
        }
    }

    /// Looks at the next keys. Returns whether the search is over: no key behind them was visited.
    fn look_at(&mut self, keys: Vec<Vec<u8>>) -> bool {
        for key in keys {
            let order = self.visited.order(&key);
            if order == Some(Ordering::Greater) {
                return true;
            }
            match order {
                None => self.unsure += 1,
                Some(_) => (self.found, self.unsure) = (Some(key.clone()), 0),
            }
            self.at = key;
            if order == Some(Ordering::Equal) {
                return true;
            }
        }
        false
    }

    /// The last key that was visited, of those that are still in the table.
    fn end(self, group: &str, partition: i32) -> Vec<u8> {
        if self.unsure > 0 {
            let keys = self.unsure;
            tracing::warn!(
                group,
                partition,
                keys,
                "the last key visited is deleted and too long to be ordered among its neighbours: \
                 the visit calls its handler for them, perhaps a second time"
            );
        }
        self.found.unwrap_or_else(|| self.visited.start().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            offset: 4,
            timestamp: 0,
            key: Some(b"visit"),
            value: None,
            headers: Headers::default(),
        }
    }

    fn call() -> Call {
        Call::Sync(|_, _| Ok(()))
    }

    #[test]
    fn a_walk_is_committed_behind_the_last_key_that_no_guard_holds() {
        let mut walk = Walk::default();
        walk.begin(&record(), call());
        let mut visit = walk.take().unwrap();
        visit.visited(b"a".to_vec(), false);
        visit.visited(b"b".to_vec(), true);
        walk.put_back(visit);
        let at = |key: &[u8]| VisitedKey::of(key).add_to(String::new());
        assert_eq!(walk.add_to(String::new(), 4, false), at(b"b"));
        assert_eq!(walk.add_to(String::new(), 4, true), at(b"a"));
        walk.commit(4, &at(b"a"));
        walk.rewind();
        assert_eq!(
            walk.add_to(String::new(), 4, false),
            at(b"a"),
            "until it goes on"
        );
        assert_eq!(
            walk.add_to(String::new(), 5, false),
            "",
            "of another record"
        );
        walk.begin(&record(), call());
        let next = walk.take().unwrap();
        assert_eq!(next.next_slice(), (Some(&b"a"[..]), MAX_SLICE));
    }

    #[test]
    fn a_slice_has_about_as_many_keys_as_a_turn_has_time_for() {
        let mut visit = Visit::new(&record(), call(), None);
        let slice = |visit: &Visit| visit.next_slice().1;
        visit.turn_ended(3);
        assert_eq!(slice(&visit), 6);
        visit.turn_ended(0);
        assert_eq!(slice(&visit), 1);
        visit.slice_ended();
        assert_eq!(slice(&visit), 2);
    }
}
