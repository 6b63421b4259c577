// An output is declared once, also under an alias.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

type SameAlerts = Alerts;

#[processor(group = "g", persist = i64)]
#[input(UserClicks)]
#[output(Alerts, SameAlerts)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    let _ = (ctx.key(), click);
    ctx.emit(Alerts, "k", &Alert(1))?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
