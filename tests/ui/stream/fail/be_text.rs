// `Be` is for numbers only.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("things", value = Be<String>)]
struct Things;

#[processor(group = "g")]
#[input(Things)]
fn count(ctx: &mut Context, value: String) -> Result<()> {
    let _ = (ctx.topic(), value);
    Ok(())
}

fn main() {
    let _ = (Things, Count, count);
}
