//! Walks over the group table, asked for by records of the group's visit topic: the handler named
//! by the record's key is called for every key of the table, in slices between other records, under
//! the processor's own guarantees. The walk's place is committed with the visit record's offset, so a
//! crash or another owner goes on from there.

use std::ops::{Bound, ControlFlow};

use super::event::{Cause, CopyId};
use super::handle::Desk;
use super::metadata::MAX_BYTES;
use super::scope::text;
use super::task::Task;
use crate::dispatch::{Call, Incoming};
use crate::record::{Headers, Offset, Record, Timestamp, TopicId};

/// How many keys are listed at once, at most.
const SLICE: usize = 500;
const NOTE: &str = ";visited=";

/// A walk under way.
#[derive(Debug)]
pub(crate) struct Visit {
    call: Call,
    /// The record that asked for it.
    offset: Offset,
    timestamp: Timestamp,
    argument: Option<Vec<u8>>,
    /// The last key visited.
    cursor: Option<Vec<u8>>,
    /// The last key up to which no guard holds anything back: what may be committed.
    safe: Option<Vec<u8>>,
    /// How many keys are listed next: about as many as a turn has time for.
    slice: usize,
}

impl Visit {
    /// Adds the walk's place to what is committed with the visit record's offset. A key that does not
    /// fit is cut short: the walk then goes on a little before where it was. With guards held it is
    /// the place before the first of them.
    pub(crate) fn note(&self, metadata: String, is_held: bool) -> String {
        let place = if is_held { &self.safe } else { &self.cursor };
        match place {
            Some(cursor) => note(metadata, cursor),
            None => metadata,
        }
    }
}

pub(crate) fn note(mut metadata: String, cursor: &[u8]) -> String {
    let room = MAX_BYTES.saturating_sub(metadata.len() + NOTE.len()) / 2;
    metadata.push_str(NOTE);
    for byte in cursor.iter().take(room) {
        metadata.push_str(&format!("{byte:02x}"));
    }
    metadata
}

/// The walk's place in what was committed.
pub(crate) fn noted(metadata: &str) -> Option<Vec<u8>> {
    let (_, hex) = metadata.split_once(NOTE)?;
    let hex = hex.split(';').next().unwrap_or_default();
    let digits = hex.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

impl Task {
    /// Begins the walk that a record asks for; the records behind it are fetched again when it ends.
    pub(crate) fn begin_visit(&mut self, record: &Record<'_>, desk: &Desk<'_>) {
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
            let (group, name) = (&*desk.plan.group.name, text(name));
            tracing::warn!(group, name, "no visit of that name; its record is skipped");
            self.positions.insert(visits.topic, record.offset + 1);
            return;
        };
        let visited = self
            .visited
            .clone()
            .filter(|(offset, _)| *offset == record.offset);
        self.visit = Some(Visit {
            call: *call,
            offset: record.offset,
            timestamp: record.timestamp,
            argument: record.value.map(<[u8]>::to_vec),
            cursor: visited.as_ref().map(|(_, cursor)| cursor.clone()),
            safe: visited.map(|(_, cursor)| cursor),
            slice: SLICE,
        });
    }

    /// Visits the next keys until the turn is over; says whether the walk is.
    ///
    /// # Errors
    /// Why the task stops: the walk goes on at the failed key when it is read again.
    pub(crate) fn visit_slice(&mut self, desk: &mut Desk<'_>) -> Result<bool, Cause> {
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
        desk: &mut Desk<'_>,
    ) -> Result<bool, Cause> {
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
        desk: &Desk<'_>,
    ) -> Result<Vec<Vec<u8>>, Cause> {
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
                .map_err(Cause::Store)?;
        }
        let fresh = self.layers.unstored_after(from, most);
        keys.extend(fresh.into_iter().map(<[u8]>::to_vec));
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(most);
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_noted_and_found_again() {
        let visit = |cursor: &[u8]| Visit {
            call: Call::Sync(|_, _| Ok(())),
            offset: 0,
            timestamp: 0,
            argument: None,
            cursor: None,
            safe: Some(cursor.to_vec()),
            slice: SLICE,
        };
        let text = visit(b"a;b=\xff").note("goka1;fp=00".to_owned(), true);
        assert_eq!(noted(&text), Some(b"a;b=\xff".to_vec()));
        assert_eq!(noted("goka1;fp=00"), None);
        let long = visit(&[7; 9000]).note("goka1;fp=00".to_owned(), true);
        assert!(long.len() <= MAX_BYTES);
        assert!(noted(&long).unwrap().len() > 2000);
    }
}
