//! Notes which record was in hand when a handler ended the process: by an abort, a stack overflow, a fault.
//! The note is a line of a file in the data directory; the next run reads it, and [`crate::core::deaths`]
//! has what follows. A process that is killed from outside notes nothing. Started by the service; each
//! worker registers its thread.
//!
//! What runs in a signal handler ([`note`] and what it calls) takes no lock and no memory.

#[allow(unsafe_code)]
mod signals;

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::core::committed_text::{escape, unescape};
use crate::core::deaths::{Death, ENOUGH, RecordAt};
use crate::in_hand::InHand;
use crate::log::Group;
use crate::newer;
use crate::private_files;

/// A worker's thread: the record in hand, and the texts for its note.
struct Watched {
    in_hand: Arc<InHand>,
    /// How a note begins, by the number of the topic: `<run> <group> <topic> `.
    heads: Vec<Vec<u8>>,
}

thread_local! {
    /// Set on the threads of workers. Has no destructor, so that a signal handler may read it.
    static HERE: Cell<Option<&'static Watched>> = const { Cell::new(None) };
}

/// The file descriptor for the note; taken by the thread that crashes first.
static FILE: AtomicI32 = AtomicI32::new(NONE);
const NONE: i32 = -1;

static RUN: AtomicU64 = AtomicU64::new(0);

/// Reads the notes of earlier runs, opens the file for one of this run, and handles the signals.
pub(crate) fn begin(path: &Path) -> io::Result<Vec<Death>> {
    let deaths = read(path)?;
    let file = private_files::open(path, OpenOptions::new().append(true).create(true))?;
    let (run, _) = uuid::Uuid::new_v4().as_u64_pair();
    RUN.store(run, Ordering::Relaxed);
    // Left open to the end of the process.
    FILE.store(file.into_raw_fd(), Ordering::Release);
    signals::handle()?;
    Ok(deaths)
}

/// Reads the notes of earlier runs, and removes those from the file that do not matter any more.
fn read(path: &Path) -> io::Result<Vec<Death>> {
    let mut found = Vec::new();
    match private_files::open(path, OpenOptions::new().read(true)) {
        Ok(mut file) => drop(file.read_to_end(&mut found)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let text = String::from_utf8_lossy(&found);
    newer::check_text("crash notes", &text)?;
    let deaths = last_of_each(text.split_inclusive('\n').filter_map(parse).collect());
    let kept: String = deaths.iter().map(line).collect();
    if kept != text {
        // Old notes do no harm: a full disk is no reason not to start.
        if let Err(error) = private_files::replace(path, &kept) {
            tracing::warn!(path = %path.display(), %error, "old notes of crashes not removed");
        }
    }
    Ok(deaths)
}

/// Registers the thread of a worker, if [`begin`] was called before.
pub(crate) fn watch_thread(group: &Group, in_hand: &Arc<InHand>) {
    if FILE.load(Ordering::Acquire) == NONE {
        return;
    }
    let run = RUN.load(Ordering::Relaxed);
    let name = escape(&group.name);
    let heads = group.topics.iter();
    let watched = Watched {
        in_hand: Arc::clone(in_hand),
        heads: heads
            .map(|topic| format!("{run:016x} {name} {} ", escape(topic)).into_bytes())
            .collect(),
    };
    // Leaked, since a signal handler may read it at any time: a few hundred bytes for each processor.
    HERE.set(Some(Box::leak(Box::new(watched))));
}

/// Notes the record in hand, if this thread is a worker's and calls a handler. For a signal handler.
fn note() {
    let Ok(Some(watched)) = HERE.try_with(Cell::get) else {
        return;
    };
    let Some((topic, partition, offset)) = watched.in_hand.numbers() else {
        return;
    };
    let head = usize::try_from(topic)
        .ok()
        .and_then(|at| watched.heads.get(at));
    let Some(head) = head else { return };
    let file = FILE.swap(NONE, Ordering::AcqRel);
    if file == NONE {
        return;
    }
    let mut digits = itoa::Buffer::new();
    signals::write(file, head);
    signals::write(file, digits.format(partition).as_bytes());
    signals::write(file, b" ");
    signals::write(file, digits.format(offset).as_bytes());
    signals::write(file, b"\n");
}

fn line(death: &Death) -> String {
    let Death { run, group, record } = death;
    let (group, topic) = (escape(group), escape(&record.topic));
    format!(
        "{run:016x} {group} {topic} {} {}\n",
        record.partition, record.offset
    )
}

/// Reads a line; `None` for one that was not written to its end.
fn parse(line: &str) -> Option<Death> {
    let words: Vec<_> = line.strip_suffix('\n')?.split(' ').collect();
    let [run, group, topic, partition, offset] = words[..] else {
        return None;
    };
    Some(Death {
        run: u64::from_str_radix(run, 16).ok()?,
        group: unescape(group)?,
        record: RecordAt {
            topic: unescape(topic)?,
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
        },
    })
}

/// The last deaths in each partition: as many as are counted.
fn last_of_each(mut deaths: Vec<Death>) -> Vec<Death> {
    let mut counts: HashMap<_, usize> = HashMap::new();
    deaths.reverse();
    deaths.retain(|Death { group, record, .. }| {
        let place = (group.clone(), record.topic.clone(), record.partition);
        let count = counts.entry(place).or_default();
        *count += 1;
        *count <= ENOUGH
    });
    deaths.reverse();
    deaths
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::golden;

    fn death(run: u64, topic: &str, offset: i64) -> Death {
        Death {
            run,
            group: "a group".to_owned(),
            record: RecordAt {
                topic: topic.to_owned(),
                partition: 3,
                offset,
            },
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_torn_one_is_not() {
        let noted = death(0xab, "clicks", 17);
        let text = line(&noted);
        assert_eq!(text, "00000000000000ab a%20group clicks 3 17\n");
        assert_eq!(parse(&text), Some(noted));
        for torn in [
            "",
            "00000000000000ab a%20group cli",
            "00000000000000ab a%20group clicks 3 1",
        ] {
            assert_eq!(parse(torn), None, "{torn:?}");
        }
    }

    #[test]
    fn notes_are_pinned_and_those_of_a_newer_build_are_refused() {
        let noted = [death(1, "a,b", 5), death(u64::MAX, "a", i64::MAX)];
        let text: String = noted.iter().map(line).collect();
        golden::check("deaths-1.txt", &text);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deaths");
        for newer in [None, Some(format!("goka2;\n{text}"))] {
            let written = newer.clone().unwrap_or(golden::text("deaths-1.txt"));
            fs::write(&path, &written).expect("written");
            match (read(&path), newer) {
                (Ok(found), None) => assert_eq!(found, noted),
                (Err(error), Some(_)) => {
                    let error = error.to_string();
                    assert!(error.starts_with("has crash notes version 2, "), "{error}");
                }
                (found, _) => panic!("{found:?}"),
            }
            assert_eq!(fs::read_to_string(&path).expect("read"), written);
        }
    }

    #[test]
    fn lines_that_are_no_notes_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deaths");
        assert_eq!(read(&path).expect("missing"), []);
        let noted = [death(1, "a", 5), death(2, "a", 5)];
        let mut text = line(&noted[0]).into_bytes();
        text.extend(b"\xff\n\n");
        text.extend(line(&noted[1]).into_bytes());
        text.extend(b"00000000000000ab a%20group a 3 5");
        fs::write(&path, text).expect("written");
        assert_eq!(read(&path).expect("read"), noted);
        let kept = fs::read_to_string(&path).expect("read");
        assert_eq!(kept, noted.iter().map(line).collect::<String>());
    }

    #[test]
    fn the_last_two_of_each_partition_are_kept() {
        let all = vec![
            death(1, "a", 5),
            death(2, "b", 1),
            death(3, "a", 7),
            death(4, "a", 7),
        ];
        let runs: Vec<_> = last_of_each(all).iter().map(|death| death.run).collect();
        assert_eq!(runs, [2, 3, 4]);
    }
}
