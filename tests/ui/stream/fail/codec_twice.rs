// A codec is given once, as the value or by the option.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("things", value = Json<Alert>, codec = Be<i64>)]
struct Things;

#[processor(group = "g")]
#[input(Things)]
fn count(ctx: &mut Context, value: Alert) -> Result<()> {
    let _ = (ctx.topic(), value);
    Ok(())
}

fn main() {
    let _ = (Things, Count, count);
}
