// A processor has no lifetime parameters.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox<'a>(&'a str);

#[processor(group = "g")]
impl<'a> Mailbox<'a> {
    #[input(UserClicks)]
    fn on_click(&self, _: &mut Context, click: String) -> Result<()> {
        let _ = (self.0, click);
        Ok(())
    }
}

fn main() {
    let _ = Mailbox::default();
}
