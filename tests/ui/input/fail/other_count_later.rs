// All inputs of a group with a table have one partition count, whichever declares it.

use goka::prelude::*;
use goka_ui_tests::topics::*;

#[stream("uncounted", value = String)]
struct Uncounted;

#[processor(group = "g", persist = i64)]
#[input(Uncounted, UserClicks, Four)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
}
