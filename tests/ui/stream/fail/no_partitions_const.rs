// A topic has at least one partition, also by a constant expression.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

const COUNT: i32 = 1 - 1;

#[stream("clicks", value = String, partitions = COUNT)]
struct Clicks;

#[processor(group = "g")]
#[input(Clicks)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    Ok(())
}

fn main() {
    let _ = (Clicks, Count, count);
}
