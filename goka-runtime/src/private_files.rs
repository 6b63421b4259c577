//! Files and directories for their owner alone: created with such permissions, narrowed to them where they
//! exist with wider ones, and not opened through a symbolic link in their place.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Once;

use rustix::fs::OFlags;

/// The permission bits of the group and of others.
const OTHERS: u32 = 0o077;
/// Marks a directory in which many users create files, such as `/tmp`.
const STICKY: u32 = 0o1000;

/// A symbolic link is in the place of a file.
#[derive(Debug, thiserror::Error)]
#[error("is a symbolic link, which is not followed; put what it points to in its place")]
pub(crate) struct IsLink;

/// Whether the error is [`IsLink`].
pub(crate) fn is_link(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<IsLink>())
}

/// Refuses a symbolic link; a missing file is no error.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(io::Error::other(IsLink)),
        _ => Ok(()),
    }
}

/// Opens a file; one that is created is for its owner alone.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = no_follow(path, options.mode(0o600), OFlags::empty())?;
    let found = file.metadata()?;
    if !found.is_file() && !found.is_dir() {
        let text = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    narrow(path, &file)?;
    Ok(file)
}

/// Creates a file, or truncates the one that exists.
#[cfg(any(test, feature = "cli"))]
pub(crate) fn create(path: &Path) -> io::Result<File> {
    open(
        path,
        OpenOptions::new().write(true).create(true).truncate(true),
    )
}

/// Replaces the content of a file as a whole; in the meantime it is in one with the extension `new`.
#[cfg(feature = "cli")]
pub(crate) fn replace(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = create(&draft)?;
    io::Write::write_all(&mut file, content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

/// Creates a directory if it is missing, but not its parents.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let options = &mut OpenOptions::new();
            narrow(
                path,
                &no_follow(path, options.read(true), OFlags::DIRECTORY)?,
            )
        }
        made => made,
    }
}

fn no_follow(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    let flags = (flags | OFlags::NOFOLLOW).bits();
    let opened = options.custom_flags(flags.cast_signed()).open(path);
    // The error for a link differs between systems and flags.
    opened.or_else(|error| check(path).and(Err(error)))
}

/// Removes the permissions of the group and of others. Where that is refused others may read the file, which
/// is logged once: it is most likely the same for the other files.
pub(crate) fn narrow(path: &Path, file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let refused = if mode & STICKY == 0 {
        let narrowed = Permissions::from_mode(mode & !OTHERS);
        match file.set_permissions(narrowed) {
            Ok(()) if file.metadata()?.permissions().mode() & OTHERS == 0 => return Ok(()),
            Ok(()) => "the file system keeps no permissions".to_owned(),
            Err(error) => error.to_string(),
        }
    } else {
        "its sticky bit says that several users share it".to_owned()
    };
    static LOGGED: Once = Once::new();
    LOGGED.call_once(|| {
        tracing::warn!(
            path = %path.display(),
            mode = format_args!("{:o}", mode & 0o7777),
            refused,
            "other users may access this path, and its permissions cannot be narrowed; use a data \
             directory that is this user's alone"
        );
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn widen(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn new_files_are_private_and_existing_ones_are_narrowed() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, file) = (temp.path().join("dir"), temp.path().join("dir/file"));
        for _ in 0..2 {
            make_dir(&dir).unwrap();
            create(&file).unwrap().write_all(b"x").unwrap();
            assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
            widen(&dir, 0o755);
            widen(&file, 0o644);
        }
        open(&file, OpenOptions::new().read(true)).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn links_are_refused_and_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "kept").unwrap();
        widen(&at("dir"), 0o755);
        widen(&at("file"), 0o644);
        for target in ["dir", "file", "none"] {
            let link = at(&format!("to-{target}"));
            symlink(at(target), &link).unwrap();
            for refused in [
                check(&link).err(),
                make_dir(&link).err(),
                create(&link).err(),
                open(&link, OpenOptions::new().read(true)).err(),
            ] {
                assert!(
                    refused.as_ref().is_some_and(is_link),
                    "{target}: {refused:?}"
                );
            }
        }
        assert_eq!((mode(&at("dir")), mode(&at("file"))), (0o755, 0o644));
        assert_eq!(fs::read(at("file")).unwrap(), b"kept");
        assert!(!at("none").exists());
    }
}
