// Timers are not available yet.

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

    #[timer(every = "1s")]
    fn tick(&self, ctx: &mut Context) -> Result<()> {
        let _ = ctx.key();
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
