// The parts of a tuple are key parts, of the stream and of its processor (two here).

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("things", key = (String, bool), value = i64)]
struct Things;

#[processor(group = "g")]
#[input(Things)]
fn count(ctx: &mut Context, value: i64) -> Result<()> {
    let _ = (ctx.topic(), value);
    Ok(())
}

fn main() {
    let _ = (Things, Count, count);
}
