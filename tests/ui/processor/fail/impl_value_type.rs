// A handler of an impl takes the values of its input.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, click: i64) -> Result<()> {
        let _ = (ctx.key(), click);
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
