// A record of a keyless stream has no key.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[processor(group = "g")]
#[input(UserClicks)]
#[output(Measurements)]
fn count(ctx: &mut Context, _: String) -> Result<()> {
    ctx.emit(Measurements, "key", &1)?;
    Ok(())
}

fn main() {
    let _ = (Count, count);
    goka::registry::Registry::new().with::<Count>();
}
