//! The protocol between a command and the process that holds the embedded log: a connection carries one
//! request, which is answered by one or more frames. A frame is one line of JSON of bounded size; keys and
//! values that are UTF-8 are sent as text. A request carries the version of the protocol, and a process answers
//! one of another version with [`Reply::Error`], which is the same in every version.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::text::{hex, unhex};

/// The version of requests and replies; builds before it sent none, which counts as 0.
const VERSION: u32 = 1;

/// The largest frame: a record of a megabyte fits even if every byte of it is escaped.
pub(crate) const MAX_FRAME: u64 = 16 << 20;

/// How long either side waits for the next frame of the other; reading a large table takes less.
pub(crate) const FRAME_TIMEOUT: Duration = Duration::from_secs(60);

/// A frame of entries or records is sent as soon as it has so many bytes.
pub(crate) const FRAME_FILL: usize = 256 << 10;

/// A key or a value: sent as text where it is UTF-8, else in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Text")]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

#[derive(Serialize, Deserialize)]
enum Text {
    Text(String),
    Hex(String),
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = match std::str::from_utf8(&self.0) {
            Ok(text) => Text::Text(text.to_owned()),
            Err(_) => Text::Hex(hex(&self.0)),
        };
        text.serialize(to)
    }
}

impl TryFrom<Text> for Bytes {
    type Error = &'static str;

    fn try_from(text: Text) -> Result<Self, &'static str> {
        match text {
            Text::Text(text) => Ok(Self(text.into_bytes())),
            Text::Hex(hex) => unhex(&hex).map(Self).ok_or("bytes are not hexadecimal"),
        }
    }
}

/// A record to be emitted. The command computes the partition, since it knows the topic's partitioner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionedRecord {
    pub(crate) partition: i32,
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
}

/// How much of a batch was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// How many records, from the first on.
    pub(crate) delivered: usize,
    /// Why the record after them was not.
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The partition count of a topic to emit to, made when it does not exist.
    Stream {
        topic: String,
        declared: Option<i32>,
        #[serde(default)]
        is_table: bool,
    },
    /// The partition count of a table's topic.
    Table { topic: String },
    Emit {
        topic: String,
        records: Vec<PartitionedRecord>,
    },
    Get {
        topic: String,
        partition: i32,
        key: Bytes,
    },
    Scan {
        topic: String,
        partitions: i32,
        prefix: Bytes,
        limit: Option<usize>,
    },
}

/// A request as it is sent.
#[derive(Debug, Serialize, Deserialize)]
struct Versioned<R> {
    version: u32,
    request: R,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The partition count; `None` when there is no such topic.
    Partitions(Option<i32>),
    /// How many records of the batch were acknowledged, and why the next one was not.
    Emitted(Delivery),
    /// The value; `None` when there is no such key.
    Value(Option<Bytes>),
    /// Some entries; more frames follow.
    Entries(Vec<(Bytes, Bytes)>),
    /// The answer is complete.
    End,
    Error(String),
}

#[derive(Debug)]
pub(crate) struct Wire {
    reader: BufReader<UnixStream>,
}

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(FRAME_TIMEOUT))?;
        stream.set_write_timeout(Some(FRAME_TIMEOUT))?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    pub(crate) fn send(&mut self, frame: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        if line.len() as u64 > MAX_FRAME {
            return Err(std::io::Error::other(format!(
                "a frame of {} bytes, at most {MAX_FRAME} are possible",
                line.len()
            )));
        }
        self.reader.get_mut().write_all(&line)
    }

    pub(crate) fn send_request(&mut self, request: &Request) -> std::io::Result<()> {
        let version = VERSION;
        self.send(&Versioned { version, request })
    }

    /// Receives a request; the inner error refuses one of another version.
    pub(crate) fn receive_request(&mut self) -> std::io::Result<Result<Request, String>> {
        #[derive(Deserialize)]
        struct VersionOnly {
            #[serde(default)]
            version: u32,
        }
        let line = self.receive_line()?;
        let found = serde_json::from_slice::<VersionOnly>(&line)?.version;
        if found != VERSION {
            return Ok(Err(format!(
                "this command speaks version {found} of the commands' protocol, the process that holds \
                 the data directory speaks version {VERSION}; run the command with the build of that \
                 process, or restart the process with the build of the command"
            )));
        }
        Ok(Ok(serde_json::from_slice::<Versioned<_>>(&line)?.request))
    }

    pub(crate) fn receive(&mut self) -> std::io::Result<Reply> {
        Ok(serde_json::from_slice(&self.receive_line()?)?)
    }

    fn receive_line(&mut self) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.reader)
            .take(MAX_FRAME)
            .read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn frames_cross_a_socket_unchanged() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (mut near, mut far) = (
            Wire::new(near).expect("set up"),
            Wire::new(far).expect("set up"),
        );
        let record = PartitionedRecord {
            partition: 3,
            key: Bytes("Zürich\t\n".into()),
            value: Bytes(vec![0xff, 0x00, 0x0a]),
        };
        let request = Request::Emit {
            topic: "t".into(),
            records: vec![record.clone()],
        };
        near.send_request(&request).expect("sent");
        let received = far.receive_request().expect("received");
        let Ok(Request::Emit { mut records, .. }) = received else {
            panic!("another request");
        };
        assert_eq!(records.pop(), Some(record));
        drop(near);
        assert!(far.receive_request().is_err());
    }

    fn all_requests() -> Vec<Request> {
        let topic = || "t".to_owned();
        let stream = |declared, is_table| Request::Stream {
            topic: topic(),
            declared,
            is_table,
        };
        let scan = |limit| Request::Scan {
            topic: topic(),
            partitions: 3,
            prefix: Bytes(Vec::new()),
            limit,
        };
        vec![
            stream(None, false),
            stream(Some(3), true),
            Request::Table { topic: topic() },
            Request::Emit {
                topic: topic(),
                records: vec![PartitionedRecord {
                    partition: 1,
                    key: Bytes("ü\t\"".into()),
                    value: Bytes(vec![0xff, 0x00]),
                }],
            },
            Request::Get {
                topic: topic(),
                partition: 1,
                key: Bytes(b"k".to_vec()),
            },
            scan(None),
            scan(Some(10)),
        ]
    }

    fn all_replies() -> Vec<Reply> {
        let emitted = |error| {
            Reply::Emitted(Delivery {
                delivered: 2,
                error,
            })
        };
        let text = |text: &str| Bytes(text.into());
        vec![
            Reply::Partitions(None),
            Reply::Partitions(Some(3)),
            emitted(None),
            emitted(Some("full".into())),
            Reply::Value(None),
            Reply::Value(Some(text("v"))),
            Reply::Entries(vec![(text("k"), text("v"))]),
            Reply::End,
            Reply::Error("why".into()),
        ]
    }

    /// What this build sends is what the first version sent, and it reads what that one sent.
    #[test]
    fn the_bytes_of_frames_are_pinned() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let mut near = Wire::new(near).expect("set up");
        for request in all_requests() {
            near.send_request(&request).expect("sent");
        }
        for reply in all_replies() {
            near.send(&reply).expect("sent");
        }
        drop(near);
        let mut sent = String::new();
        (&far).read_to_string(&mut sent).expect("received");
        golden::check("commands-1.txt", &sent);

        let (mut near, far) = UnixStream::pair().expect("a pair");
        let mut far = Wire::new(far).expect("set up");
        let sent = golden::text("commands-1.txt");
        near.write_all(sent.as_bytes()).expect("sent");
        for request in all_requests() {
            assert_eq!(far.receive_request().expect("received"), Ok(request));
        }
        for reply in all_replies() {
            assert_eq!(far.receive().expect("received"), reply);
        }
    }

    #[test]
    fn bytes_that_are_not_hexadecimal_are_refused() {
        for bad in ["0", "zz", "+1"] {
            let json = format!("{{\"Hex\":\"{bad}\"}}");
            assert!(serde_json::from_str::<Bytes>(&json).is_err(), "{bad}");
        }
    }

    #[test]
    fn frames_are_read_or_end_the_connection() {
        let corpus: Vec<_> = golden::text("commands-1.txt")
            .lines()
            .map(|line| format!("{line}\n").into_bytes())
            .collect();
        crate::fuzz::fuzz(&corpus, |bytes| {
            for is_request in [true, false] {
                let (near, far) = UnixStream::pair().expect("a pair");
                (&near)
                    .write_all(bytes)
                    .expect("it fits the socket's buffer");
                drop(near);
                let mut wire = Wire::new(far).expect("set up");
                if is_request {
                    let _ = wire.receive_request();
                } else {
                    let _ = wire.receive();
                }
            }
        });
    }
}
