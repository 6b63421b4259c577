// The value of a loopback is a type that exists.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g")]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        Ok(())
    }

    #[loopback]
    fn back(&self, ctx: &mut Context, value: Missing) -> Result<()> {
        let _ = (ctx.key(), value);
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
