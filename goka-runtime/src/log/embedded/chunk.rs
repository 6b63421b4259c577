//! How records are stored in the file: chunks of consecutive records, filed under the partition and the
//! first record's offset. A chunk begins with the time of its append and its record count; a
//! record begins with the number of offsets that compaction skipped before it, so fresh records
//! can be put together by copying bytes. Knows no file; used by appends, reads and compaction.

use crate::log::Sent;
use crate::record::{HeaderSource, Headers, Offset, Record, Timestamp};

/// Where a chunk is closed: with redb's overhead it fits a page of 64 KiB, which come in powers of two.
pub(super) const CHUNK_BYTES: usize = 62 * 1024;
/// Where a chunk is closed, counted in records: what a batch is made of.
pub(super) const CHUNK_RECORDS: u32 = 1_000;
/// The bytes in front of a chunk's records.
pub(super) const HEAD: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// When its youngest record was appended: wall clock, milliseconds since the epoch.
    pub(super) appended: Timestamp,
    pub(super) count: u32,
}

impl Head {
    pub(super) fn bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&self.appended.to_le_bytes());
        bytes[8..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    pub(super) fn read(chunk: &[u8]) -> Result<Self, Damaged> {
        let (appended, rest) = chunk.split_first_chunk().ok_or(Damaged)?;
        let (count, _) = rest.split_first_chunk().ok_or(Damaged)?;
        Ok(Self {
            appended: Timestamp::from_le_bytes(*appended),
            count: u32::from_le_bytes(*count),
        })
    }
}

/// Bytes that are not a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

fn encode(record: &Sent<'_>, out: &mut Vec<u8>) {
    out.push(0);
    put_bytes(out, record.key);
    put_bytes(out, record.value);
    out.extend_from_slice(&record.timestamp.to_le_bytes());
    put_number(out, record.headers.len() as u64);
    for (name, value) in record.headers {
        put_bytes(out, Some(name.as_bytes()));
        put_bytes(out, value.as_deref());
    }
}

/// The records of one chunk to be, without its head.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
}

/// Records for one partition, in order, not yet written.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) bodies: Vec<Body>,
    pub(super) count: u64,
    pub(super) bytes: usize,
}

impl Run {
    /// Adds a record, which has a timestamp.
    pub(super) fn push(&mut self, record: &Sent<'_>) {
        let size = record.size();
        let fits = |body: &Body| {
            body.bytes.len() + size <= CHUNK_BYTES - HEAD && body.count < CHUNK_RECORDS
        };
        if !self.bodies.last().is_some_and(fits) {
            self.bodies.push(Body::default());
        }
        let body = self.bodies.last_mut().expect("pushed when there was none");
        let before = body.bytes.len();
        encode(record, &mut body.bytes);
        body.count += 1;
        self.count += 1;
        self.bytes += body.bytes.len() - before;
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) offset: Offset,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    timestamp: Timestamp,
    header_count: usize,
    headers: &'a [u8],
    body: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(super) fn record(&'a self) -> Record<'a> {
        Record {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key,
            value: self.value,
            headers: match self.header_count {
                0 => Headers::default(),
                _ => Headers::new(self),
            },
        }
    }
}

impl Stored<'_> {
    /// About what it takes in a chunk.
    pub(super) fn size(&self) -> usize {
        self.body.len() + 10
    }

    /// Writes it again, with `gap` offsets skipped before it.
    pub(super) fn copy_to(&self, gap: u64, out: &mut Body) {
        put_number(&mut out.bytes, gap);
        out.bytes.extend_from_slice(self.body);
        out.count += 1;
    }
}

impl HeaderSource for Stored<'_> {
    fn count(&self) -> usize {
        self.header_count
    }

    fn at(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let mut bytes = self.headers;
        for _ in 0..index {
            take_bytes(&mut bytes).ok()?;
            take_bytes(&mut bytes).ok()?;
        }
        let name = take_bytes(&mut bytes).ok()??;
        let value = take_bytes(&mut bytes).ok()?;
        Some((std::str::from_utf8(name).ok()?, value))
    }
}

/// The records of a chunk that was filed under `base`.
pub(super) fn records(
    base: Offset,
    chunk: &[u8],
) -> impl Iterator<Item = Result<Stored<'_>, Damaged>> {
    let mut rest = chunk.get(HEAD..).unwrap_or_default();
    let mut next = base;
    std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let record = take_record(next, &mut rest);
            match &record {
                Ok(record) => next = record.offset + 1,
                Err(Damaged) => rest = &[],
            }
            record
        })
    })
}

fn take_record<'a>(next: Offset, rest: &mut &'a [u8]) -> Result<Stored<'a>, Damaged> {
    let gap = Offset::try_from(take_number(rest)?).map_err(|_| Damaged)?;
    let body = *rest;
    let key = take_bytes(rest)?;
    let value = take_bytes(rest)?;
    let (timestamp, after) = rest.split_first_chunk().ok_or(Damaged)?;
    *rest = after;
    let header_count = usize::try_from(take_number(rest)?).map_err(|_| Damaged)?;
    let headers = *rest;
    for _ in 0..header_count {
        take_bytes(rest)?.ok_or(Damaged)?;
        take_bytes(rest)?;
    }
    Ok(Stored {
        offset: next
            .checked_add(gap)
            .filter(|offset| *offset < Offset::MAX)
            .ok_or(Damaged)?,
        key,
        value,
        timestamp: Timestamp::from_le_bytes(*timestamp),
        header_count,
        headers: &headers[..headers.len() - rest.len()],
        body: &body[..body.len() - rest.len()],
    })
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Damaged)?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

/// Length plus one, so that 0 is "none".
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_number(out, bytes.map_or(0, |bytes| bytes.len() as u64 + 1));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Damaged> {
    let Some(length) = take_number(rest)?.checked_sub(1) else {
        return Ok(None);
    };
    let length = usize::try_from(length).map_err(|_| Damaged)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Damaged)?;
    *rest = after;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(run: &Run) -> Vec<u8> {
        let body = &run.bodies[0];
        let mut bytes = Head {
            appended: 7,
            count: body.count,
        }
        .bytes()
        .to_vec();
        bytes.extend_from_slice(&body.bytes);
        bytes
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_told() {
        let headers = vec![
            ("h".to_owned(), None),
            ("g".to_owned(), Some(b"x".to_vec())),
        ];
        let mut run = Run::default();
        for (key, value) in [
            (None, Some(&b""[..])),
            (Some(&b""[..]), None),
            (Some(&b"k"[..]), Some(&b"v"[..])),
        ] {
            run.push(&Sent {
                topic: "t",
                partition: 0,
                key,
                value,
                timestamp: -5,
                headers: &headers,
            });
        }
        let bytes = chunk(&run);
        assert_eq!(
            Head::read(&bytes),
            Ok(Head {
                appended: 7,
                count: 3
            })
        );
        let read: Vec<_> = records(10, &bytes).map(|r| r.expect("sound")).collect();
        assert_eq!(
            read.iter()
                .map(|r| (r.offset, r.key, r.value))
                .collect::<Vec<_>>(),
            [
                (10, None, Some(&b""[..])),
                (11, Some(&b""[..]), None),
                (12, Some(&b"k"[..]), Some(&b"v"[..])),
            ]
        );
        assert_eq!(read[2].at(1), Some(("g", Some(&b"x"[..]))));
        assert_eq!(read[2].at(0), Some(("h", None)));
        assert_eq!(read[2].at(2), None);
        let cut = &bytes[..bytes.len() - 1];
        assert!(records(10, cut).any(|r| r.is_err()));
    }

    #[test]
    fn a_gap_moves_the_offsets_after_it() {
        let mut run = Run::default();
        for key in [b"a", b"b", b"c"] {
            run.push(&Sent {
                topic: "t",
                partition: 0,
                key: Some(key),
                value: None,
                timestamp: 0,
                headers: &[],
            });
        }
        let bytes = chunk(&run);
        let mut out = Body::default();
        let read: Vec<_> = records(0, &bytes).map(|r| r.expect("sound")).collect();
        read[0].copy_to(0, &mut out);
        read[2].copy_to(1, &mut out);
        let mut again = Head {
            appended: 0,
            count: out.count,
        }
        .bytes()
        .to_vec();
        again.extend_from_slice(&out.bytes);
        let offsets: Vec<_> = records(0, &again)
            .map(|r| r.expect("sound").offset)
            .collect();
        assert_eq!(offsets, [0, 2]);
    }

    #[test]
    fn chunks_are_read_or_damaged() {
        let headers = [
            ("name".to_owned(), Some(b"value".to_vec())),
            ("none".to_owned(), None),
        ];
        let mut run = Run::default();
        for at in 0..5 {
            run.push(&Sent {
                topic: "t",
                partition: 0,
                key: (at != 2).then_some(b"key"),
                value: (at != 3).then_some(b"a value"),
                timestamp: 1_700_000_000_000,
                headers: &headers[..at % 3],
            });
        }
        crate::fuzz::fuzz(&[chunk(&run), vec![0; HEAD]], |bytes| {
            let _ = Head::read(bytes);
            for base in [0, 1 << 40, Offset::MAX - 2] {
                let mut before = base - 1;
                let read: Vec<_> = records(base, bytes).collect();
                assert!(read.len() <= bytes.len());
                for record in read.into_iter().flatten() {
                    assert!(record.offset > before, "offsets ascend");
                    before = record.offset;
                    let headers = record.record().headers;
                    assert!(headers.iter().count() <= bytes.len());
                }
            }
        });
    }
}
