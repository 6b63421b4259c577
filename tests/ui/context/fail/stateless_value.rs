// A stateless processor has no value.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g")]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let n = ctx.value()?.unwrap_or(0) + 1;
    let _ = (n, click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
