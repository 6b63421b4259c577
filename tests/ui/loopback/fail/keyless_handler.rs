// The handler of a loopback is called for records with keys.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Sums;

#[processor(group = "g", persist = i64)]
impl Sums {
    #[loopback]
    #[input(Measurements)]
    fn add(&self, ctx: &mut Context, value: i64) -> Result<()> {
        ctx.set_value(&value)?;
        Ok(())
    }
}

fn main() {
    let _ = Sums.add(&mut goka::testing::Probe::new().context("k").unwrap(), 1);
    goka::registry::Registry::new().with::<Sums>();
}
