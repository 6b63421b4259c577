// A handler is called for records with keys or for records without.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Words;

#[processor(group = "g", persist = i64)]
impl Words {
    #[input(MeasurementsText, UserClicks)]
    fn on(&self, ctx: &mut Context, text: &str) -> Result<()> {
        ctx.loopback(text, &1)?;
        Ok(())
    }

    #[loopback]
    fn add(&self, ctx: &mut Context, value: i64) -> Result<()> {
        ctx.set_value(&value)?;
        Ok(())
    }
}

fn main() {
    let _ = Words.add(&mut goka::testing::Probe::new().context("k").unwrap(), 1);
    goka::registry::Registry::new().with::<Words>();
}
