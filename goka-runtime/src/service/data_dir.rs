//! The data directory: makes it, locks it for the process that uses it, and keeps the name of the instance
//! in it. The contents of the other files belong to the modules that write them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::newer;
use crate::private_files;

/// How often a lock that a command holds is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// The files and directories that this library keeps in a data directory.
const OWN_FILES: [&str; 9] = [
    "lock",
    "instance",
    "instance.new",
    "deaths",
    "deaths.new",
    "log.redb",
    "tables",
    "views",
    "run",
];

/// Why a data directory cannot be used. Names no options of the command line: `cli` adds them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error("data directory `{}` is a file; name a directory", path.display())]
    IsFile { path: PathBuf },
    /// The directory, or a file in it, cannot be read or written.
    #[error(
        "data directory `{}` cannot be used: {source}; make it writable, or name another",
        path.display()
    )]
    Unusable { path: PathBuf, source: io::Error },
    /// One of the library's files in the directory is not what it has to be.
    #[error("`{}` {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "data directory `{}`: no socket for the commands: {source}; use a local file system",
        path.display()
    )]
    Socket { path: PathBuf, source: io::Error },
    #[error(
        "data directory `{}` is in use by process {pid}; stop that one, or give this one its own",
        path.display()
    )]
    InUse { path: PathBuf, pid: String },
}

/// A data directory that exists.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// A data directory that this process holds until the lock is dropped.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    pub(crate) dir: DataDir,
    /// The name of the instance, which stays over restarts.
    pub(crate) instance: String,
    _lock: File,
}

/// What kind of process holds a directory. It is written into the lock file, where a process that finds the
/// directory locked reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A running program, which holds the directory until it ends.
    Run,
    /// A command, which holds the directory for a moment.
    Command,
}

impl DataDir {
    /// The directory; made if it does not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, DataDirError> {
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Ok(()) => Self::checked(path),
            Err(error) => Err(Self::refused(path, error)),
        }
    }

    pub(crate) fn existing(path: &Path) -> Result<Option<Self>, DataDirError> {
        match fs::metadata(path) {
            Ok(_) => Self::checked(path).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Self::refused(path, error)),
        }
    }

    fn checked(path: &Path) -> Result<Self, DataDirError> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                let dir = Self { path: path.into() };
                dir.check_links().map(|()| dir)
            }
            Ok(_) => Err(Self::refused(path, ErrorKind::AlreadyExists.into())),
            Err(error) => Err(Self::refused(path, error)),
        }
    }

    /// Refuses symbolic links in the place of the library's files. The directory itself may be one.
    fn check_links(&self) -> Result<(), DataDirError> {
        for name in OWN_FILES {
            let path = self.path.join(name);
            private_files::check(&path).map_err(|source| DataDirError::File { path, source })?;
        }
        Ok(())
    }

    /// Takes the permissions of other users off the directories that an earlier version made.
    fn narrow(&self) -> io::Result<()> {
        private_files::narrow(&self.path, &File::open(&self.path)?)?;
        for dir in [self.tables(), self.views()] {
            if dir.is_dir() {
                private_files::make_dir(&dir)?;
            }
        }
        Ok(())
    }

    /// An error of the operating system, as an error of the directory.
    fn refused(path: &Path, source: io::Error) -> DataDirError {
        let path = path.to_owned();
        let is_file = fs::metadata(&path).is_ok_and(|found| !found.is_dir());
        if is_file || source.kind() == ErrorKind::AlreadyExists {
            DataDirError::IsFile { path }
        } else {
            DataDirError::Unusable { path, source }
        }
    }

    /// That a file in the directory cannot be read, or is of a newer build.
    pub(crate) fn unreadable(&self, name: &str, source: io::Error) -> DataDirError {
        if !newer::is_newer(&source) {
            return Self::refused(&self.path, source);
        }
        let path = self.path.join(name);
        DataDirError::File { path, source }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log.redb")
    }

    /// The file that names the records whose handlers ended the process.
    pub(crate) fn deaths(&self) -> PathBuf {
        self.path.join("deaths")
    }

    pub(crate) fn tables(&self) -> PathBuf {
        self.path.join("tables")
    }

    pub(crate) fn views(&self) -> PathBuf {
        self.path.join("views")
    }

    /// Locks the directory for this process, and waits for a command that holds it, at most `timeout`.
    /// `Ok(None)` when a running program holds it.
    pub(crate) fn hold(
        &self,
        holder: Holder,
        timeout: Duration,
    ) -> Result<Option<DataDirLock>, DataDirError> {
        let deadline = Instant::now() + timeout;
        let refused = |error| Self::refused(&self.path, error);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut lock = private_files::open(&self.path.join("lock"), options).map_err(refused)?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if self.holder().1 == Holder::Run => return Ok(None),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_RETRY);
                }
                Err(TryLockError::WouldBlock) => return Err(self.in_use()),
                Err(TryLockError::Error(error)) => return Err(refused(error)),
            }
        }
        self.narrow().map_err(refused)?;
        let word = match holder {
            Holder::Run => "run",
            Holder::Command => "command",
        };
        lock.seek(SeekFrom::Start(0))
            .and_then(|_| lock.set_len(0))
            .and_then(|()| writeln!(lock, "{} {word}", std::process::id()))
            .map_err(refused)?;
        Ok(Some(DataDirLock {
            dir: self.clone(),
            instance: self
                .instance()
                .map_err(|error| self.unreadable("instance", error))?,
            _lock: lock,
        }))
    }

    pub(crate) fn in_use(&self) -> DataDirError {
        DataDirError::InUse {
            path: self.path.clone(),
            pid: self.holder().0,
        }
    }

    /// The process that holds the lock, and its kind, as the lock file says.
    fn holder(&self) -> (String, Holder) {
        let mut text = String::new();
        // Between its truncation and its writing the file is empty. That counts as a command's, so the
        // caller tries again.
        let _ = private_files::open(&self.path.join("lock"), OpenOptions::new().read(true))
            .and_then(|file| file.take(64).read_to_string(&mut text));
        let mut words = text.split_whitespace();
        let pid = words.next().unwrap_or("unknown").to_owned();
        match words.next() {
            Some("run") => (pid, Holder::Run),
            _ => (pid, Holder::Command),
        }
    }

    /// The name of the instance; made when the directory is first locked.
    fn instance(&self) -> io::Result<String> {
        let path = self.path.join("instance");
        let read =
            private_files::open(&path, OpenOptions::new().read(true)).and_then(io::read_to_string);
        match read {
            Ok(name) if uuid::Uuid::parse_str(name.trim()).is_ok() => {
                return Ok(name.trim().to_owned());
            }
            // Incomplete, since the first process crashed while it wrote it: no other has used it.
            Ok(text) => newer::check_text("instance name", &text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let name = uuid::Uuid::new_v4().to_string();
        private_files::replace(&path, &format!("{name}\n"))?;
        File::open(&self.path)?.sync_all()?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn the_instance_keeps_its_name_and_a_second_process_learns_who_holds_it() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = DataDir::create(&temp.path().join("a/b")).expect("made");
        let held = dir
            .hold(Holder::Run, Duration::ZERO)
            .expect("free")
            .expect("free");
        assert!(
            dir.hold(Holder::Run, Duration::ZERO)
                .expect("asked")
                .is_none()
        );
        assert!(
            dir.in_use()
                .to_string()
                .contains(&std::process::id().to_string())
        );
        let name = held.instance.clone();
        drop(held);
        let again = dir
            .hold(Holder::Command, Duration::ZERO)
            .expect("free")
            .expect("free");
        assert_eq!(again.instance, name);
        let refused = dir
            .hold(Holder::Run, Duration::ZERO)
            .expect_err("a command has it");
        assert!(refused.to_string().contains("in use by process"));
    }

    #[test]
    fn the_instance_is_pinned_and_that_of_a_newer_build_is_refused() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = DataDir::create(temp.path()).expect("made");
        let path = temp.path().join("instance");
        let hold = || dir.hold(Holder::Run, Duration::ZERO);
        let made = hold().expect("held").expect("free").instance;
        let golden = golden::text("instance-1.txt");
        let written = fs::read_to_string(&path).expect("read");
        assert_eq!(written.replace(&made, golden.trim()), golden);
        fs::write(&path, &golden).expect("written");
        let found = hold().expect("held").expect("free").instance;
        assert_eq!(found, golden.trim());
        let newer = format!("goka2;{golden}");
        fs::write(&path, &newer).expect("written");
        let refused = hold().expect_err("refused").to_string();
        let expected = format!(
            "`{}` has instance name version 2, written by a newer build of goka, and this one knows \
             versions up to 1; run a build that knows version 2; nothing was changed",
            path.display()
        );
        assert_eq!(refused, expected);
        assert_eq!(fs::read_to_string(&path).expect("read"), newer);
    }

    #[test]
    fn a_file_is_no_data_directory() {
        let temp = tempfile::tempdir().expect("a directory");
        let file = temp.path().join("file");
        fs::write(&file, "x").expect("written");
        for path in [file.clone(), file.join("below")] {
            assert!(DataDir::create(&path).is_err(), "{path:?}");
        }
        let refused = DataDir::existing(&file).expect_err("a file");
        assert!(refused.to_string().contains("is a file; name a directory"));
        assert!(
            DataDir::existing(&temp.path().join("none"))
                .expect("asked")
                .is_none()
        );
    }
}
