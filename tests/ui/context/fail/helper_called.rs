// A function that is called with a context of a handler names its processor.

use goka::prelude::*;
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    log(ctx, &click);
    Ok(())
}

fn log(_ctx: &mut Context, click: &str) {
    println!("{click}");
}

fn main() {
    let _ = (Count, count);
}
