// A handler returns `Result<()>`, without a value.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: String) -> Result<i64> {
    let _ = (ctx.key(), click);
    Ok(3)
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
