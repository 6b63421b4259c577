// The type of a processor does not have the name of a type in its handler's signature.

use goka::prelude::*;
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
fn context(ctx: &mut Context, click: String) -> Result<()> {
    ctx.set_value(&1)?;
    let _ = click;
    Ok(())
}

fn main() {
    let _ = context;
}
