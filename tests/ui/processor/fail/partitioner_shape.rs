// A partitioner function returns an `i32`.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

fn name(_: &[u8], _: i32) -> &'static str {
    "0"
}

#[processor(group = "g", persist = i64, partitioner = name)]
#[input("clicks")]
fn count(ctx: &mut Context, value: String) -> Result<()> {
    let _ = value;
    ctx.set_value(&1)?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
