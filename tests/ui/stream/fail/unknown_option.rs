// An unknown option is refused with the known ones.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("clicks", value = String, retention = "7d")]
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
