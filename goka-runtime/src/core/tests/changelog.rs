//! The bytes of a changelog. A record has no version of its own: what its bytes mean is the definition of the
//! table, which its copies and the group's offsets name.

use super::*;
use crate::golden::{self, hex};
use crate::table::LatestWrites;

fn line(key: &[u8], value: Option<&[u8]>, timestamp: Timestamp) -> String {
    let value = value.map_or("tombstone".to_owned(), hex);
    format!("{} {value} {timestamp}\n", hex(key))
}

/// Key, value and timestamp; [`World`] checks that there are no headers.
#[test]
fn the_records_of_a_changelog_are_pinned() {
    let mut world = World::in_memory(1);
    for (key, value) in [
        ("a", Some("1")),
        ("\u{fc}", Some("2")),
        ("a", None),
        ("", Some("-3")),
    ] {
        world.feed(key, value);
    }
    world.deliver(10);
    world.finish();
    let rows = world.changelog[&task(0)].iter();
    let lines: String = rows
        .map(|row| line(&row.key, row.value.as_deref(), row.timestamp))
        .collect();
    golden::check("changelog-1.txt", &lines);
}

/// A record without a key is of a foreign program, and changes nothing.
#[test]
fn a_changelog_of_the_first_version_is_read() {
    let mut world = World::in_memory(1);
    let mut read = LatestWrites::default();
    let rows = [
        ("a", Some("1/1")),
        ("\u{fc}", Some("1/2")),
        ("a", None),
        ("", Some("1/-3")),
    ];
    let lines = rows.map(|(key, value)| line(key.as_bytes(), value.map(str::as_bytes), 5));
    assert_eq!(lines.concat(), golden::text("changelog-1.txt"));
    for (offset, (key, value)) in (0..).zip(rows) {
        read.take(&Record {
            offset,
            timestamp: 5,
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
            headers: Headers::default(),
        });
    }
    read.take(&Record {
        offset: 4,
        timestamp: 5,
        key: None,
        value: Some(b"9"),
        headers: Headers::default(),
    });
    let store = world.open.stores.get_mut(&task(0)).expect("open");
    let at = Checkpoint {
        format: FORMAT,
        cluster: "cluster".into(),
        topic_id: "id".into(),
        partition: 0,
        offset: 5,
        fingerprint: FINGERPRINT.into(),
        synced_at: 0,
    };
    store
        .apply(&read, &at, Durability::Synced)
        .expect("applies");
    let table = [("", "1/-3"), ("\u{fc}", "1/2")];
    let table = table.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
    assert_eq!(contents(&**store), table.into());
}
