// A handler has the context of its own processor.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g")]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context<Other>, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        Ok(())
    }
}

struct Other;

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
