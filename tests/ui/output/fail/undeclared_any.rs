// An output has to be declared, also if there is no other.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    ctx.emit(Numbers, "k", &3)?;
    let _ = click;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
