// A partitioner function takes a key and a count.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

fn first(_: &[u8]) -> i32 {
    0
}

#[stream("things", value = i64, partitioner = first)]
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
