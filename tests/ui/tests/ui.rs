//! Runs the cases that must not compile, and checks that each mistake is one error.

use std::path::{Path, PathBuf};

/// The cases, in a stable order.
fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let attributes = entries(root).map(|entry| entry.path().join("fail"));
    let mut cases: Vec<_> = attributes
        .flat_map(|folder| {
            entries(&folder)
                .map(|entry| entry.path())
                .collect::<Vec<_>>()
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

#[test]
fn wrong_programs_do_not_compile() {
    let trybuild = trybuild::TestCases::new();
    trybuild.compile_fail("*/fail/*.rs");
}

#[test]
fn one_mistake_is_one_error() {
    for case in cases() {
        let source = std::fs::read_to_string(&case).expect("it was listed");
        let rule = source.lines().next().unwrap_or_default();
        assert!(rule.starts_with("// "), "{case:?} does not state its rule");
        let expected = match () {
            () if rule.ends_with("(two here).") => 2,
            () if rule.ends_with(", each.") => 3,
            () => 1,
        };
        let Ok(errors) = std::fs::read_to_string(case.with_extension("stderr")) else {
            panic!("{case:?} has no .stderr");
        };
        let count = errors
            .lines()
            .filter(|line| line.starts_with("error"))
            .count();
        assert_eq!(count, expected, "{case:?}");
    }
}
