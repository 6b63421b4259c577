// A group's own table is not an input.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(Count)]
fn count(ctx: &mut Context, click: i64) -> Result<()> {
    ctx.set_value(&click)?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
