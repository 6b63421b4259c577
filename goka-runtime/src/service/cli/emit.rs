//! The commands `emit` and `visit`. `emit` writes one record from the command line, or lines
//! `key<TAB>value` from standard input, in order, and ends when they are acknowledged. At a bad line it
//! ends, too; the lines before it are sent.

use std::io::{BufRead, BufReader, Read};

use super::access::TableAccess;
use super::catalog::TopicCodecs;
use super::error::CliError;
use crate::log::after;
use crate::service::commands::protocol::{Bytes, FRAME_FILL, PartitionedRecord};

/// The longest line of standard input.
const MAX_LINE: u64 = 8 << 20;

pub(super) fn one(
    access: &TableAccess,
    codecs: &TopicCodecs,
    key: &str,
    value: &str,
) -> Result<(), CliError> {
    let partitions = access.target(&codecs.topic, codecs.declared)?;
    let record = record_of(codecs, partitions, key, value).map_err(CliError::new)?;
    emit(access, codecs, vec![record])
}

/// Emits one record to every partition of a visit topic: the name and the argument of a visit.
pub(super) fn everywhere(
    access: &TableAccess,
    codecs: &TopicCodecs,
    key: &str,
    value: &str,
) -> Result<(), CliError> {
    let partitions = access.table(&codecs.topic)?.ok_or_else(|| {
        CliError::new(format!(
            "topic `{}` does not exist{}; run the group's processor first",
            codecs.topic,
            after(access.topic_timeout())
        ))
    })?;
    let records = (0..partitions)
        .map(|partition| {
            let value = (codecs.value.parse)(value).map_err(|error| error.to_string())?;
            Ok::<_, String>(PartitionedRecord {
                partition,
                key: Bytes(key.into()),
                value: Bytes(value),
            })
        })
        .collect::<Result<_, _>>()
        .map_err(CliError::new)?;
    emit(access, codecs, records)
}

/// Emits records all of which have to be acknowledged.
fn emit(
    access: &TableAccess,
    codecs: &TopicCodecs,
    records: Vec<PartitionedRecord>,
) -> Result<(), CliError> {
    match access.emit(&codecs.topic, records)?.error {
        None => Ok(()),
        Some(error) => Err(CliError::new(error)),
    }
}

pub(super) fn lines(
    access: &TableAccess,
    codecs: &TopicCodecs,
    input: impl Read,
) -> Result<(), CliError> {
    let mut sender = Sender {
        access,
        codecs,
        partitions: access.target(&codecs.topic, codecs.declared)?,
        batch: Vec::new(),
        bytes: 0,
        sent: 0,
    };
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut line = Vec::new();
    let mut number = 0usize;
    loop {
        number += 1;
        line.clear();
        let read = (&mut input)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(|error| format!("cannot be read: {error}"));
        let record = match read {
            Ok(0) => return sender.flush(),
            Ok(_) => sender.record(&line),
            Err(reason) => Err(reason),
        };
        match record {
            Ok(record) => sender.push(record)?,
            Err(reason) => {
                sender.flush()?;
                return Err(CliError::new(format!(
                    "line {number}: {reason}; the {} before it are sent: correct it and emit from \
                     line {number} on",
                    number - 1
                )));
            }
        }
        // No whole line waits in the buffer: the input is slow, and what there is is sent at once.
        if !input.buffer().contains(&b'\n') {
            sender.flush()?;
        }
    }
}

struct Sender<'a> {
    access: &'a TableAccess,
    codecs: &'a TopicCodecs,
    partitions: i32,
    batch: Vec<PartitionedRecord>,
    bytes: usize,
    sent: usize,
}

impl Sender<'_> {
    fn record(&self, line: &[u8]) -> Result<PartitionedRecord, String> {
        if line.len() as u64 > MAX_LINE {
            return Err(format!("longer than {MAX_LINE} bytes"));
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
        let (key, value) = line
            .split_once('\t')
            .ok_or("no tab between key and value".to_owned())?;
        record_of(self.codecs, self.partitions, key, value)
    }

    fn push(&mut self, record: PartitionedRecord) -> Result<(), CliError> {
        self.bytes += record.key.0.len() + record.value.0.len() + 16;
        self.batch.push(record);
        if self.bytes >= FRAME_FILL {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), CliError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let delivery = self
            .access
            .emit(&self.codecs.topic, std::mem::take(&mut self.batch))?;
        self.sent += delivery.delivered;
        match delivery.error {
            None => Ok(()),
            Some(error) => Err(CliError::new(format!(
                "line {}: {error}; the {} before it are sent",
                self.sent + 1,
                self.sent
            ))),
        }
    }
}

fn record_of(
    codecs: &TopicCodecs,
    partitions: i32,
    key: &str,
    value: &str,
) -> Result<PartitionedRecord, String> {
    let error = |what: &str, text: &str, source: crate::codec::CodecError| {
        let excerpt: String = text.chars().take(60).collect();
        format!("{what} `{excerpt}` of topic `{}`: {source}", codecs.topic)
    };
    let key = (codecs.key.parse)(key).map_err(|source| error("key", key, source))?;
    let value = (codecs.value.parse)(value).map_err(|source| error("value", value, source))?;
    Ok(PartitionedRecord {
        partition: (codecs.partition_of)(&key, partitions),
        key: Bytes(key),
        value: Bytes(value),
    })
}
