// The key type is one that can be a key.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", key = Plain)]
#[input("clicks")]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx, click);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
