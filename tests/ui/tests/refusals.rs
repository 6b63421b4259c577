//! Makes the page of the documentation that lists every refusal from the cases that must not compile.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The folders, and their subjects.
const SECTIONS: &[(&str, &str)] = &[
    ("processor", "`#[processor]`"),
    ("input", "`#[input]`"),
    ("output", "`#[output]`"),
    ("join", "`#[join]`"),
    ("lookup", "`#[lookup]`"),
    ("loopback", "`#[loopback]`"),
    ("visit", "`#[visit]`"),
    ("timer", "`#[timer]`"),
    ("stream", "`#[stream]` and `#[table]`"),
    ("table", "`#[table]`"),
    ("context", "`Context`"),
    ("derive_codec", "`#[derive(goka::Codec)]`"),
    ("derive_key", "`#[derive(goka::Key)]`"),
    ("derive_schema", "`#[derive(goka::Schema)]`"),
    ("tester", "`goka::tester`"),
    ("simulate", "`#[simulate]`"),
];

const UPDATE: &str = "GOKA_UPDATE_DOCS";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cases of a folder, sorted.
fn cases(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder).join("fail"));
    let paths = entries.into_iter().flatten().flatten().map(|e| e.path());
    let mut cases: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    cases.sort();
    cases
}

fn page() -> String {
    let mut page = String::from(
        "What the compiler refuses, with the message that it gives: one for each mistake, where the \
         mistake is.\n\nRules that need types are checked in constants; their messages begin with \
         rustc's own words, which are left out here: `evaluation panicked:`.\n",
    );
    for (folder, title) in SECTIONS.iter().copied() {
        let cases = cases(folder);
        if cases.is_empty() {
            continue;
        }
        write!(page, "\n# {title}\n").expect("a string accepts all text");
        for case in cases {
            let read = |path: &Path| std::fs::read_to_string(path).expect("it was listed");
            let source = read(&case);
            let rule = source.lines().next().unwrap_or_default();
            let rule = rule.trim_start_matches("// ");
            let errors = errors(&read(&case.with_extension("stderr")));
            write!(page, "\n{rule}\n\n```text\n{errors}```\n").expect("a string accepts all text");
        }
    }
    page
}

/// The errors of a case: the source lines, the message, its help and its notes.
fn errors(stderr: &str) -> String {
    let mut text = String::new();
    for block in stderr.split("\n\n") {
        let mut lines = block.lines();
        let Some(first) = lines.next().filter(|line| line.starts_with("error")) else {
            continue;
        };
        if !text.is_empty() {
            text.push('\n');
        }
        let message = first.split_once(": ").map_or(first, |(_, message)| message);
        let message = message.trim_start_matches("evaluation panicked: ");
        let (mut place, mut help) = (Vec::new(), Vec::new());
        let mut is_place = false;
        for line in lines {
            let trimmed = line.trim_start();
            let is_gutter = |part: &str| part.trim().chars().all(|c| c.is_ascii_digit());
            if trimmed.starts_with("--> ") {
                is_place = place.is_empty();
            } else if let Some(note) = trimmed.strip_prefix("= note: ") {
                is_place = false;
                if !note.contains("originates in") {
                    help.push(format!("note: {note}"));
                }
            } else if let (true, Some((gutter, code))) = (is_place, line.split_once('|'))
                && is_gutter(gutter)
            {
                place.push(code.trim_end());
            } else if is_place && line == "..." {
                place.push("..");
            } else if place.is_empty() && !is_place {
                help.push(trimmed.to_owned());
            } else {
                is_place = false;
            }
        }
        place.retain(|line| !line.is_empty());
        let margin = |line: &&str| line.len() - line.trim_start().len();
        let least = place.iter().filter(|line| **line != "..").map(margin).min();
        let least = least.unwrap_or_default();
        // Lines with a name of 250 letters are left out of the page.
        if place.iter().all(|line| line.len() < 140) {
            for line in place {
                let _ = writeln!(text, "{}", line.get(least..).unwrap_or(line));
            }
        }
        let _ = writeln!(text, "error: {}", plain(message));
        for line in help {
            let _ = writeln!(text, "{}", plain(&line));
        }
    }
    text
}

/// Removes the paths of this crate, and shortens names of 250 letters.
fn plain(text: &str) -> String {
    let text = text.replace("goka_ui_tests::topics::", "");
    let text = text
        .replace("std::result::", "")
        .replace("std::marker::", "");
    let mut short = String::new();
    let mut run = 0;
    for c in text.chars() {
        run = if short.ends_with(c) { run + 1 } else { 0 };
        if run < 8 {
            short.push(c);
        }
    }
    short
}

#[test]
fn the_page_of_refusals_is_up_to_date() {
    let path = root().join("../../src/docs/generated/refusals.md");
    let page = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, page).expect("it can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "src/docs/generated/refusals.md is out of date; \
         `{UPDATE}=1 cargo test -p goka-ui-tests --test refusals` updates it"
    );
}

#[test]
fn every_folder_has_its_section() {
    let entries = std::fs::read_dir(root()).expect("it is there").flatten();
    for entry in entries.filter(|entry| entry.path().join("fail").is_dir()) {
        let name = entry.file_name();
        let known = SECTIONS.iter().any(|(folder, _)| name == *folder);
        assert!(known, "{name:?} is in no section of the page");
    }
}
