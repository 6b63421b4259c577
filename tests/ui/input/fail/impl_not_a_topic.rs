// An input of a handler with its own attribute is a topic.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input(Alert)]
    fn on_alert(&self, ctx: &mut Context, alert: Json<Alert>) -> Result<()> {
        let _ = (ctx.topic(), alert);
        Ok(())
    }
}

fn main() {
    let _ = Mailbox;
    goka::registry::Registry::new().with::<Mailbox>();
}
