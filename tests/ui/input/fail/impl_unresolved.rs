// An input of a handler with its own attribute exists.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input(UserKlicks)]
    fn on_click(&self, ctx: &mut Context, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        ctx.set_value(&1)?;
        Ok(())
    }
}

fn main() {
    let _ = Mailbox;
    goka::registry::Registry::new().with::<Mailbox>();
}
