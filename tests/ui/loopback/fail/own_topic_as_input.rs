// A group's own loop topic is not an input.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input("g-loop")]
    fn on_click(&self, ctx: &mut Context, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        Ok(())
    }
}

fn main() {
    let _ = Mailbox.on_click(&mut goka::testing::Probe::new().context("k").unwrap(), String::new());
    goka::registry::Registry::new().with::<Mailbox>();
}
