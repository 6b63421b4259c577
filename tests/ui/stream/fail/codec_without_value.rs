// The option `codec` does not replace `value`.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("things", codec = Be<i64>)]
struct Things;

#[processor(group = "g")]
#[input(Things)]
fn count(ctx: &mut Context, value: Vec<u8>) -> Result<()> {
    let _ = (ctx.topic(), value);
    Ok(())
}

fn main() {
    let _ = (Things, Count, count);
}
