//! How the oracles write records, keys and values in messages.

use super::index::LogRecord;
use super::{Place, ProcessorRun, Violation};
use crate::graph::Definition;
use crate::record::Offset;
use crate::text::hex;

/// The most characters of a key or value that are shown.
const MOST: usize = 80;

/// Bytes as text where they are UTF-8, else in hexadecimal.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let (shown, more) = match std::str::from_utf8(bytes) {
        Ok(text) => {
            let shown: String = text.chars().take(MOST).collect();
            let more = shown.len() < text.len();
            (format!("\"{}\"", shown.escape_debug()), more)
        }
        Err(_) => {
            let shown = &bytes[..bytes.len().min(MOST / 2)];
            (format!("0x{}", hex(shown)), shown.len() < bytes.len())
        }
    };
    match more {
        true => format!("{shown}.. ({} bytes)", bytes.len()),
        false => shown,
    }
}

pub(super) fn key(key: Option<&[u8]>) -> String {
    key.map_or("without a key".to_owned(), |key| {
        format!("key {}", quoted(key))
    })
}

/// Shows values by their topic's codec where they are not text.
pub(super) struct Values<'d>(pub(super) Vec<&'d Definition>);

impl<'d> Values<'d> {
    pub(super) fn of(processors: &[ProcessorRun<'d>]) -> Self {
        let definitions = processors.iter();
        Self(definitions.map(|processor| processor.definition).collect())
    }

    /// A value of a topic; `None` is a deletion.
    pub(super) fn show(&self, topic: &str, value: Option<&[u8]>) -> String {
        let Some(value) = value else {
            return "(deleted)".to_owned();
        };
        if std::str::from_utf8(value).is_ok() {
            return quoted(value);
        }
        let mut edges = self.0.iter().flat_map(|definition| definition.graph.edges);
        let edge = edges.find(|edge| edge.topic.name == topic);
        let shown = edge.and_then(|edge| (edge.topic.value.show)(value).ok());
        shown.unwrap_or_else(|| quoted(value))
    }
}

impl Place {
    pub(super) fn of(topic: &str, partition: i32) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            offset: None,
            key: None,
        }
    }

    pub(super) fn of_record(record: &LogRecord<'_>) -> Self {
        let place = &record.place;
        Self::of(&place.topic, place.partition)
            .at(place.offset)
            .keyed(record.key())
    }

    pub(super) fn at(mut self, offset: Offset) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(super) fn keyed(mut self, key: Option<&[u8]>) -> Self {
        self.key = key.map(<[u8]>::to_vec);
        self
    }
}

impl Violation {
    /// One that is about no record.
    pub(in crate::simulation) fn new(oracle: &'static str, what: String) -> Self {
        Self {
            oracle,
            what,
            place: None,
        }
    }

    pub(super) fn at(oracle: &'static str, place: Place, what: String) -> Self {
        let place = Some(place);
        Self {
            place,
            ..Self::new(oracle, what)
        }
    }
}

/// A record for messages: `clicks[2]@41 key "user-3"`.
pub(super) fn describe(record: &LogRecord<'_>) -> String {
    format!("{} {}", record.place, key(record.key()))
}
