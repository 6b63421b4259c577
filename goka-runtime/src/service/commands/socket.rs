//! The socket of the process that holds the embedded log: `<data>/run/socket`. A path that is too long for
//! a socket's address is replaced by a short one in the temporary directory, which the file
//! `<data>/run/elsewhere` names.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::private_files;
use crate::service::data_dir::DataDir;

/// The longest path of a socket that every system accepts: `sun_path` has 104 bytes on some and 108 on
/// others, with the zero at its end.
const MAX_PATH: usize = 100;

/// A listening socket; its files are removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    run: PathBuf,
}

impl Socket {
    /// Listens, and replaces the socket that a killed process left. The caller holds the lock of the
    /// directory.
    pub(crate) fn listen(dir: &DataDir) -> std::io::Result<Self> {
        let run = run(dir);
        // Only the owner may enter the directory, so no other user connects before the permissions of the
        // socket are set.
        private_files::make_dir(&run)?;
        clean(&run);
        let near = run.canonicalize()?.join("socket");
        let path = if near.as_os_str().as_bytes().len() <= MAX_PATH {
            near
        } else {
            let elsewhere = elsewhere()?;
            let mut record = private_files::create(&run.join("elsewhere"))?;
            record.write_all(elsewhere.as_os_str().as_bytes())?;
            elsewhere.join("socket")
        };
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, run })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        clean(&self.run);
    }
}

/// Connects to the process that holds the directory; `None` when none listens.
pub(crate) fn connect(dir: &DataDir) -> std::io::Result<Option<UnixStream>> {
    let run = run(dir);
    let path = match recorded(&run) {
        Some(elsewhere) => elsewhere.join("socket"),
        None => match run.canonicalize() {
            Ok(run) => run.join("socket"),
            Err(_) => return Ok(None),
        },
    };
    if path.as_os_str().as_bytes().len() > MAX_PATH {
        return Ok(None);
    }
    match UnixStream::connect(&path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn run(dir: &DataDir) -> PathBuf {
    dir.path().join("run")
}

fn recorded(run: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::new();
    private_files::open(&run.join("elsewhere"), OpenOptions::new().read(true))
        .and_then(|mut record| record.read_to_end(&mut bytes))
        .ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// A new private directory with a short name.
fn elsewhere() -> std::io::Result<PathBuf> {
    let name = format!("goka-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let temporary = std::env::temp_dir();
    let fits = temporary.as_os_str().as_bytes().len() + name.len() + "//socket".len() <= MAX_PATH;
    let path = if fits {
        temporary
    } else {
        PathBuf::from("/tmp")
    }
    .join(name);
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

/// Removes the files of a socket, as far as they exist.
fn clean(run: &Path) {
    if let Some(elsewhere) = recorded(run) {
        let _ = fs::remove_file(elsewhere.join("socket"));
        let _ = fs::remove_dir(&elsewhere);
        let _ = fs::remove_file(run.join("elsewhere"));
    }
    let _ = fs::remove_file(run.join("socket"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_at_short_and_long_paths_and_a_stale_one_is_replaced() {
        let temp = tempfile::tempdir().expect("a directory");
        for name in ["short".to_owned(), "long".repeat(50)] {
            let dir = DataDir::create(&temp.path().join(name)).expect("made");
            assert!(connect(&dir).expect("asked").is_none());
            let socket = Socket::listen(&dir).expect("listening");
            assert!(connect(&dir).expect("asked").is_some());
            // A killed process runs no destructor.
            std::mem::forget(socket);
            let socket = Socket::listen(&dir).expect("listening again");
            assert!(connect(&dir).expect("asked").is_some());
            let address = socket.listener.local_addr().expect("bound");
            let path = address.as_pathname().expect("a path").to_owned();
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            drop(socket);
            assert!(!path.exists());
            assert!(connect(&dir).expect("asked").is_none());
        }
    }
}
