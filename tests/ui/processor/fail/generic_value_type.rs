// A handler of a generic processor takes the values of its input.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox<T>(T);

#[processor(group = "g")]
impl<T: Send + Sync + 'static> Mailbox<T> {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, click: T) -> Result<()> {
        let _ = (ctx.key(), click);
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox<i64>>();
}
