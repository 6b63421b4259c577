// A table cannot be `keyless`.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[table("things", keyless, value = i64)]
struct Things;

#[processor(group = "g")]
#[input(Things)]
fn count(ctx: &mut Context, value: Option<i64>) -> Result<()> {
    let _ = (ctx.topic(), value);
    Ok(())
}

fn main() {
    let _ = (Things, Count, count);
}
