//! The data directory: made, locked by the process that uses it, and the place where the instance
//! keeps its name. What lies in the directory's files is the business of their owners.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::CliError;
use crate::private_files;

/// How often a lock held by a short command is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// What this library keeps in a data directory.
const OURS: [&str; 9] = [
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

/// A data directory that exists.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// A data directory held by this process, until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    /// The directory.
    pub(crate) dir: DataDir,
    /// The instance's name, kept over restarts.
    pub(crate) instance: String,
    _lock: File,
}

/// Why a directory is held; written into the lock file for whoever finds it taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A running program: it stays.
    Run,
    /// A command that opens the files for a moment.
    Command,
}

impl DataDir {
    /// The directory, made when it is missing.
    pub(crate) fn create(path: &Path) -> Result<Self, CliError> {
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Ok(()) => Self::checked(path),
            Err(error) => Err(Self::refused(path, &error)),
        }
    }

    /// The directory if it is there.
    pub(crate) fn existing(path: &Path) -> Result<Option<Self>, CliError> {
        match fs::metadata(path) {
            Ok(_) => Self::checked(path).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Self::refused(path, &error)),
        }
    }

    fn checked(path: &Path) -> Result<Self, CliError> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                let dir = Self { path: path.into() };
                dir.check_links().map(|()| dir)
            }
            Ok(_) => Err(Self::refused(path, &ErrorKind::AlreadyExists.into())),
            Err(error) => Err(Self::refused(path, &error)),
        }
    }

    /// The directory may be a link; what this library keeps in it may not.
    fn check_links(&self) -> Result<(), CliError> {
        for name in OURS {
            let path = self.path.join(name);
            private_files::check(&path)
                .map_err(|error| CliError::new(format!("`{}` {error}", path.display())))?;
        }
        Ok(())
    }

    /// Takes the permissions of others from what an earlier version made.
    fn narrow(&self) -> std::io::Result<()> {
        private_files::narrow(&self.path, &File::open(&self.path)?)?;
        for dir in [self.tables(), self.views()] {
            if dir.is_dir() {
                private_files::make_dir(&dir)?;
            }
        }
        Ok(())
    }

    fn refused(path: &Path, error: &std::io::Error) -> CliError {
        let shown = path.display();
        let file = fs::metadata(path).is_ok_and(|found| !found.is_dir());
        if file || error.kind() == ErrorKind::AlreadyExists {
            return CliError::new(format!(
                "data directory `{shown}` is a file; name a directory with `--data-dir` / GOKA_DATA_DIR"
            ));
        }
        CliError::new(format!(
            "data directory `{shown}` cannot be used: {error}; make it writable, or name another \
             with `--data-dir` / GOKA_DATA_DIR"
        ))
    }

    /// That something in the directory cannot be read or written, as an error.
    pub(crate) fn unusable(&self, error: &std::io::Error) -> CliError {
        Self::refused(&self.path, error)
    }

    /// The directory's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the embedded log lies.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log.redb")
    }

    /// Where the records are noted whose handlers ended the process.
    pub(crate) fn deaths(&self) -> PathBuf {
        self.path.join("deaths")
    }

    /// Where the processors' tables lie.
    pub(crate) fn tables(&self) -> PathBuf {
        self.path.join("tables")
    }

    /// Where the views' copies lie.
    pub(crate) fn views(&self) -> PathBuf {
        self.path.join("views")
    }

    /// Takes the directory for this process; waits so long for a command that has it for a moment.
    /// `Ok(None)` when a running program has it.
    pub(crate) fn hold(
        &self,
        holder: Holder,
        wait: Duration,
    ) -> Result<Option<DataDirLock>, CliError> {
        let until = Instant::now() + wait;
        let refused = |error: std::io::Error| Self::refused(&self.path, &error);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut lock = private_files::open(&self.path.join("lock"), options).map_err(refused)?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if self.holder().1 == Holder::Run => return Ok(None),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(RETRY);
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
            instance: self.instance().map_err(refused)?,
            _lock: lock,
        }))
    }

    /// That another process has the directory, as an error.
    pub(crate) fn in_use(&self) -> CliError {
        CliError::new(format!(
            "data directory `{}` is in use by process {}; stop that one, or give this one its own \
             with `--data-dir` / GOKA_DATA_DIR",
            self.path.display(),
            self.holder().0
        ))
    }

    /// Who holds the lock, by what the lock file says.
    fn holder(&self) -> (String, Holder) {
        let mut text = String::new();
        // A lock file caught between truncation and writing reads empty: it is a command's or
        // will be read again.
        let _ = private_files::open(&self.path.join("lock"), OpenOptions::new().read(true))
            .and_then(|file| file.take(64).read_to_string(&mut text));
        let mut words = text.split_whitespace();
        let pid = words.next().unwrap_or("unknown").to_owned();
        match words.next() {
            Some("run") => (pid, Holder::Run),
            _ => (pid, Holder::Command),
        }
    }

    /// The instance's name; made at the first use, under the lock.
    fn instance(&self) -> std::io::Result<String> {
        let path = self.path.join("instance");
        let read = private_files::open(&path, OpenOptions::new().read(true))
            .and_then(std::io::read_to_string);
        match read {
            Ok(name) if uuid::Uuid::parse_str(name.trim()).is_ok() => {
                return Ok(name.trim().to_owned());
            }
            // Torn by a crash while it was new: nothing can have used it yet.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let name = uuid::Uuid::new_v4().to_string();
        let draft = self.path.join("instance.new");
        let mut file = private_files::create(&draft)?;
        writeln!(file, "{name}")?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(&self.path)?.sync_all()?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fail: CliError) -> String {
        match fail {
            CliError::Errors(lines) => lines.join(" | "),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_instance_stays_and_a_second_holder_is_told_who_has_it() {
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
        assert!(message(dir.in_use()).contains(&std::process::id().to_string()));
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
        assert!(message(refused).contains("in use by process"));
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
        assert!(message(refused).contains("is a file; name a directory"));
        assert!(
            DataDir::existing(&temp.path().join("none"))
                .expect("asked")
                .is_none()
        );
    }
}
