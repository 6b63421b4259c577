//! The layout of a checked file, and the checksums of one group of its blocks. See the module above for why
//! there are two copies of them.

use std::io::Result;

use redb::StorageBackend;

/// The bytes that have one checksum.
pub(super) const BLOCK: usize = 4096;
pub(super) const BLOCK_LEN: u64 = BLOCK as u64;
/// The checksums in a copy, after its own checksum and its generation.
pub(super) const SUMS: usize = (BLOCK - SUMS_AT) / 4;
pub(super) const SUMS_AT: usize = 16;
pub(super) const GROUP: u64 = SUMS as u64;
/// The copies of a group's checksums.
pub(super) const COPIES: u64 = 2;

pub(super) struct Group {
    pub(super) sums: [u32; SUMS],
    /// The generation of the synced copy.
    pub(super) generation: u64,
    /// Which copy was synced last.
    pub(super) synced: u64,
}

impl Group {
    /// Reads the newest copy that verifies. Without one no block of the group verifies, as in a new file.
    pub(super) fn read<B: StorageBackend>(disk: &B, number: u64) -> Result<Self> {
        let mut newest = Self {
            sums: [0; SUMS],
            generation: 0,
            synced: COPIES - 1,
        };
        let mut bytes = [0; BLOCK];
        for copy in 0..COPIES {
            disk.read(checksums_offset(number, copy), &mut bytes)?;
            let (own, rest) = bytes.split_at(4);
            let generation = u64::from_le_bytes(bytes.as_chunks().0[1]);
            if own != sum(number, rest).to_le_bytes() || generation <= newest.generation {
                continue;
            }
            newest.generation = generation;
            newest.synced = copy;
            for (sum, bytes) in newest.sums.iter_mut().zip(bytes[SUMS_AT..].as_chunks().0) {
                *sum = u32::from_le_bytes(*bytes);
            }
        }
        Ok(newest)
    }

    /// The copy that is newer than the synced one.
    pub(super) fn encode_newer(&self, number: u64) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        bytes[8..SUMS_AT].copy_from_slice(&(self.generation + 1).to_le_bytes());
        for (bytes, sum) in bytes[SUMS_AT..].chunks_exact_mut(4).zip(self.sums) {
            bytes.copy_from_slice(&sum.to_le_bytes());
        }
        let own = sum(number, &bytes[4..]);
        bytes[..4].copy_from_slice(&own.to_le_bytes());
        bytes
    }
}

/// The offset of a copy of a group's checksums on the disk.
pub(super) fn checksums_offset(group: u64, copy: u64) -> u64 {
    (1 + group * (GROUP + COPIES) + copy) * BLOCK_LEN
}

pub(super) fn block_offset(block: u64) -> u64 {
    checksums_offset(block / GROUP, COPIES) + block % GROUP * BLOCK_LEN
}

pub(super) fn index(block: u64) -> usize {
    usize::try_from(block % GROUP).unwrap_or(0)
}

/// How long redb's file is in one of `len` bytes.
pub(super) fn logical_len(len: u64) -> u64 {
    let blocks = (len / BLOCK_LEN).saturating_sub(1);
    let (groups, rest) = (blocks / (GROUP + COPIES), blocks % (GROUP + COPIES));
    (groups * GROUP + rest.saturating_sub(COPIES)) * BLOCK_LEN
}

pub(super) fn sum(number: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}
