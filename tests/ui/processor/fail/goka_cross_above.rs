// Goka's cross joins do not exist, above the processor either.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[cross(Profiles)]
#[processor(group = "g")]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
