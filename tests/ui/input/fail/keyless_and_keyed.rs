// A processor that is a function takes inputs with keys or without, not both.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks, MeasurementsText)]
fn count(ctx: &mut Context, value: String) -> Result<()> {
    let _ = (ctx.topic(), value);
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
