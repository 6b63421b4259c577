// An emitted value has the topic's value type.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
#[output(Alerts)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    ctx.emit(Alerts, "k", &3i64)?;
    let _ = click;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
