// A group's own table is not joined.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
#[join(Count)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    let _ = ctx.value()?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
