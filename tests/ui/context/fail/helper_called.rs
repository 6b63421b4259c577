// A handler's context is its processor's, also where a function takes it.

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
