// A processor can be shared between threads.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox(std::rc::Rc<u8>);

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        Ok(())
    }
}

fn main() {
    let mailbox = Mailbox::default();
    let _ = (&mailbox.0, Mailbox::on_click);
}
