//! The refusal of what a newer build of goka wrote, worded alike for every format. Whoever finds such bytes
//! leaves them as they are: an older build cannot know what it would lose.

use std::io;

/// Something is in a version of its format that this build does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "has {format} version {found}, written by a newer build of goka, and this one knows versions up to \
     {known}; run a build that knows version {found}; nothing was changed"
)]
pub(crate) struct Newer {
    pub(crate) format: &'static str,
    pub(crate) found: String,
    pub(crate) known: u16,
}

/// The version of a text that a newer build wrote; `None` where this build reads it, and where it is not ours
/// at all. Every version after the first begins with `goka`, its number and a semicolon.
pub(crate) fn newer_version(text: &str, known: u16) -> Option<&str> {
    let (version, _) = text.strip_prefix("goka")?.split_once(';')?;
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large to be read is a later one, too.
    let is_newer = version.parse::<u16>().map_or(true, |found| found > known);
    (is_number && is_newer).then_some(version)
}

/// Refuses a file of text that a newer build wrote; the first version of these has no mark.
#[cfg(feature = "cli")]
pub(crate) fn check_text(format: &'static str, text: &str) -> io::Result<()> {
    let known = 1;
    match newer_version(text, known).map(str::to_owned) {
        Some(found) => Err(Newer {
            format,
            found,
            known,
        }
        .into()),
        None => Ok(()),
    }
}

impl From<Newer> for io::Error {
    fn from(newer: Newer) -> Self {
        io::Error::other(newer)
    }
}

/// Whether the error is [`Newer`].
pub(crate) fn is_newer(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Newer>())
}
