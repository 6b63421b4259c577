// A record without a key has no value in the table.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Sums;

#[processor(group = "g", persist = i64)]
impl Sums {
    #[input(Measurements)]
    fn on(&self, ctx: &mut Context, value: i64) -> Result<()> {
        let sum = ctx.value()?.unwrap_or(0) + value;
        ctx.loopback("all", &sum)?;
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
