// A group's own table is not an input, under another declaration either.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("g-state", value = String)]
struct Other;

#[processor(group = "g", persist = i64)]
#[input(Other)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
