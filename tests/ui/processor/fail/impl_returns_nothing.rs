// A handler of an impl returns a result.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, click: String) {
        let _ = (ctx.key(), click);
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
