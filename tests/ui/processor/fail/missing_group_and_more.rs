// A missing group does not hide another mistake, and is not hidden by it (two here).

use goka::prelude::*;
use goka_ui_tests::topics::*;

#[processor(persist = "i64")]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
}
