// A processor that is a function has no loopback.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g")]
#[input(UserClicks)]
#[loopback]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    ctx.loopback("k", &click)?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
