// A method that needs a key cannot be called for records without one.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Sums;

#[processor(group = "g", persist = i64)]
impl Sums {
    #[input(Measurements)]
    fn on(&self, ctx: &mut Context, value: i64) -> Result<()> {
        self.add(ctx, value)
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
