//! Walks over the group table, asked for by records of the group's visit topic: the handler named
//! by the record's key is called for every key of the table, in slices between other records, under
//! the processor's own guarantees. The walk's place is committed with the visit record's offset, so a
//! crash or another owner goes on from there.

use std::cmp::Ordering;
use std::ops::{Bound, ControlFlow};

use super::handle::HandlerEnv;
use super::ids::CopyId;
use super::place::Place;
use super::stop_reason::StopReason;
use super::stop_reason::key_text;
use super::task::Task;
use crate::dispatch::{Call, Incoming};
use crate::record::{Headers, Offset, Record, Timestamp, TopicId};

/// How many keys are listed at once, at most.
const SLICE: usize = 500;

/// A walk under way.
#[derive(Debug)]
pub(crate) struct Visit {
    call: Call,
    /// The record that asked for it.
    offset: Offset,
    timestamp: Timestamp,
    argument: Option<Vec<u8>>,
    /// The search for the last key visited, if it was too long to be committed.
    seek: Option<Seek>,
    /// The last key visited.
    cursor: Option<Vec<u8>>,
    /// The last key up to which no guard holds anything back: what may be committed.
    safe: Option<Vec<u8>>,
    /// How many keys are listed next: about as many as a turn has time for.
    slice: usize,
}

/// The search for the place of a walk whose last key was too long to be committed as it is.
#[derive(Debug)]
struct Seek {
    place: Place,
    /// The last key looked at.
    at: Vec<u8>,
    /// The last key that was surely visited.
    found: Option<Vec<u8>>,
    /// How many keys behind it may have been visited or not.
    unsure: usize,
}

impl Seek {
    fn new(place: Place) -> Self {
        Self {
            at: place.start.clone(),
            place,
            found: None,
            unsure: 0,
        }
    }

    /// Looks at the next keys; says whether none before them can be the place.
    fn look_at(&mut self, keys: Vec<Vec<u8>>) -> bool {
        for key in keys {
            let order = self.place.order(&key);
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

    /// The last key that was visited, of those that are there.
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
        self.found.unwrap_or(self.place.start)
    }
}

impl Visit {
    /// Adds the walk's place to what is committed with the visit record's offset. With guards held it
    /// is the place before the first of them.
    pub(crate) fn note(&self, metadata: String, is_held: bool) -> String {
        if let Some(seek) = &self.seek {
            return seek.place.note(metadata);
        }
        match if is_held { &self.safe } else { &self.cursor } {
            Some(cursor) => Place::of(cursor).note(metadata),
            None => metadata,
        }
    }
}

impl Task {
    /// Begins the walk that a record asks for; the records behind it are fetched again when it ends.
    pub(crate) fn begin_visit(&mut self, record: &Record<'_>, desk: &HandlerEnv<'_>) {
        let Some(visits) = &desk.plan.visits else {
            return;
        };
        let position = self.positions.get(&visits.topic).copied().unwrap_or(0);
        if record.offset < position || self.visit.is_some() {
            return;
        }
        self.positions.insert(visits.topic, record.offset);
        let name = record.key.unwrap_or_default();
        let call = visits
            .calls
            .iter()
            .find(|(known, _)| known.as_bytes() == name);
        let Some((_, call)) = call else {
            let (group, name) = (&*desk.plan.group.name, key_text(name));
            tracing::warn!(group, name, "no visit of that name; its record is skipped");
            self.positions.insert(visits.topic, record.offset + 1);
            return;
        };
        let visited = self
            .visited
            .clone()
            .filter(|(offset, _)| *offset == record.offset)
            .map(|(_, place)| place);
        let (cursor, seek) = match visited {
            Some(place) if place.is_whole() => (Some(place.start), None),
            place => (None, place.map(Seek::new)),
        };
        self.visit = Some(Visit {
            call: *call,
            offset: record.offset,
            timestamp: record.timestamp,
            argument: record.value.map(<[u8]>::to_vec),
            seek,
            safe: cursor.clone(),
            cursor,
            slice: SLICE,
        });
    }

    /// Visits the next keys until the turn is over; says whether the walk is.
    ///
    /// # Errors
    /// Why the task stops: the walk goes on at the failed key when it is read again.
    pub(crate) fn visit_slice(&mut self, desk: &mut HandlerEnv<'_>) -> Result<bool, StopReason> {
        let (Some(visits), Some(mut visit)) = (&desk.plan.visits, self.visit.take()) else {
            return Ok(false);
        };
        let visited = self.visit_keys(visits.topic, &mut visit, desk);
        let is_over = matches!(visited, Ok(true));
        if is_over {
            self.positions.insert(visits.topic, visit.offset + 1);
        } else {
            self.visit = Some(visit);
        }
        visited
    }

    fn visit_keys(
        &mut self,
        topic: TopicId,
        visit: &mut Visit,
        desk: &mut HandlerEnv<'_>,
    ) -> Result<bool, StopReason> {
        if let Some(mut seek) = visit.seek.take() {
            let keys = self.next_keys(Some(&seek.at), SLICE, desk);
            let is_over = keys.map(|keys| {
                let is_last = keys.len() < SLICE;
                seek.look_at(keys) || is_last
            });
            if !matches!(is_over, Ok(true)) {
                visit.seek = Some(seek);
                return is_over;
            }
            let cursor = seek.end(&desk.plan.group.name, self.id.partition);
            visit.safe = Some(cursor.clone());
            visit.cursor = Some(cursor);
        }
        let keys = self.next_keys(visit.cursor.as_deref(), visit.slice, desk)?;
        let is_last = keys.len() < visit.slice;
        for (at, key) in keys.into_iter().enumerate() {
            if !self.may_call(topic, visit.offset, &key, desk) {
                visit.slice = (at * 2).clamp(1, SLICE);
                return Ok(false);
            }
            let incoming = Incoming {
                group: &desk.plan.group.name,
                topic: desk.plan.group.topic(topic),
                partition: self.id.partition,
                offset: visit.offset,
                timestamp: visit.timestamp,
                key: Some(&key),
                value: visit.argument.as_deref(),
                headers: Headers::default(),
            };
            self.call(visit.call, topic, incoming, &key, desk)?;
            self.commit_owed = true;
            visit.cursor = Some(key);
            if !self.is_held(topic) {
                visit.safe.clone_from(&visit.cursor);
            }
        }
        visit.slice = (visit.slice * 2).min(SLICE);
        Ok(is_last)
    }

    /// The keys after `from` that have a value, in order, at most so many.
    fn next_keys(
        &self,
        from: Option<&[u8]>,
        most: usize,
        desk: &HandlerEnv<'_>,
    ) -> Result<Vec<Vec<u8>>, StopReason> {
        let mut keys = Vec::new();
        let copy = desk.plan.table.as_ref().map(|table| CopyId {
            task: self.id,
            table: table.topic,
        });
        if let Some(store) = copy.and_then(|copy| desk.around.store(copy)) {
            let from = from.map_or(Bound::Unbounded, Bound::Excluded);
            let mut each = |key: &[u8], _: crate::table::StoredRef<'_>| {
                // A deleted one may still be in the store.
                let lives = self
                    .layers
                    .get(key)
                    .is_none_or(|entry| entry.view().is_some());
                if lives {
                    keys.push(key.to_vec());
                }
                match keys.len() < most {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            store
                .range((from, Bound::Unbounded), &mut each)
                .map_err(StopReason::Store)?;
        }
        let fresh = self.layers.unstored_after(from, most);
        keys.extend(fresh.into_iter().map(<[u8]>::to_vec));
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(most);
        Ok(keys)
    }
}
