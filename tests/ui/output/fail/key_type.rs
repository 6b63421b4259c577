// An emitted key has the topic's key type.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
#[output(Alerts)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    ctx.emit(Alerts, 3u64, &Alert(1))?;
    let _ = click;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
