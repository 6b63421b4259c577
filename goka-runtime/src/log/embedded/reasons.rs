//! Messages for a file that cannot be used: what, where, what to do. Knows no database.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::log::LogError;
use crate::newer::is_newer;
use crate::private_files;
use crate::shared_error::SharedError;

pub(super) fn check_place(path: &Path) -> Result<(), LogError> {
    let say = |reason: String| Err(storage(Some(path), reason, None));
    if path.is_dir() {
        return say("is a directory; name a file in it, for example `log.redb`".to_owned());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let at = parent.display();
    match std::fs::metadata(parent) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => say(format!(
            "`{at}` is not a directory; choose another data directory"
        )),
        Err(error) => {
            let reason = format!(
                "its directory cannot be used ({error}); make `{at}`, or choose another data directory"
            );
            Err(storage(Some(path), reason, Some(SharedError::from(error))))
        }
    }
}

/// What an error of the file system means, and what to do.
pub(super) fn refused(error: &io::Error) -> String {
    match error.kind() {
        _ if private_files::is_link(error) || is_newer(error) => error.to_string(),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => unreadable(&error.to_string()),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => format!(
            "may not be read and written ({error}); correct its permissions, or choose another data directory"
        ),
        ErrorKind::StorageFull => format!("the disk is full ({error}); make room"),
        _ => format!("the file system refuses ({error}); look after the disk"),
    }
}

pub(super) fn unreadable(what: &str) -> String {
    format!(
        "is not a log, or is damaged ({what}); restore it from a backup, or move it away to start with an empty log"
    )
}

pub(super) fn damaged(path: Option<&Path>, what: &str) -> LogError {
    storage(path, unreadable(what), None)
}

pub(super) fn storage(
    path: Option<&Path>,
    reason: String,
    source: Option<SharedError>,
) -> LogError {
    let path = path.map_or_else(|| "in memory".to_owned(), |path| path.display().to_string());
    LogError::Storage {
        path,
        reason,
        source,
    }
}
