// The codec encodes the table's values.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64, codec = Be<i32>)]
#[input(UserClicks)]
fn count(ctx: &mut Context, value: String) -> Result<()> {
    let _ = value;
    ctx.set_value(&1_i64)?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
