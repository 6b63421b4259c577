//! The command `emit`: one record of the command line, or lines `key<TAB>value` from standard
//! input, in order, acknowledged before it ends. A bad line ends it; the lines before it are sent.

use std::io::{BufRead, BufReader, Read};

use super::access::TableAccess;
use super::catalog::TopicCodecs;
use super::direct::Placed;
use super::error::CliError;
use super::protocol::FRAME_FILL;
use crate::log::after;

/// The longest line taken.
const MAX_LINE: u64 = 8 << 20;

/// Emits one record.
pub(super) fn one(
    access: &TableAccess,
    terms: &TopicCodecs,
    key: &str,
    value: &str,
) -> Result<(), CliError> {
    let partitions = access.target(&terms.topic, terms.declared)?;
    let record = placed(terms, partitions, key, value).map_err(CliError::new)?;
    let delivery = access.emit(&terms.topic, vec![record])?;
    delivery
        .error
        .map_or(Ok(()), |error| Err(CliError::new(error)))
}

/// Emits one record to every partition: a visit's name and argument.
pub(super) fn everywhere(
    access: &TableAccess,
    terms: &TopicCodecs,
    key: &str,
    value: &str,
) -> Result<(), CliError> {
    let partitions = access.table(&terms.topic)?.ok_or_else(|| {
        CliError::new(format!(
            "topic `{}` does not exist{}; run the group's processor first",
            terms.topic,
            after(access.topic_timeout())
        ))
    })?;
    let records = (0..partitions)
        .map(|partition| {
            let value = (terms.value.parse)(value).map_err(|error| error.to_string())?;
            let key = key.as_bytes().to_vec();
            Ok::<_, String>(Placed {
                partition,
                key,
                value,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(CliError::new)?;
    let delivery = access.emit(&terms.topic, records)?;
    delivery
        .error
        .map_or(Ok(()), |error| Err(CliError::new(error)))
}

/// Emits what `input` holds.
pub(super) fn lines(
    access: &TableAccess,
    terms: &TopicCodecs,
    input: impl Read,
) -> Result<(), CliError> {
    let mut sender = Sender {
        access,
        terms,
        partitions: access.target(&terms.topic, terms.declared)?,
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
        // Whoever types, or writes a line now and then, has it sent at once.
        if !input.buffer().contains(&b'\n') {
            sender.flush()?;
        }
    }
}

struct Sender<'a> {
    access: &'a TableAccess,
    terms: &'a TopicCodecs,
    partitions: i32,
    batch: Vec<Placed>,
    bytes: usize,
    sent: usize,
}

impl Sender<'_> {
    fn record(&self, line: &[u8]) -> Result<Placed, String> {
        if line.len() as u64 > MAX_LINE {
            return Err(format!("longer than {MAX_LINE} bytes"));
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
        let (key, value) = line
            .split_once('\t')
            .ok_or("no tab between key and value".to_owned())?;
        placed(self.terms, self.partitions, key, value)
    }

    fn push(&mut self, record: Placed) -> Result<(), CliError> {
        self.bytes += record.key.len() + record.value.len() + 16;
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
            .emit(&self.terms.topic, std::mem::take(&mut self.batch))?;
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

fn placed(terms: &TopicCodecs, partitions: i32, key: &str, value: &str) -> Result<Placed, String> {
    let said = |what: &str, text: &str, error: crate::codec::CodecError| {
        let shown: String = text.chars().take(60).collect();
        format!("{what} `{shown}` of topic `{}`: {error}", terms.topic)
    };
    let key = (terms.key.parse)(key).map_err(|error| said("key", key, error))?;
    let value = (terms.value.parse)(value).map_err(|error| said("value", value, error))?;
    Ok(Placed {
        partition: (terms.place)(&key, partitions),
        key,
        value,
    })
}
