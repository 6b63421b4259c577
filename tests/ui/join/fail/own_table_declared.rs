// A group's own table is not joined, under another name either.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[table("g-state", value = i64)]
struct Other;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
#[join(Other)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    let _ = ctx.join(Other)?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
