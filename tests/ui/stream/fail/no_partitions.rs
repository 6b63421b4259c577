// A topic has at least one partition.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("clicks", value = String, partitions = 0)]
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
