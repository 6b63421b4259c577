//! A program whose processors cannot live together: what its registry says.

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
fn everything_wrong_with_a_program_is_shown_at_once() {
    let registry = Registry::new()
        .with::<Again>()
        .with::<Intruder>()
        .with::<ClickCount>();
    let error = registry.check().expect_err("they cannot live together");
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
