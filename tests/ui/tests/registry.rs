//! The processors of the library reach the registry, in an order of their own.

use goka::registry::Registry;
use goka_ui_tests as _;

#[test]
fn all_processors_are_found() {
    let definitions = Registry::collect().check().expect("they can live together");
    let groups: Vec<_> = definitions.iter().map(|d| d.graph.group).collect();
    assert!(groups.contains(&"my-group"), "{groups:?}");
    assert!(groups.is_sorted());
}
