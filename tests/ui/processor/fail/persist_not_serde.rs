// `Json` takes serde types.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g", persist = Json<Plain>)]
#[input(UserClicks)]
fn count(ctx: &mut Context, click: String) -> Result<()> {
    ctx.set_value(&Plain)?;
    let _ = click;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
