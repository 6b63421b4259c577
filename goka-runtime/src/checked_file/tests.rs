//! What a flipped bit does to a table and to a log; how an earlier file opens; what a tear leaves.

use std::fs;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::result::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, backends::InMemoryBackend};

use super::*;
use crate::golden;
use crate::log::embedded::Embedded;
use crate::log::{Isolation, Log, LogError, NewTopic, Sent};
use crate::record::{Record, TopicPartition};
use crate::table::redb::RedbStores;
use crate::table::{
    Checkpoint, Durability, FORMAT, Flow, Store, StoreError, StoreRead, StoredRef, Stores, Write,
};

const FLIPS: u32 = 200;
const ROWS: usize = 3_000;

fn checkpoint(offset: i64) -> Checkpoint {
    Checkpoint {
        format: FORMAT,
        cluster: "cluster".into(),
        topic_id: "id".into(),
        partition: 0,
        offset,
        fingerprint: "v1".into(),
        synced_at: 5,
    }
}

fn key(row: usize) -> String {
    format!("key {row:05}")
}

/// Of different lengths; one in a hundred is longer than a page.
fn value(row: usize, round: usize) -> String {
    let long = if row.is_multiple_of(100) { 6_000 } else { 40 };
    format!("{round}:{row}:").repeat(1 + row % 5) + &"x".repeat(long)
}

fn fill(store: &mut dyn Store, rounds: usize) {
    for round in 0..rounds {
        let rows: Vec<_> = (0..ROWS).map(|row| (key(row), value(row, round))).collect();
        for (part, rows) in rows.chunks(ROWS / 4).enumerate() {
            let writes: Vec<_> = rows
                .iter()
                .map(|(key, value)| Write {
                    key: key.as_bytes(),
                    value: Some(StoredRef {
                        timestamp: 1,
                        value: value.as_bytes(),
                    }),
                })
                .collect();
            let durability = match part % 2 {
                0 => Durability::Relaxed,
                _ => Durability::Synced,
            };
            store
                .apply(&writes, &checkpoint(1), durability)
                .expect("applies");
        }
    }
}

/// Reads every row by its key and all in a walk, and checks what it finds.
fn read_all(stores: &RedbStores, round: usize) -> Result<(), StoreError> {
    let store = stores.open("t", 0)?;
    assert_eq!(store.checkpoint()?, Some(checkpoint(1)));
    for row in 0..ROWS {
        let found = store.get(key(row).as_bytes())?.expect("a missing row");
        assert!(found.value == value(row, round).as_bytes(), "{row}");
    }
    let mut rows = 0;
    let everything = (Bound::Unbounded, Bound::Unbounded);
    store.range(everything, &mut |found, stored| {
        assert_eq!(found, key(rows).as_bytes());
        assert!(stored.value == value(rows, round).as_bytes(), "{rows}");
        rows += 1;
        Flow::Continue(())
    })?;
    assert_eq!(rows, ROWS);
    Ok(())
}

/// `FLIPS` places in a file of `len` bytes: all over it, and a share in its first blocks.
fn flips(len: usize) -> Vec<(usize, u8)> {
    // Numbers that are the same in each run (a linear congruential generator of Knuth's).
    let mut state = 7_u64;
    let mut below = |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % end
    };
    (0..FLIPS)
        .map(|at| {
            let end = match at % 10 {
                0 => (16 * BLOCK).min(len),
                1 => (4 * BLOCK + 320).min(len),
                _ => len,
            };
            let start = if at % 10 == 1 { 3 * BLOCK } else { 0 };
            let bit = u8::try_from(below(8)).expect("small");
            (start + below(end - start), 1 << bit)
        })
        .collect()
}

#[test]
fn a_flipped_bit_in_a_table_is_never_believed() {
    let dir = tempfile::tempdir().expect("a directory");
    let stores = RedbStores::new(dir.path().to_owned(), 8 << 20);
    fill(&mut *stores.open("t", 0).expect("opens"), 3);
    read_all(&stores, 2).expect("whole");
    let path = dir.path().join("t/0.redb");
    let whole = fs::read(&path).expect("there");
    let mut noticed = 0;
    for (at, bit) in flips(whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        fs::write(&path, bytes).expect("writes");
        match read_all(&stores, 2) {
            Ok(()) => {}
            Err(StoreError::Unreadable { .. }) => noticed += 1,
            Err(error) => panic!("byte {at}, bit {bit}: {error}"),
        }
    }
    assert!(noticed > FLIPS / 4, "{noticed} noticed");
}

/// A page that is damaged while the store is open, behind a cache that does not hold it.
#[test]
fn damage_under_an_open_table_is_unreadable() {
    let dir = tempfile::tempdir().expect("a directory");
    let stores = RedbStores::new(dir.path().to_owned(), 1 << 20);
    let mut store = stores.open("t", 0).expect("opens");
    fill(&mut *store, 2);
    let path = dir.path().join("t/0.redb");
    let mut bytes = fs::read(&path).expect("there");
    for byte in bytes[8 * BLOCK..].iter_mut().step_by(BLOCK) {
        *byte ^= 1;
    }
    fs::write(&path, bytes).expect("writes");
    let read = |store: &dyn StoreRead| {
        let found = (0..ROWS).map(|row| store.get(key(row).as_bytes()));
        found.collect::<Result<Vec<_>, _>>().map(drop)
    };
    let error = read(&*store).expect_err("damaged");
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    assert!(
        error.to_string().contains("0.redb") && error.to_string().contains("at byte"),
        "{error}"
    );
}

#[test]
fn a_table_of_an_earlier_version_opens_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let stores = RedbStores::new(dir.path().to_owned(), 8 << 20);
    fill(&mut *stores.open("t", 0).expect("opens"), 1);
    let path = dir.path().join("t/0.redb");
    plain(&path);
    read_all(&stores, 0).expect("reads");
    fill(&mut *stores.open("t", 0).expect("opens"), 2);
    read_all(&stores, 1).expect("reads what it wrote");
    assert!(fs::read(&path).expect("there").starts_with(REDB_MAGIC));
}

/// Makes the file what an earlier version would have written.
fn plain(path: &Path) {
    let file = CheckedFile::open(path).expect("opens");
    let len = usize::try_from(file.len().expect("a length")).expect("small");
    let mut bytes = vec![0; len];
    file.read(0, &mut bytes[..320]).expect("reads");
    for at in (BLOCK..len).step_by(BLOCK) {
        // Free pages may never have been written.
        let _ = file.read(at as u64, &mut bytes[at..at + BLOCK]);
    }
    drop(file);
    fs::write(path, bytes).expect("writes");
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

const RECORDS: usize = 2_000;

fn fill_log(path: &Path) {
    let log = Embedded::open(path).expect("opens");
    log.create(&NewTopic {
        name: "t".to_owned(),
        partitions: 1,
        compact: false,
        retention: None,
    })
    .expect("makes");
    for part in 0..10 {
        let appender = log
            .appender(Arc::new(|_, outcome| {
                outcome.expect("written");
            }))
            .expect("one");
        for row in part * RECORDS / 10..(part + 1) * RECORDS / 10 {
            let (key, value) = (key(row), value(row, 0));
            let sent = Sent {
                topic: "t",
                partition: 0,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                timestamp: 1,
                headers: &[],
            };
            appender.send(sent, 0, soon()).expect("there is room");
        }
        appender.flush(soon()).expect("written");
    }
}

fn read_log(path: &Path) -> Result<(), LogError> {
    let log = Embedded::open(path)?;
    let tp = TopicPartition::new("t", 0);
    let end = log.ranges(std::slice::from_ref(&tp))?[0].high;
    assert_eq!(end, RECORDS as i64);
    let mut reader = log.reader(&[(tp, 0)], Isolation::ReadCommitted)?;
    let mut row = 0;
    while reader.position(0) < end {
        reader.poll(Duration::from_secs(1), &mut |_, records: &[Record<'_>]| {
            for record in records {
                assert_eq!(record.offset, row as i64);
                assert_eq!(record.key, Some(key(row).as_bytes()));
                assert!(record.value == Some(value(row, 0).as_bytes()), "{row}");
                row += 1;
            }
        })?;
    }
    assert_eq!(row, RECORDS);
    Ok(())
}

#[test]
fn a_flipped_bit_in_a_log_is_never_believed_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log.redb");
    fill_log(&path);
    read_log(&path).expect("whole");
    let whole = fs::read(&path).expect("there");
    let (mut noticed, mut refused) = (0, 0);
    for (at, bit) in flips(whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        fs::write(&path, &bytes).expect("writes");
        let opened = Embedded::open(&path).map(drop);
        if let Err(error) = &opened {
            refused += 1;
            let text = error.to_string();
            assert!(
                text.contains("log.redb") && text.contains("damaged"),
                "{text}"
            );
            assert!(
                fs::read(&path).expect("there") == bytes,
                "byte {at}: {text}"
            );
        }
        fs::write(&path, &bytes).expect("writes");
        if let Err(error) = read_log(&path) {
            noticed += 1;
            let text = error.to_string();
            assert!(
                text.contains("log.redb") && text.contains("damaged"),
                "{text}"
            );
            // Whatever was written, nothing that was there went.
            let mut left = fs::read(&path).expect("there");
            left[at] ^= bit;
            fs::write(&path, left).expect("writes");
            read_log(&path).unwrap_or_else(|error| panic!("byte {at}, bit {bit}: {error}"));
        }
    }
    assert!(refused > 0 && noticed > FLIPS / 4, "{refused} {noticed}");
}

#[test]
fn a_log_of_an_earlier_version_opens_with_all_its_records() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log.redb");
    fill_log(&path);
    plain(&path);
    read_log(&path).expect("reads");
    assert!(fs::read(&path).expect("there").starts_with(REDB_MAGIC));
}

/// A disk that a test looks into.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<InMemoryBackend>);

impl Disk {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len().expect("a length")).expect("small")];
        self.read(0, &mut bytes).expect("reads");
        bytes
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn block(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK]
}

fn read_block(file: &CheckedFile<Disk>, number: u64) -> io::Result<Vec<u8>> {
    let mut out = block(0);
    file.read(number * BLOCK_LEN, &mut out)?;
    Ok(out)
}

#[test]
fn lengths_and_runs_go_over_groups() {
    for blocks in [1, 2, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP + 7] {
        let disk = Disk::default();
        let file = CheckedFile::new(disk.clone());
        assert_eq!(file.len().expect("a length"), 0);
        file.set_len(blocks * BLOCK_LEN).expect("grows");
        assert_eq!(file.len().expect("a length"), blocks * BLOCK_LEN);
        let again = CheckedFile::new(disk);
        assert_eq!(again.len().expect("a length"), blocks * BLOCK_LEN);
    }
    let disk = Disk::default();
    let file = CheckedFile::new(disk.clone());
    file.set_len(3 * GROUP * BLOCK_LEN).expect("grows");
    let data: Vec<u8> = (0..(GROUP + 40) * BLOCK_LEN)
        .map(|at| (at / 777 % 251) as u8)
        .collect();
    let at = (GROUP - 20) * BLOCK_LEN;
    file.write(at, &data).expect("writes");
    file.sync_data().expect("syncs");
    for file in [file, CheckedFile::new(disk)] {
        let mut out = vec![0; data.len()];
        file.read(at, &mut out).expect("reads");
        assert!(out == data);
    }
}

/// What was synced verifies when the write of a later checksum block is torn anywhere.
#[test]
fn a_torn_write_of_checksums_leaves_those_of_the_last_sync() {
    for torn in (0..BLOCK).step_by(97) {
        let disk = Disk::default();
        let file = CheckedFile::new(disk.clone());
        file.set_len(8 * BLOCK_LEN).expect("grows");
        for round in 1..4 {
            file.write(BLOCK_LEN, &block(round)).expect("writes");
            file.sync_data().expect("syncs");
        }
        // Twice, with no sync between: the synced copy is not touched.
        for copy in 0..2 {
            let before = [0, 1].map(|copy| {
                let mut bytes = block(0);
                disk.read(checksums_offset(0, copy), &mut bytes)
                    .expect("reads");
                bytes
            });
            file.write(2 * BLOCK_LEN, &block(9 + copy)).expect("writes");
            file.write(0, &[0; 320])
                .expect("writes the checksums first");
            for (at, before) in (0..).zip(before) {
                let mut after = block(0);
                disk.read(checksums_offset(0, at), &mut after)
                    .expect("reads");
                if after != before {
                    let after = [&after[..torn], &before[torn..]].concat();
                    disk.write(checksums_offset(0, at), &after).expect("tears");
                }
            }
            let again = CheckedFile::new(disk.clone());
            assert_eq!(read_block(&again, 1).expect("verifies"), block(3), "{torn}");
        }
    }
}

#[test]
fn a_block_in_another_place_or_never_written_does_not_verify() {
    let disk = Disk::default();
    let file = CheckedFile::new(disk.clone());
    file.set_len(8 * BLOCK_LEN).expect("grows");
    for number in 1..3 {
        file.write(number * BLOCK_LEN, &block(7)).expect("writes");
    }
    let sums = |file: &CheckedFile<Disk>| {
        let checks = file.checks().expect("checked").expect("checked");
        checks.state().group(&disk, 0).expect("there").sums
    };
    assert_ne!(sums(&file)[1], sums(&file)[2]);
    let error = read_block(&file, 3).expect_err("never written");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

/// The bytes of a file and, opened again, of the next change to it.
#[test]
fn the_bytes_of_a_file_are_pinned() {
    let disk = Disk::default();
    let round = |header: &[u8], blocks: &[(u64, u8)]| {
        let file = CheckedFile::new(disk.clone());
        file.set_len(4 * BLOCK_LEN).expect("grows");
        for (number, byte) in blocks {
            let at = number * BLOCK_LEN;
            file.write(at, &block(*byte)).expect("writes");
        }
        file.write(0, header).expect("writes");
        file.sync_data().expect("syncs");
    };
    round(&[1; 320], &[(1, 7), (3, 9)]);
    golden::check("checksums-1.hex", &golden::dump(&disk.bytes()));
    round(&[2; 320], &[(1, 8)]);
    golden::check("checksums-1-next.hex", &golden::dump(&disk.bytes()));
}

/// What this build adds to a file of the first version is what the first version would have added.
#[test]
fn a_file_of_the_first_version_is_read_and_stays_one() {
    let disk = Disk::default();
    let bytes = golden::undump(&golden::text("checksums-1.hex"));
    disk.set_len(bytes.len() as u64).expect("grows");
    disk.write(0, &bytes).expect("writes");
    let file = CheckedFile::new(disk.clone());
    let mut header = [0; 320];
    file.read(0, &mut header).expect("verifies");
    assert_eq!(header, [1; 320]);
    assert_eq!(read_block(&file, 1).expect("verifies"), block(7));
    assert_eq!(read_block(&file, 3).expect("verifies"), block(9));
    file.write(BLOCK_LEN, &block(8)).expect("writes");
    file.write(0, &[2; 320]).expect("writes");
    file.sync_data().expect("syncs");
    golden::check("checksums-1-next.hex", &golden::dump(&disk.bytes()));
}

#[test]
fn opening_writes_nothing_until_something_changes() {
    let disk = Disk::default();
    let open = || {
        let builder = Database::builder();
        builder.create_with_backend(CheckedFile::new(disk.clone()))
    };
    drop(open().expect("makes"));
    let before = disk.bytes();
    let database = open().expect("opens");
    assert!(disk.bytes() == before);
    let transaction = database.begin_write().expect("begins");
    transaction.abort().expect("aborts");
    assert!(disk.bytes() == before);
    let transaction = database.begin_write().expect("begins");
    transaction.commit().expect("commits");
    assert!(disk.bytes() != before);
}
