// A group table needs keys.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(Measurements)]
fn count(ctx: &mut Context, value: i64) -> Result<()> {
    let _ = value;
    ctx.set_value(&1)?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
