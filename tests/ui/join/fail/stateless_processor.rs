// A processor without a table cannot be joined.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "other")]
#[input(UserClicks)]
fn other(_: &mut Context, _: String) -> Result<()> {
    Ok(())
}

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
#[join(Other)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
