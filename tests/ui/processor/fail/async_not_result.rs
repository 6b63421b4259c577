// An asynchronous handler returns a result too.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input(UserClicks)]
    async fn on_click(&self, ctx: &mut Context, click: String) -> i64 {
        let _ = (ctx.key(), click);
        1
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
