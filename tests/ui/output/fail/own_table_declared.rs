// A group's own table is not an output, under another declaration either.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("g-state", value = i64)]
struct Other;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
#[output(Other)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    ctx.emit(Other, "k", &1)?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
