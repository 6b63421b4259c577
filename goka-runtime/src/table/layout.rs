//! The bytes of checkpoints and values in a file; knows no engine. A change here is a new
//! [`FORMAT`](super::FORMAT).

use super::{Checkpoint, FORMAT, StoredRef};
use crate::newer::Newer;
use crate::record::Timestamp;

const TIMESTAMP_BYTES: usize = size_of::<Timestamp>();

/// Bytes that this layout did not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damaged {
    #[error(transparent)]
    Newer(Newer),
    #[error("its checkpoint is damaged")]
    Checkpoint,
    #[error("its count of commits is damaged")]
    Commits,
    #[error("a value in it is damaged")]
    Value,
}

/// How many bytes a value takes: 8 of timestamp, big-endian, and its own.
pub(super) fn encoded_len(stored: StoredRef<'_>) -> usize {
    TIMESTAMP_BYTES + stored.value.len()
}

/// Fills `place`, which is [`encoded_len`] the value.
pub(super) fn encode_stored(stored: StoredRef<'_>, place: &mut [u8]) {
    let (timestamp, value) = place.split_at_mut(TIMESTAMP_BYTES);
    timestamp.copy_from_slice(&stored.timestamp.to_be_bytes());
    value.copy_from_slice(stored.value);
}

pub(super) fn decode_stored(bytes: &[u8]) -> Result<StoredRef<'_>, Damaged> {
    let (timestamp, value) = bytes.split_first_chunk().ok_or(Damaged::Value)?;
    Ok(StoredRef {
        timestamp: Timestamp::from_be_bytes(*timestamp),
        value,
    })
}

/// Format, partition, offset, time of sync, then three texts, each with its length before it.
/// Numbers are big-endian; the format comes first in every layout.
pub(super) fn encode_checkpoint(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut bytes = checkpoint.format.to_be_bytes().to_vec();
    bytes.extend(checkpoint.partition.to_be_bytes());
    bytes.extend(checkpoint.offset.to_be_bytes());
    bytes.extend(checkpoint.synced_at.to_be_bytes());
    for text in [
        &checkpoint.cluster,
        &checkpoint.topic_id,
        &checkpoint.fingerprint,
    ] {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

pub(super) fn decode_checkpoint(mut bytes: &[u8]) -> Result<Checkpoint, Damaged> {
    match take(&mut bytes).map(u16::from_be_bytes) {
        Some(FORMAT) => decode_current(bytes).ok_or(Damaged::Checkpoint),
        Some(newer) if newer > FORMAT => Err(Damaged::Newer(Newer {
            format: "table copy",
            found: newer.to_string(),
            known: FORMAT,
        })),
        _ => Err(Damaged::Checkpoint),
    }
}

fn decode_current(mut rest: &[u8]) -> Option<Checkpoint> {
    Some(Checkpoint {
        format: FORMAT,
        partition: take(&mut rest).map(i32::from_be_bytes)?,
        offset: take(&mut rest).map(i64::from_be_bytes)?,
        synced_at: take(&mut rest).map(i64::from_be_bytes)?,
        cluster: take_text(&mut rest)?,
        topic_id: take_text(&mut rest)?,
        fingerprint: take_text(&mut rest)?,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(take(rest).map(u64::from_be_bytes)?).ok()?;
    let (text, left) = rest.split_at_checked(length)?;
    *rest = left;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_pinned() {
        let checkpoint = Checkpoint {
            format: FORMAT,
            cluster: "c".into(),
            topic_id: "id".into(),
            partition: 3,
            offset: 258,
            fingerprint: "v1".into(),
            synced_at: -1,
        };
        let bytes = encode_checkpoint(&checkpoint);
        let mut expected = vec![0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2];
        expected.extend([0xff; 8]);
        expected.extend(b"\0\0\0\0\0\0\0\x01c\0\0\0\0\0\0\0\x02id\0\0\0\0\0\0\0\x02v1");
        assert_eq!(bytes, expected);
        assert_eq!(decode_checkpoint(&bytes), Ok(checkpoint));
        for cut in 0..bytes.len() {
            assert_eq!(
                decode_checkpoint(&bytes[..cut]),
                Err(Damaged::Checkpoint),
                "cut at {cut}"
            );
        }
        let mut value = [9; 9];
        let stored = StoredRef {
            timestamp: -2,
            value: b"v",
        };
        encode_stored(stored, &mut value);
        assert_eq!(value, *b"\xff\xff\xff\xff\xff\xff\xff\xfev");
        assert_eq!(decode_stored(&value), Ok(stored));
        assert_eq!(decode_stored(&value[..7]), Err(Damaged::Value));
    }

    #[test]
    fn checkpoints_and_values_are_read_or_damaged() {
        let checkpoint = Checkpoint {
            format: FORMAT,
            cluster: "cluster".into(),
            topic_id: "id".into(),
            partition: 3,
            offset: 258,
            fingerprint: "v1 key=utf8 value=i64".into(),
            synced_at: 1_700_000_000_000,
        };
        let corpus = [
            encode_checkpoint(&checkpoint),
            b"\0\0\0\0\0\0\0\x01value".to_vec(),
        ];
        crate::fuzz::fuzz(&corpus, |bytes| {
            if let Ok(read) = decode_checkpoint(bytes) {
                let again = encode_checkpoint(&read);
                assert!(bytes.starts_with(&again));
            }
            if let Ok(read) = decode_stored(bytes) {
                let mut again = vec![0; encoded_len(read)];
                encode_stored(read, &mut again);
                assert_eq!(again, bytes);
            }
        });
    }
}
