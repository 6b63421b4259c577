//! The bytes of a log's file, files of other versions, and a disk that fails.

use std::fs;
use std::io::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{StorageBackend, TableHandle, backends::InMemoryBackend};

use super::super::chunk::{Body, Run, records};
use super::super::rows::{NewChunk, NewOffset};
use super::*;
use crate::golden::{self, hex};
use crate::log::Sent;

fn topic(first: u32, retention_ms: Option<u64>) -> TopicRow {
    TopicRow {
        id: format!("id-{first}"),
        first,
        partitions: 2,
        compact: retention_ms.is_none(),
        delete: retention_ms.is_some(),
        retention_ms,
        delete_retention_ms: 86_400_000,
        max_message_bytes: 1_048_576,
    }
}

/// Records with and without each of their parts.
fn run() -> Run {
    let headers = [("h".to_owned(), None), ("".to_owned(), Some(vec![0xff]))];
    let mut run = Run::default();
    for (key, value, timestamp, headers) in [
        (Some(&b"key"[..]), Some(&b"value"[..]), 258, &headers[..]),
        (Some(b""), None, -1, &[]),
        (None, Some(b""), i64::MAX, &[]),
    ] {
        run.push(&Sent {
            topic: "t",
            partition: 0,
            key,
            value,
            timestamp,
            headers,
        });
    }
    run
}

/// Writes a chunk as it was appended, and one as compaction leaves it.
fn write(file: &File, base: Offset) {
    let (run, mut compacted) = (run(), Body::default());
    let head = Head {
        appended: 772,
        count: 3,
    };
    let chunk = [&head.bytes()[..], &run.bodies[0].bytes].concat();
    let stored: Vec<_> = records(0, &chunk)
        .map(|read| read.expect("whole"))
        .collect();
    stored[0].copy_to(300, &mut compacted);
    stored[2].copy_to(1, &mut compacted);
    let of = |handle, count, bytes| NewChunk {
        handle,
        base,
        head: Head { count, ..head },
        pieces: vec![bytes],
    };
    let row = PartitionRow {
        start: base,
        end: base + 3,
        cleaned: 0,
        kept: 2,
    };
    let commit = |metadata| NewOffset {
        group: "group",
        topic: "t",
        partition: 1,
        offset: base,
        metadata,
    };
    file.write(&Changes {
        chunks: vec![of(0, 3, &run.bodies[0].bytes), of(3, 2, &compacted.bytes)],
        partitions: vec![(0, row)],
        offsets: vec![commit("goka1;")],
        ..Changes::default()
    })
    .expect("written");
}

/// Every row of the file as it is stored, but for the cluster, which is random.
fn rows(path: &Path) -> String {
    let db = open_at(path).expect("opens");
    let read = db.begin_read().expect("begins");
    let mut names: Vec<_> = read.list_tables().expect("lists").collect();
    names.sort_by_key(|table| table.name().to_owned());
    let names: Vec<_> = names.iter().map(|table| table.name()).collect();
    assert_eq!(
        names,
        ["meta", "offsets", "partitions", "records", "topics"]
    );
    let mut text = String::new();
    macro_rules! each {
        ($table:expr, $row:expr) => {
            for row in read
                .open_table($table)
                .expect("there")
                .iter()
                .expect("reads")
            {
                let (key, value) = row.expect("reads");
                text += &format!("{} {}\n", $table.name(), $row(key.value(), value.value()));
            }
        };
    }
    each!(META, |key, value| match key {
        "cluster" => "cluster".to_owned(),
        key => format!("{key} {value}"),
    });
    each!(TOPICS, |key, row| format!(
        "{key} {}",
        String::from_utf8_lossy(row)
    ));
    each!(PARTITIONS, |handle, row| format!("{handle} {row:?}"));
    each!(RECORDS, |place: u128, chunk| format!(
        "{place:032x} {}",
        hex(chunk)
    ));
    each!(OFFSETS, |key, row| format!("{key:?} {row:?}"));
    text
}

fn create(path: &Path) {
    let (file, _) = File::open(path).expect("made");
    file.create("t", &topic(0, None)).expect("made");
    file.create("u", &topic(2, Some(1_000))).expect("made");
    write(&file, 5);
}

#[test]
fn the_bytes_of_a_log_are_pinned() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log.redb");
    create(&path);
    golden::check("log-1-rows.txt", &rows(&path));
    write(&File::open(&path).expect("opens").0, 70_000);
    golden::check("log-1-next-rows.txt", &rows(&path));
}

/// What this build adds to a file of the first version is what the first version would have added.
#[test]
fn a_log_of_the_first_version_is_read_and_stays_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log.redb");
    fs::write(&path, golden::undump(&golden::text("log-1.hex"))).expect("written");
    let (file, catalog) = File::open(&path).expect("opens");
    let topics = [("t", topic(0, None)), ("u", topic(2, Some(1_000)))];
    assert_eq!(
        format!("{:?}", catalog.topics),
        format!("{:?}", topics.map(|(name, row)| (name.to_owned(), row)))
    );
    assert_eq!(catalog.partitions.len(), 4);
    let page = file.read(0, 0, 100, (1 << 20, 100)).expect("reads");
    let [(5, range)] = &page.chunks[..] else {
        panic!("{:?}", page.chunks)
    };
    assert_eq!(page.bytes[range.clone()][HEAD..], run().bodies[0].bytes);
    let committed = file.all_committed("group").expect("reads");
    assert_eq!(committed[0].0, TopicPartition::new("t", 1));
    assert_eq!(committed[0].1.metadata, "goka1;");
    write(&file, 70_000);
    drop(file);
    assert_eq!(rows(&path), golden::text("log-1-next-rows.txt"));
}

#[test]
fn a_newer_version_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log.redb");
    create(&path);
    let refused = |format| {
        let error = File::open(&path).expect_err("refused").to_string();
        let expected = format!(
            "embedded log `{}`: has {format} version 2, written by a newer build of goka, and this one \
             knows versions up to 1; run a build that knows version 2; nothing was changed",
            path.display()
        );
        assert_eq!(error, expected);
    };
    let mut whole = fs::read(&path).expect("there");
    let db = open_at(&path).expect("opens");
    let txn = db.begin_write().expect("begins");
    let mut meta = txn.open_table(META).expect("there");
    meta.insert("format", "2").expect("inserts");
    drop(meta);
    txn.commit().expect("commits");
    drop(db);
    let before = rows(&path);
    refused("log");
    assert_eq!(rows(&path), before);
    whole[15] += 1;
    fs::write(&path, &whole).expect("written");
    refused("checksum layout");
    assert!(fs::read(&path).expect("there") == whole);
}

/// A disk whose operations fail while a test wants that; it keeps its content.
#[derive(Debug, Clone, Default)]
pub(in crate::log::embedded) struct Disk {
    inner: Arc<InMemoryBackend>,
    pub(in crate::log::embedded) fails: Arc<AtomicBool>,
}

impl Disk {
    /// A file on this disk, opened again when the log asks for it.
    pub(in crate::log::embedded) fn file(&self) -> std::result::Result<(File, Catalog), LogError> {
        let disk = self.clone();
        File::new(
            None,
            Box::new(move || {
                let mut builder = redb::Builder::new();
                // Everything is read from the disk.
                let made = builder.set_cache_size(0).create_with_backend(disk.clone());
                made.map_err(|error| unusable(None, error.into()))
            }),
        )
    }

    fn check(&self) -> Result<()> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(Error::other("the disk is on fire")),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.check()?;
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.check()?;
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> Result<()> {
        self.check()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }
}
