// A topic name is one that Kafka accepts.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("cliçks", value = String)]
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
