//! Data directories: their contents are readable for their owner alone, and symbolic links in them are
//! refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::program::{Program, counted, data_dir};

/// Emits a click, runs the program until it is counted, and stops it; returns its log.
#[track_caller]
fn count(clicks: &Program) -> String {
    let output = clicks.run(["emit", "user-clicks", "alice", "now"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let mut running = clicks.start(["--no-simulate"]);
    running.wait_out("a count", |out| {
        out.iter().any(|line| counted(line).is_some())
    });
    let (code, output) = running.stop();
    assert_eq!(code, Some(0), "{output}");
    output
}

/// Everything below a directory, itself included.
fn tree(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        all.extend(entries.flat_map(|entry| tree(&entry.unwrap().path())));
    }
    all
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn widen(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn assert_private(dir: &Path) {
    let all = tree(dir);
    assert!(all.iter().any(|path| path.ends_with("log.redb")), "{all:?}");
    let tables = all
        .iter()
        .filter(|path| path.starts_with(dir.join("tables")));
    assert!(tables.count() > 2, "{all:?}");
    for path in all {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[test]
fn a_data_directory_and_its_contents_are_private() {
    let (_temp, dir) = data_dir();
    fs::create_dir(&dir).unwrap();
    widen(&dir, 0o755);
    let clicks = Program::new("clicks", &dir);
    count(&clicks);
    assert_private(&dir);
    // Permissions as earlier versions left them.
    for path in tree(&dir) {
        widen(&path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    let output = count(&clicks);
    assert_private(&dir);
    assert!(!output.contains("cannot be narrowed"), "{output}");
}

#[test]
fn permissions_of_a_shared_directory_are_kept_with_a_warning() {
    let (_temp, dir) = data_dir();
    fs::create_dir(&dir).unwrap();
    widen(&dir, 0o1777);
    let output = count(&Program::new("clicks", &dir));
    let lines: Vec<_> = output
        .lines()
        .filter(|line| line.contains("cannot be narrowed"))
        .collect();
    let shown = dir.display().to_string();
    assert!(lines.len() == 1 && lines[0].contains(&shown), "{output}");
    assert_eq!(mode(&dir), 0o1777);
    for path in tree(&dir).iter().filter(|path| **path != dir) {
        assert_eq!(mode(path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn symbolic_links_in_a_data_directory_are_refused_by_name() {
    let (temp, dir) = data_dir();
    // The directory itself may be one.
    let real = temp.path().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, &dir).unwrap();
    let clicks = Program::new("clicks", &dir);
    count(&clicks);
    assert_private(&real);

    let elsewhere = temp.path().join("elsewhere");
    let found = tree(&real);
    let entries = found.iter().filter(|path| **path != real);
    let mut refused = 0;
    for path in entries {
        fs::rename(path, &elsewhere).unwrap();
        symlink(&elsewhere, path).unwrap();
        let before: Vec<_> = tree(&elsewhere)
            .iter()
            .filter(|path| path.is_file())
            .map(|path| fs::read(path).unwrap())
            .collect();
        let name = path.strip_prefix(&real).unwrap().display().to_string();
        let mut running = clicks.start(["--no-simulate"]);
        // It ends by itself, unless the link is one of several partitions.
        running.wait_err(&format!("{name}` is a symbolic link"));
        let (code, output) = running.stop();
        assert_eq!(code, Some(2), "{name}: {output}");
        let after: Vec<_> = tree(&elsewhere)
            .iter()
            .filter(|path| path.is_file())
            .map(|path| fs::read(path).unwrap())
            .collect();
        assert!(before == after, "{name} was written to");
        fs::remove_file(path).unwrap();
        fs::rename(&elsewhere, path).unwrap();
        refused += 1;
    }
    assert!(refused >= 6, "{found:?}");
    count(&clicks);
}
