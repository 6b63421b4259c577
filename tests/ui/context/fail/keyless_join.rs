// A record without a key cannot be joined.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Sums;

#[processor(group = "g", persist = i64)]
#[join(Profiles)]
impl Sums {
    #[input(Measurements)]
    fn on(&self, ctx: &mut Context, value: i64) -> Result<()> {
        let _ = ctx.join(Profiles)?;
        ctx.loopback("all", &value)?;
        Ok(())
    }

    #[loopback]
    fn add(&self, ctx: &mut Context, value: i64) -> Result<()> {
        ctx.set_value(&value)?;
        Ok(())
    }
}

fn main() {
    let _ = Sums.on(&mut goka::testing::Probe::new().context_without_key(), 1);
    goka::registry::Registry::new().with::<Sums>();
}
