//! One line at the root of a crate stands for `crate = ..` at each attribute.

extern crate streams as goka;

use streams::prelude::*;
use streams::tester::Tester;

/// Visits of pages.
#[stream("page-visits", value = String)]
#[derive(Debug)]
pub struct PageVisits;

#[processor(group = "visits", persist = u64)]
#[input(PageVisits)]
fn visits(ctx: &mut Context, _page: &str) -> Result<()> {
    ctx.update(|visits| visits.unwrap_or(0) + 1)?;
    Ok(())
}

#[test]
fn an_alias_of_the_crate_works() {
    let mut app = Tester::of::<Visits>();
    app.input(PageVisits).send("alice", "/");
    assert_eq!(app.table::<Visits>().get("alice"), Some(1));
}
