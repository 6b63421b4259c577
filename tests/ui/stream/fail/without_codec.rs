// The values of a stream have a codec.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[stream("clicks", value = Plain)]
struct Clicks;

#[processor(group = "g")]
#[input(Clicks)]
#[output(Clicks)]
fn count(ctx: &mut Context, click: Plain) -> Result<()> {
    ctx.emit(Clicks, ctx.key(), &click)?;
    Ok(())
}

fn main() {
    let _ = (Clicks, Count, count);
}
