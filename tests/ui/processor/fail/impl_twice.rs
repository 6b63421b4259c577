// A type is a processor once.

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
}

#[processor(group = "h")]
impl Mailbox {
    #[input(Alerts)]
    fn on_alert(&self, ctx: &mut Context, alert: Alert) -> Result<()> {
        let _ = (ctx.key(), alert);
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
