//! Processors that cannot run in one program, and the findings of the registry.

use goka::prelude::*;
use goka::registry::{Finding, Registry};
use goka_ui_tests::processor::ClickCount;

#[stream("user-clicks", value = Vec<u8>, partitioner = goka::Crc32, partitions = 9)]
struct Clicks;

#[processor(group = "click-count")]
#[input(Clicks)]
fn again(_: &mut Context, _: &[u8]) -> Result<()> {
    Ok(())
}

#[stream("click-count-state", value = i64)]
struct Intruded;

#[processor(group = "intruder")]
#[input("other")]
#[output(Intruded)]
fn intruder(_: &mut Context, _: &[u8]) -> Result<()> {
    Ok(())
}

#[test]
fn all_mistakes_of_a_program_are_shown_at_once() {
    let registry = Registry::new()
        .with::<Again>()
        .with::<Intruder>()
        .with::<ClickCount>();
    let error = registry.check().expect_err("they conflict");
    let text = error.to_string();
    for expected in [
        "group `click-count` has 2 processors:\n  Again at tests/ui/tests/conflicts.rs:",
        "\n  ClickCount at tests/ui/src/processor.rs:",
        "topic `user-clicks` has 2 value codecs:\n  bytes at ",
        "topic `user-clicks` has 2 partitioners:\n  crc32 at ",
        "topic `user-clicks` has 2 partition counts:\n  9 at ",
        "table `click-count-state` has 2 writers:\n  ClickCount at ",
        "\n  Intruder at ",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    assert!(matches!(error.findings[0], Finding::GroupTwice { .. }));
    let empty = Registry::new().check().expect_err("it is empty");
    assert!(empty.to_string().contains("add `use that_crate as _;`"));
}

/// The table of a group that has none.
#[table("no-table-state", value = i64)]
struct NoTable;

#[processor(group = "no-table")]
#[input("pages")]
fn stateless(_: &mut Context, _: &str) -> Result<()> {
    Ok(())
}

/// Only registered by hand.
#[derive(Debug, Default)]
struct Forgotten;

#[processor(group = "forgotten", persist = i64)]
impl Forgotten {
    #[input("pages")]
    fn on(_: &mut Context, _: &str) -> Result<()> {
        Ok(())
    }
}

/// A table of another program.
#[table("plans", value = String)]
struct Plans;

#[processor(group = "reader")]
#[input("pages")]
#[join(NoTable, Plans)]
#[lookup(Forgotten)]
fn reader(_: &mut Context, _: &str) -> Result<()> {
    Ok(())
}

#[test]
fn an_undeclared_table_is_found() {
    let registry = Registry::new().with::<Reader>().with::<Stateless>();
    let text = registry.check().expect_err("two are missing").to_string();
    let file = "tests/ui/tests/conflicts.rs";
    for expected in [
        "no processor or `#[table(..)]` declares the table `no-table-state`: \
         group `no-table` (tests/ui/tests/conflicts.rs:",
        "help: add `persist = ..` to its processor",
        "no processor or `#[table(..)]` declares the table `forgotten-state`:\n  Reader (lookup) at ",
        "help: register its processor, or declare another program's table with \
         `#[table(\"forgotten-state\", ..)]`",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    assert!(text.contains(file) && !text.contains("plans"), "{text}");
    let all = registry.with::<Forgotten>();
    assert!(all.check().expect_err("one is left").findings.len() == 1);
}

#[processor(group = "first", persist = i64)]
#[input("pages")]
#[join(Second)]
fn first(_: &mut Context, _: &str) -> Result<()> {
    Ok(())
}

#[processor(group = "second", persist = i64)]
#[input("pages")]
#[lookup(First)]
fn second(_: &mut Context, _: &str) -> Result<()> {
    Ok(())
}

#[test]
fn tables_that_are_read_in_a_circle_are_named() {
    let registry = Registry::new().with::<Second>().with::<First>();
    let error = registry
        .check()
        .expect_err("each reads the table of the other");
    let [Finding::Cycle { edges }] = &error.findings[..] else {
        panic!("{error}");
    };
    let edges: Vec<_> = edges.iter().map(|edge| edge.what.as_str()).collect();
    assert_eq!(
        edges,
        ["First reads `second-state`", "Second reads `first-state`"]
    );
}

#[stream("eight", value = String, partitions = 8)]
struct Eight;

#[processor(group = "of-eight", persist = i64)]
#[input("pages")]
#[input(Eight)]
fn of_eight(_: &mut Context, _: String) -> Result<()> {
    Ok(())
}

/// Another processor declares that its input has four partitions, which the compiler does not see.
#[processor(group = "of-four")]
#[input("four")]
#[join(OfEight)]
#[output(Looped)]
fn of_four(_: &mut Context, _: String) -> Result<()> {
    Ok(())
}

#[stream("four", value = String, partitions = 4)]
struct Four;

#[processor(group = "teller")]
#[input(Four)]
fn teller(_: &mut Context, _: String) -> Result<()> {
    Ok(())
}

#[stream("of-eight-loop", value = String)]
struct Looped;

#[test]
fn partition_counts_and_names_are_compared_across_groups() {
    let registry = Registry::new();
    let registry = registry.with::<OfFour>().with::<OfEight>().with::<Teller>();
    let text = registry.check().expect_err("eight is not four").to_string();
    for expected in [
        "of group `of-four` have 2 partition counts:\n  4 (`four`) at ",
        "\n  8 (`of-eight-state`) at tests/ui/tests/conflicts.rs:",
        "the name `of-eight-loop` belongs to group `of-eight` (tests/ui/tests/conflicts.rs:",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
}
