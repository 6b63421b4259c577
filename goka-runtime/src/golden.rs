//! Golden files: `tests/golden/` has what the first build of each version of a format wrote. Such a file is
//! never changed: bytes that must change are a new version of their format, with a file of its own.

use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../tests/golden").join(name)
}

/// The text of a golden file.
pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares a text with a golden file; a missing one is written, and the test fails once.
#[track_caller]
pub(crate) fn check(name: &str, found: &str) {
    if !path(name).exists() {
        fs::write(path(name), found).expect("a golden file");
        panic!("golden file {name} was missing; look at it, and keep it for ever");
    }
    assert_eq!(
        found,
        text(name),
        "{name} is for ever: raise the version of the format"
    );
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const LINE: usize = 32;

/// The bytes of a file as text: its length, then lines of 32 bytes behind their offset. A line that repeats
/// the one before it is left out. The length is a multiple of 32.
pub(crate) fn dump(bytes: &[u8]) -> String {
    let mut text = format!("{:08x}\n", bytes.len());
    let mut before = None;
    for (at, line) in bytes.chunks(LINE).enumerate() {
        if before.replace(line) != Some(line) {
            text += &format!("{:08x} {}\n", at * LINE, hex(line));
        }
    }
    text
}

/// What [`dump`] was made of.
pub(crate) fn undump(text: &str) -> Vec<u8> {
    let number = |digits: &str| usize::from_str_radix(digits, 16).expect("hexadecimal digits");
    let mut lines = text.lines();
    let mut bytes = vec![0; number(lines.next().expect("a length"))];
    for line in lines {
        let (start, digits) = line.split_once(' ').expect("an offset and bytes");
        for at in number(start)..bytes.len() {
            let digits = &digits[at % LINE * 2..][..2];
            bytes[at] = u8::try_from(number(digits)).expect("two digits");
        }
    }
    bytes
}
