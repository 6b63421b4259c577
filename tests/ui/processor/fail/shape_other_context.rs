// A handler takes goka's `Context`.

use goka::Context as Ctx;
use goka::prelude::*;
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
fn count(ctx: &mut Ctx, click: String) -> Result<()> {
    let _ = (ctx, click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
}
