// A handler of an impl takes a context first.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, click: String) -> Result<()> {
        let _ = click;
        Ok(())
    }
}

fn main() {
    let _ = Mailbox.on_click(String::new());
    goka::registry::Registry::new().with::<Mailbox>();
}
