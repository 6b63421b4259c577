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

impl From<Newer> for io::Error {
    fn from(newer: Newer) -> Self {
        io::Error::other(newer)
    }
}

/// Whether the error is [`Newer`].
pub(crate) fn is_newer(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Newer>())
}
