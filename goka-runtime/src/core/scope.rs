//! The scope of one record: collects what its handler does, the writes to the table and the outputs, so
//! that all of it is dropped when the handler fails. Made anew for each record.

use smallvec::SmallVec;

use super::ids::{CopyId, RecordId};
use super::plan::Plan;
use super::services::HandlerServices;
use super::stop_reason::key_text;
use super::table_buffer::{RowId, TableBuffer};
use super::task::JoinedCopies;
use crate::dispatch::{ContextError, Deferred, Destination, Encode, Scope};
use crate::record::{Append, AppendKind, Appends, Mark, TaskId, Timestamp, TopicId};
use crate::table::{StoreError, Stored, StoredRef};

/// Buffers that are reused for each record.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    key: Vec<u8>,
    value: Vec<u8>,
    /// The bytes of a row that was read.
    row: Vec<u8>,
    loaded: Option<Stored>,
    /// The record's key as this program encodes it.
    pub(super) form: Vec<u8>,
}

impl Scratch {
    fn loaded(&self) -> Option<StoredRef<'_>> {
        self.loaded.as_ref().map(Stored::view)
    }
}

/// What a record writes to its key: a value, or a deletion.
pub(super) type Written = Option<SmallVec<[u8; 24]>>;

/// The scope of one record.
pub(super) struct RecordScope<'a> {
    pub(super) plan: &'a Plan,
    pub(super) task: TaskId,
    pub(super) key: Option<&'a [u8]>,
    pub(super) timestamp: Timestamp,
    /// The record, and the number of its next guard.
    pub(super) record: RecordId,
    pub(super) buffer: &'a mut TableBuffer,
    /// The row of its key, once the handler asked for it.
    pub(super) row: Option<RowId>,
    /// Why a store could not be read, and which: `None` is that of a table that is looked up.
    pub(super) unreadable: Option<Box<(Option<CopyId>, StoreError)>>,
    pub(super) joins: &'a JoinedCopies,
    pub(super) services: &'a dyn HandlerServices,
    pub(super) appends: &'a mut Appends,
    pub(super) scratch: &'a mut Scratch,
    /// The last write of this record to its key.
    pub(super) written: Option<Written>,
    /// How many changelog records the handler made.
    pub(super) updates: u64,
}

/// Where the records that a handler makes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Savepoint(Mark);

impl Savepoint {
    pub(super) fn of(appends: &Appends) -> Self {
        Self(appends.mark())
    }

    /// The position of the first record since then.
    pub(super) fn first(self) -> usize {
        self.0.place()
    }

    pub(super) fn drop_all_since(self, appends: &mut Appends) {
        appends.truncate(self.0);
    }
}

fn varint(value: usize) -> usize {
    let bits = usize::BITS - (value << 1).leading_zeros();
    (bits.div_ceil(7) as usize).max(1)
}

/// The size of a record batch of this one record, as the broker counts it
/// (Kafka protocol, record batch v2: 61 bytes of header, then the record with its varints).
fn batch_size(key: &[u8], value: &[u8], headers: &[(String, Option<Vec<u8>>)]) -> usize {
    let headers: usize = headers
        .iter()
        .map(|(name, value)| {
            let value = value.as_ref().map_or(0, Vec::len);
            varint(name.len()) + name.len() + varint(value) + value
        })
        .sum();
    let body = 4 + varint(key.len()) + key.len() + varint(value.len()) + value.len() + headers;
    61 + varint(body) + body
}

impl RecordScope<'_> {
    /// What the store of a copy has for the record's key, which the buffer over it does not know.
    fn stored(&mut self, table: TopicId) -> Result<Option<Stored>, StoreError> {
        let (task, key) = (self.task, self.key.unwrap_or_default());
        let copy = CopyId { task, table };
        let store = self.services.store(copy);
        store
            .map_or(Ok(None), |store| store.get(key))
            .inspect_err(|error| {
                self.unreadable = Some(Box::new((Some(copy), error.clone())));
            })
    }
}

impl Scope for RecordScope<'_> {
    fn load(&mut self) -> Result<Option<StoredRef<'_>>, ContextError> {
        let key = self.key.unwrap_or_default();
        if self.written.is_some() {
            let written = self.written.as_ref().and_then(|written| written.as_deref());
            let timestamp = self.timestamp;
            return Ok(written.map(|value| StoredRef { timestamp, value }));
        }
        let Some(table) = &self.plan.table else {
            return Ok(None);
        };
        let known = self.row.or_else(|| self.buffer.touch(key));
        let row = match known {
            Some(row) => row,
            None => {
                let stored = match self.buffer.may_be_stored(key) {
                    true => self.stored(table.topic)?,
                    false => None,
                };
                self.buffer.remember(key, stored.as_ref())
            }
        };
        self.row = Some(row);
        Ok(self.buffer.read(row, &mut self.scratch.row))
    }

    fn store(&mut self, value: Option<Encode<'_>>) -> Result<(), ContextError> {
        let Some(table) = &self.plan.table else {
            return Ok(());
        };
        let key = self.key.unwrap_or_default();
        let name = self.plan.group.topic(table.topic);
        let value = encode(value, &mut self.scratch.value, "value", name)?;
        let size = batch_size(key, value.unwrap_or_default(), &[]);
        check_size(name, key, size, table.max_message_bytes)?;
        if value.is_none() && mutant!(LostTombstone) {
            self.written = Some(None);
            return Ok(());
        }
        self.appends.push(Append {
            task: self.task,
            kind: AppendKind::Changelog,
            topic: table.topic,
            partition: self.task.partition,
            key: Some(key),
            value,
            timestamp: self.timestamp,
            headers: &[],
        });
        self.updates += 1;
        self.written = Some(value.map(SmallVec::from_slice));
        Ok(())
    }

    fn join(&mut self, table: &'static str) -> Result<Option<StoredRef<'_>>, ContextError> {
        let key = self.key.unwrap_or_default();
        let Some(join) = self.plan.joins.iter().find(|join| join.name == table) else {
            return Ok(None);
        };
        let joins = self.joins;
        if let Some(buffer) = joins.buffer(join.topic) {
            if let Some(row) = buffer.find(key) {
                return Ok(buffer.read(row, &mut self.scratch.row));
            }
            if !buffer.may_be_stored(key) {
                return Ok(None);
            }
        }
        self.scratch.loaded = self.stored(join.topic)?;
        Ok(self.scratch.loaded())
    }

    fn lookup(
        &mut self,
        table: &'static str,
        key: Encode<'_>,
    ) -> Result<Option<StoredRef<'_>>, ContextError> {
        let key = encode(Some(key), &mut self.scratch.key, "key", table)?;
        let found = self.services.lookup(table, key.unwrap_or_default());
        if let Err(ContextError::Store(error)) = &found {
            self.unreadable = Some(Box::new((None, error.clone())));
        }
        self.scratch.loaded = found?;
        Ok(self.scratch.loaded())
    }

    fn defer(&mut self) -> Deferred {
        let record = self.record;
        self.record.guard += 1;
        self.services.defer(record)
    }

    fn emit(
        &mut self,
        to: &Destination,
        key: Option<Encode<'_>>,
        value: Option<Encode<'_>>,
        timestamp: Option<Timestamp>,
        headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), ContextError> {
        let output = self.plan.output(to.topic);
        let Scratch {
            key: key_buffer,
            value: value_buffer,
            ..
        } = &mut *self.scratch;
        let key = encode(key, key_buffer, "key", to.topic)?;
        let value = encode(value, value_buffer, "value", to.topic)?;
        let key_bytes = key.unwrap_or_default();
        let size = batch_size(key_bytes, value.unwrap_or_default(), headers);
        check_size(to.topic, key_bytes, size, output.max_message_bytes)?;
        let partition = match key {
            Some(key) => (to.partition_of)(key, output.partitions),
            None => self.task.partition % output.partitions,
        };
        self.appends.push(Append {
            task: self.task,
            kind: AppendKind::Output,
            topic: output.topic,
            partition,
            key,
            value,
            timestamp: timestamp.unwrap_or(self.timestamp),
            headers,
        });
        Ok(())
    }
}

#[inline]
fn check_size(
    topic: &str,
    key: &[u8],
    size: usize,
    max_message_bytes: usize,
) -> Result<(), ContextError> {
    if size <= max_message_bytes {
        return Ok(());
    }
    Err(ContextError::TooLarge {
        topic: topic.to_owned(),
        key: key_text(key),
        size,
        max_message_bytes,
    })
}

#[inline]
fn encode<'b>(
    value: Option<Encode<'_>>,
    buffer: &'b mut Vec<u8>,
    what: &'static str,
    topic: &str,
) -> Result<Option<&'b [u8]>, ContextError> {
    let Some(encode) = value else { return Ok(None) };
    buffer.clear();
    encode(buffer).map_err(|source| ContextError::Codec {
        what,
        topic: topic.to_owned(),
        source,
    })?;
    Ok(Some(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_sizes_are_those_of_the_protocol() {
        // Header 61, length 1, attributes, two deltas and header count 4, key and value 2 each.
        assert_eq!(batch_size(b"a", b"1", &[]), 70);
        // Lengths of 64 and more take two bytes as zigzag varints.
        assert_eq!(varint(63), 1);
        assert_eq!(varint(64), 2);
    }
}
