// A handler takes the values of its topic.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: i64) -> Result<()> {
    ctx.set_value(&(click + 1))?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
