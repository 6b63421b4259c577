//! What a command and the process that holds the embedded log say to each other: one request a
//! connection, answered by one or more frames. A frame is one line of JSON, bounded in size; bytes
//! travel as text where they are text.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::direct::Placed;

/// The largest frame taken: a record of a megabyte with every byte escaped fits.
pub(super) const MAX_FRAME: u64 = 16 << 20;

/// How long either side waits for the other's next frame; longer than a fold of a large table takes.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// How many bytes of entries or records are put into one frame before it is sent.
pub(super) const FRAME_FILL: usize = 256 << 10;

/// Keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Bytes {
    /// UTF-8.
    Text(String),
    /// Anything else, in hexadecimal.
    Hex(String),
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Bytes::Text(text),
            Err(error) => {
                let digits = |byte: &u8| format!("{byte:02x}");
                Bytes::Hex(error.as_bytes().iter().map(digits).collect())
            }
        }
    }
}

impl TryFrom<Bytes> for Vec<u8> {
    type Error = std::io::Error;

    fn try_from(bytes: Bytes) -> Result<Self, std::io::Error> {
        let hex = match bytes {
            Bytes::Text(text) => return Ok(text.into_bytes()),
            Bytes::Hex(hex) => hex,
        };
        let digit = |at: &u8| {
            char::from(*at)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        hex.as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(digit(high)? << 4 | digit(low)?),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(|| std::io::Error::other("bytes that are no hexadecimal"))
    }
}

/// A record to be emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    partition: i32,
    key: Bytes,
    value: Bytes,
}

impl From<Placed> for Line {
    fn from(record: Placed) -> Self {
        Line {
            partition: record.partition,
            key: record.key.into(),
            value: record.value.into(),
        }
    }
}

impl TryFrom<Line> for Placed {
    type Error = std::io::Error;

    fn try_from(line: Line) -> Result<Self, std::io::Error> {
        Ok(Placed {
            partition: line.partition,
            key: line.key.try_into()?,
            value: line.value.try_into()?,
        })
    }
}

/// What a command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// The partition count of a topic to emit to, made when it is missing.
    Stream {
        topic: String,
        declared: Option<i32>,
        #[serde(default)]
        is_table: bool,
    },
    /// The partition count of a table's topic.
    Table { topic: String },
    /// Records to emit.
    Emit { topic: String, records: Vec<Line> },
    /// The value of a key.
    Get {
        topic: String,
        partition: i32,
        key: Bytes,
    },
    /// Entries in key order.
    Scan {
        topic: String,
        partitions: i32,
        prefix: Bytes,
        limit: Option<usize>,
    },
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// How many partitions; `None`: no such topic.
    Partitions(Option<i32>),
    /// How many records of the batch arrived, and what stopped the rest.
    Emitted {
        delivered: usize,
        error: Option<String>,
    },
    /// The value, if there is one.
    Value(Option<Bytes>),
    /// Some entries; more frames follow.
    Entries(Vec<(Bytes, Bytes)>),
    /// All was said.
    End,
    /// It failed.
    Error(String),
}

/// One connection, from either end.
#[derive(Debug)]
pub(super) struct Wire {
    reader: BufReader<UnixStream>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    pub(super) fn send(&mut self, frame: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        if line.len() as u64 > MAX_FRAME {
            return Err(std::io::Error::other(format!(
                "a frame of {} bytes, at most {MAX_FRAME} are taken",
                line.len()
            )));
        }
        self.reader.get_mut().write_all(&line)
    }

    pub(super) fn receive<F: for<'de> Deserialize<'de>>(&mut self) -> std::io::Result<F> {
        let mut line = Vec::new();
        (&mut self.reader)
            .take(MAX_FRAME)
            .read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cross_a_socket_unchanged() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (mut near, mut far) = (
            Wire::new(near).expect("set up"),
            Wire::new(far).expect("set up"),
        );
        let record = Placed {
            partition: 3,
            key: "Zürich\t\n".into(),
            value: vec![0xff, 0x00, 0x0a],
        };
        let request = Request::Emit {
            topic: "t".into(),
            records: vec![record.clone().into()],
        };
        near.send(&request).expect("sent");
        let Request::Emit { mut records, .. } = far.receive().expect("received") else {
            panic!("another request");
        };
        let line = records.pop().expect("one record");
        assert_eq!(Placed::try_from(line).expect("good bytes"), record);
        drop(near);
        assert!(far.receive::<Request>().is_err());
    }

    #[test]
    fn bytes_that_are_no_hexadecimal_are_refused() {
        for bad in ["0", "zz", "+1"] {
            assert!(Vec::try_from(Bytes::Hex(bad.into())).is_err(), "{bad}");
        }
    }
}
