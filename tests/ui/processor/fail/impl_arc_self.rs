// A handler takes `&self`, not an `Arc`.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(self: std::sync::Arc<Self>, ctx: &mut Context, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
