// An input that is a group table has tombstones, so its handler takes an `Option`.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "other", persist = i64)]
#[input(UserClicks)]
fn other(_: &mut Context, _: String) -> Result<()> {
    Ok(())
}

#[processor(group = "g", persist = i64)]
#[input(Other)]
fn count(ctx: &mut Context, click: i64) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
