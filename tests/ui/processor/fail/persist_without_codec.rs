// The group table has a codec.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = Plain)]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let before = ctx.value()?;
    ctx.set_value(&Plain)?;
    let _ = (before, click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
